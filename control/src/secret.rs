//! Secrets: random text, hashes for secrets that are only compared, and the [`Keyring`] that encrypts the others.
//!
//! The key file is stored beside the database and not in it, so a copy of the database alone reveals no secret.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::Error;

const KEY_LEN: usize = 32;
const NONCE_LEN: usize = 24;

/// SHA-256 of a secret.
pub(crate) type Hash = [u8; 32];

/// Hashes a secret. A fast hash is sufficient, because all secrets here are long and random.
pub(crate) fn hash(secret: &str) -> Hash {
    Sha256::digest(secret.as_bytes()).into()
}

/// Compares two secrets in constant time.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// Returns `bytes` random bytes as hexadecimal text, which has two digits for each byte.
pub(crate) fn random_hex(bytes: usize) -> Result<String, Error> {
    let mut raw = vec![0u8; bytes];
    getrandom::fill(&mut raw).map_err(Error::Random)?;
    Ok(raw.iter().map(|b| format!("{b:02x}")).collect())
}

/// Encrypts secrets for the store, with XChaCha20-Poly1305.
pub(crate) struct Keyring(XChaCha20Poly1305);

impl Keyring {
    /// Reads the key file at `path`; `None` if it does not exist.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, Error> {
        let at = |error| Error::KeyFile { path: path.to_owned(), error };
        let mut key = Vec::new();
        match File::open(path) {
            Ok(file) => drop(file.take(KEY_LEN as u64 + 1).read_to_end(&mut key).map_err(at)?),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(error)),
        }
        let cipher = XChaCha20Poly1305::new_from_slice(&key)
            .map_err(|_| at(std::io::Error::new(ErrorKind::InvalidData, format!("is not {KEY_LEN} bytes long"))))?;
        Ok(Some(Self(cipher)))
    }

    /// Generates a key and stores it in a file that only its owner can read.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let mut key = [0; KEY_LEN];
        getrandom::fill(&mut key).map_err(Error::Random)?;
        write_new(path, &key).map_err(|error| Error::KeyFile { path: path.to_owned(), error })?;
        Ok(Self(XChaCha20Poly1305::new(&key.into())))
    }

    /// Encrypts `plain` for the resource `of`. [`unseal`](Self::unseal) rejects it for any other resource.
    pub(crate) fn seal(&self, of: &str, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let mut nonce = [0u8; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(Error::Random)?;
        let payload = Payload { msg: plain, aad: of.as_bytes() };
        let sealed = self.0.encrypt(&XNonce::from(nonce), payload).map_err(|_| Error::Sealed(of.to_owned()))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Decrypts the output of [`seal`](Self::seal) for the same resource `of`.
    pub(crate) fn unseal(&self, of: &str, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let (nonce, msg) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(|| Error::Sealed(of.to_owned()))?;
        let payload = Payload { msg, aad: of.as_bytes() };
        self.0.decrypt(&XNonce::from(*nonce), payload).map_err(|_| Error::Sealed(of.to_owned()))
    }
}

/// Writes a new file completely or not at all, so that a crash leaves no incomplete key.
fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_key_file_is_private_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.key");
        assert!(Keyring::read(&path).unwrap().is_none());
        let sealed = Keyring::create(&path).unwrap().seal("a", b"hush").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Keyring::read(&path).unwrap().unwrap();
        assert_eq!(again.unseal("a", &sealed).unwrap(), b"hush");
        assert!(!sealed.windows(4).any(|w| w == b"hush"));
    }

    #[test]
    fn a_sealed_secret_opens_only_for_its_resource() {
        let folder = tempfile::tempdir().unwrap();
        let ring = Keyring::create(&folder.path().join("k")).unwrap();
        let mut sealed = ring.seal("a", b"hush").unwrap();
        assert!(matches!(ring.unseal("b", &sealed), Err(Error::Sealed(_))));
        *sealed.last_mut().unwrap() ^= 1;
        assert!(matches!(ring.unseal("a", &sealed), Err(Error::Sealed(_))));
        assert!(matches!(ring.unseal("a", b"short"), Err(Error::Sealed(_))));
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k");
        for len in [0, KEY_LEN - 1, KEY_LEN + 1] {
            std::fs::write(&path, vec![7; len]).unwrap();
            assert!(matches!(Keyring::read(&path), Err(Error::KeyFile { .. })), "{len} bytes");
        }
    }
}
