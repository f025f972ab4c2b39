//! Certificates of a test's own CA.

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// PEM files of a CA, and of a server on this machine whose certificate the CA has signed.
pub(crate) struct Certificates(TempDir);

impl Certificates {
    pub(crate) fn make() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(&folder);
        Self(folder)
    }

    /// Returns the certificate of the CA, for `simulcast.ca_file`.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    /// Returns the certificate of the server.
    pub(crate) fn server_file(&self) -> PathBuf {
        self.0.path().join("server.pem")
    }

    /// Returns the key of the server.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.0.path().join("server.key")
    }
}

/// Writes the certificate of a CA, and one that it has signed for this machine.
fn write(folder: &TempDir) {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::new(Vec::new()).expect("the parameters of a CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // With the name of the other certificate, that one would count as signed by itself.
    ca.distinguished_name.push(DnType::CommonName, "CA of a test");
    let ca_certificate = ca.self_signed(&ca_key).expect("a CA");
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).expect("names").signed_by(&key, &issuer).expect("a certificate");
    for (name, text) in
        [("ca.pem", ca_certificate.pem()), ("server.pem", certificate.pem()), ("server.key", key.serialize_pem())]
    {
        fs::write(folder.path().join(name), text).expect("a certificate file");
    }
}
