//! TLS in front of a target: nginx's stream module, with a certificate of a test's own CA.

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::nginx;
use super::service::Service;
use crate::support::free_ports;

/// A running nginx that decrypts connections and passes them on.
pub(crate) struct TlsFront {
    /// Process, to kill, restart and freeze it.
    pub(crate) service: Service,
    folder: TempDir,
    port: u16,
}

impl TlsFront {
    /// Starts nginx in front of a TCP port of this machine.
    pub(crate) fn start(backend: u16) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [port] = free_ports();
        write_certificates(&folder);
        let at = folder.path().display();
        let stream = format!(
            "stream {{ server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {at}/server.pem;\n\
             ssl_certificate_key {at}/server.key; proxy_pass 127.0.0.1:{backend}; }} }}\n"
        );
        let service = nginx::start(&folder, "ngx_stream_module.so", &stream, port);
        Self { service, folder, port }
    }

    /// Returns the address of the front.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the URL of an application behind the front, without the key.
    pub(crate) fn url(&self, app: &str) -> String {
        format!("rtmps://{}/{app}", self.address())
    }

    /// Returns the PEM file of the CA, for `simulcast.ca_file`.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}

/// Writes the certificate of a CA, and one that it has signed for this machine.
fn write_certificates(folder: &TempDir) {
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
