//! TLS certificates that are reloaded when their files change, and a self-signed one on request.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, crypto};

/// Minimum time between two checks whether the files have changed. A handshake triggers them.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Returns a server configuration for the certificate in `cert` and `key`, whose files may be replaced while it is in
/// use.
pub(crate) fn server_config(cert: &Path, key: &Path, alpn: &[&[u8]]) -> anyhow::Result<Arc<ServerConfig>> {
    let files = Files { cert: cert.to_owned(), key: key.to_owned() };
    let state = State { certified: files.load()?, changed: files.changed(), checked_at: Instant::now() };
    let resolver = ReloadingResolver { files, state: Mutex::new(state) };
    let mut config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("TLS versions")?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

/// Returns the paths of a self-signed certificate and its key in `folder`, and creates them if they do not exist.
pub(crate) fn self_signed(folder: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let (cert, key) = (folder.join("self-signed.crt"), folder.join("self-signed.key"));
    if !cert.exists() || !key.exists() {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let created = rcgen::generate_simple_self_signed(["localhost".to_owned()]).context("creating a certificate")?;
        write_private(&key, &created.signing_key.serialize_pem())?;
        fs::write(&cert, created.cert.pem()).with_context(|| format!("writing {}", cert.display()))?;
    }
    Ok((cert, key))
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path).with_context(|| format!("writing {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("writing {}", path.display()))
}

#[derive(Debug)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

impl Files {
    fn load(&self) -> anyhow::Result<Arc<CertifiedKey>> {
        let read = |path: &Path| fs::read(path).with_context(|| format!("reading {}", path.display()));
        let chain = CertificateDer::pem_slice_iter(&read(&self.cert)?)
            .collect::<Result<Vec<_>, _>>()
            .with_context(|| format!("{} is not a PEM certificate", self.cert.display()))?;
        if chain.is_empty() {
            bail!("{} contains no certificate", self.cert.display());
        }
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?)
            .with_context(|| format!("{} is not a PEM private key", self.key.display()))?;
        let certified = CertifiedKey::from_der(chain, key, &crypto::ring::default_provider())
            .with_context(|| format!("{} and {} do not belong together", self.cert.display(), self.key.display()))?;
        Ok(Arc::new(certified))
    }

    fn changed(&self) -> [Option<SystemTime>; 2] {
        [&self.cert, &self.key].map(|path| fs::metadata(path).and_then(|m| m.modified()).ok())
    }
}

/// Checks the files on a handshake, at most once per [`CHECK_INTERVAL`]. Keeps the current certificate while the new
/// files are invalid.
#[derive(Debug)]
struct ReloadingResolver {
    files: Files,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    certified: Arc<CertifiedKey>,
    changed: [Option<SystemTime>; 2],
    checked_at: Instant,
}

impl ReloadingResolver {
    fn current(&self, every: Duration) -> Arc<CertifiedKey> {
        let mut state = self.state.lock();
        if state.checked_at.elapsed() >= every {
            state.checked_at = Instant::now();
            let changed = self.files.changed();
            if changed != state.changed {
                state.changed = changed;
                match self.files.load() {
                    Ok(certified) => {
                        state.certified = certified;
                        tracing::info!(cert = %self.files.cert.display(), "certificate reloaded");
                    }
                    Err(error) => tracing::error!("could not reload the certificate, keeping the old one: {error:#}"),
                }
            }
        }
        Arc::clone(&state.certified)
    }
}

impl ResolvesServerCert for ReloadingResolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current(CHECK_INTERVAL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_new_certificate_is_used_and_an_invalid_one_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = self_signed(dir.path()).unwrap();
        let files = Files { cert: cert.clone(), key };
        let state = State { certified: files.load().unwrap(), changed: [None, None], checked_at: Instant::now() };
        let resolver = ReloadingResolver { files, state: Mutex::new(state) };
        let first = resolver.current(Duration::ZERO);

        fs::write(&cert, "nonsense").unwrap();
        resolver.state.lock().changed = [None, None];
        assert!(Arc::ptr_eq(&first, &resolver.current(Duration::ZERO)));

        fs::remove_file(&cert).unwrap();
        self_signed(dir.path()).unwrap();
        resolver.state.lock().changed = [None, None];
        assert_ne!(resolver.current(Duration::ZERO).cert, first.cert);
    }

    #[test]
    fn errors_name_the_missing_file() {
        let error = server_config(Path::new("/nowhere/a.crt"), Path::new("/nowhere/a.key"), &[]).unwrap_err();
        assert!(format!("{error:#}").contains("/nowhere/a.crt"));
    }
}
