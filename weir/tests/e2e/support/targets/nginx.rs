//! nginx with its RTMP module.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::service::{Port, Service, files};
use crate::support::free_ports;

/// A running nginx-rtmp that records every publication.
pub(crate) struct NginxRtmp {
    /// Process, to kill, restart and freeze it.
    pub(crate) service: Service,
    folder: TempDir,
    port: u16,
}

impl NginxRtmp {
    /// Starts nginx with the applications `live`, which accepts every key, and `refused`, which closes the
    /// connection of each publication without a reason: its `on_publish` is answered with 403.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [port, http] = free_ports();
        let records = folder.path().join("records");
        fs::create_dir(&records).expect("a folder for recordings");
        let rtmp = format!(
            "rtmp {{ server {{ listen 127.0.0.1:{port};\n\
             application live {{ live on; record all; record_unique on; record_path {}; }}\n\
             application refused {{ live on; on_publish http://127.0.0.1:{http}/; }} }} }}\n\
             http {{ access_log off; server {{ listen 127.0.0.1:{http}; location / {{ return 403; }} }} }}\n",
            records.display()
        );
        let service = start(&folder, "ngx_rtmp_module.so", &rtmp, port);
        Self { service, folder, port }
    }

    /// Returns the URL to publish at, without the key.
    pub(crate) fn url(&self) -> String {
        format!("rtmp://127.0.0.1:{}/live", self.port)
    }

    /// Returns a URL without the key at which every publication is refused.
    pub(crate) fn refusing_url(&self) -> String {
        format!("rtmp://127.0.0.1:{}/refused", self.port)
    }

    /// Returns the port of RTMP.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the FLV files of the publications, one for each, whose names begin with their keys. The last one grows while
    /// its publication runs.
    pub(crate) fn recordings(&self) -> Vec<PathBuf> {
        files(&self.folder.path().join("records"), "flv")
    }
}

/// Starts nginx with one process, because the workers of a master would survive its death and its freezing.
pub(super) fn start(folder: &TempDir, module: &str, body: &str, port: u16) -> Service {
    let at = folder.path().display();
    let config = folder.path().join("nginx.conf");
    let text = format!(
        "load_module /usr/lib/nginx/modules/{module};\n\
         daemon off; master_process off; pid {at}/nginx.pid; error_log stderr info;\n\
         events {{ worker_connections 256; }}\n{body}"
    );
    fs::write(&config, text).expect("the configuration of nginx");
    let arguments = ["-p", &at.to_string(), "-e", "stderr", "-c", &config.display().to_string()].map(str::to_owned);
    Service::start("nginx", arguments.to_vec(), Port::Tcp(port))
}
