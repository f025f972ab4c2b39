//! TLS of the connections to targets: the system's roots, and an optional file with further ones.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore, crypto};

/// Files with the system's roots: Debian and Alpine, Fedora, OpenSSL's default. The first one that exists is used.
pub const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Roots in use, for `weir check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// File of the system's roots; `None` if there is none of [`SYSTEM_ROOTS`].
    pub system: Option<PathBuf>,
    /// Number of certificates that can be used, those of the CA file included.
    pub certificates: usize,
}

/// Error of the CA file or of TLS itself.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("reading {}: {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Error of the system.
        error: io::Error,
    },
    /// The file is not PEM.
    #[error("{} is not a PEM file: {error}", .path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Error of the parser.
        error: pem::Error,
    },
    /// The CA file contains no certificate that can be used.
    #[error("{} contains no certificate", .0.display())]
    Empty(PathBuf),
    /// The protocol versions are not available.
    #[error("TLS: {0}")]
    Versions(#[from] rustls::Error),
}

/// Returns a client configuration with the system's roots and those of `ca_file`, and the [`Roots`] in use.
///
/// A system without roots is no error, because a server without `rtmps` targets needs none.
pub fn client_config(ca_file: Option<&Path>) -> Result<(Arc<ClientConfig>, Roots), TlsError> {
    let mut store = RootCertStore::empty();
    let system = SYSTEM_ROOTS.iter().map(Path::new).find(|path| path.exists());
    if let Some(path) = system {
        add(path, &mut store)?;
    }
    if let Some(path) = ca_file.filter(|path| Some(*path) != system)
        && add(path, &mut store)? == 0
    {
        return Err(TlsError::Empty(path.to_owned()));
    }
    let roots = Roots { system: system.map(Path::to_owned), certificates: store.len() };
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok((Arc::new(config), roots))
}

/// Adds the certificates of a file, and returns their number. Certificates that rustls cannot use are left out, because
/// system stores contain some.
fn add(path: &Path, store: &mut RootCertStore) -> Result<usize, TlsError> {
    let bytes = fs::read(path).map_err(|error| TlsError::Read { path: path.to_owned(), error })?;
    let certificates = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::Pem { path: path.to_owned(), error })?;
    Ok(store.add_parsable_certificates(certificates).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_adds_to_the_roots_of_the_system() {
        let (_, system) = client_config(None).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let created = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(&path, created.cert.pem()).unwrap();
        let (_, roots) = client_config(Some(&path)).unwrap();
        assert_eq!((roots.certificates, roots.system), (system.certificates + 1, system.system));
    }

    #[test]
    fn a_ca_file_without_a_certificate_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        assert!(client_config(Some(&path)).unwrap_err().to_string().contains("ca.pem"));
        fs::write(&path, "nothing").unwrap();
        assert!(matches!(client_config(Some(&path)), Err(TlsError::Empty(_))));
    }
}
