//! TLS in front of a target: nginx's stream module, with a certificate of a test's own CA.

use std::path::PathBuf;

use tempfile::TempDir;

use super::certificates::Certificates;
use super::nginx;
use super::service::Service;
use crate::support::free_ports;

/// A running nginx that decrypts connections and passes them on.
pub(crate) struct TlsFront {
    /// Process, to kill, restart and freeze it.
    pub(crate) service: Service,
    _folder: TempDir,
    certificates: Certificates,
    port: u16,
}

impl TlsFront {
    /// Starts nginx in front of a TCP port of this machine.
    pub(crate) fn start(backend: u16) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [port] = free_ports();
        let certificates = Certificates::make();
        let (certificate, key) = (certificates.server_file(), certificates.key_file());
        let stream = format!(
            "stream {{ server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {};\n\
             ssl_certificate_key {}; proxy_pass 127.0.0.1:{backend}; }} }}\n",
            certificate.display(),
            key.display()
        );
        let service = nginx::start(&folder, "ngx_stream_module.so", &stream, port);
        Self { service, _folder: folder, certificates, port }
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
        self.certificates.ca_file()
    }
}
