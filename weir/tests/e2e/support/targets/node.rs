//! node-media-server, from npm.

use std::path::PathBuf;

use tempfile::TempDir;

use super::service::{Port, Service, files};
use crate::support::{free_ports, npm_folder};

/// A running node-media-server that records every publication.
pub(crate) struct NodeMediaServer {
    /// Process, to kill, restart and freeze it.
    pub(crate) service: Service,
    folder: TempDir,
    port: u16,
}

impl NodeMediaServer {
    pub(crate) fn start() -> Self {
        let script = npm_folder("targets", &["package.json", "package-lock.json", "media-server.mjs"]);
        let script = script.join("media-server.mjs").display().to_string();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [port] = free_ports();
        let arguments = vec![script, port.to_string(), folder.path().display().to_string()];
        Self { service: Service::start("node", arguments, Port::Tcp(port)), folder, port }
    }

    /// Returns the URL to publish at, without the key.
    pub(crate) fn url(&self) -> String {
        format!("rtmp://127.0.0.1:{}/live", self.port)
    }

    /// Returns the FLV files of the publications with this key, one for each, in order.
    pub(crate) fn recordings(&self, key: &str) -> Vec<PathBuf> {
        files(&self.folder.path().join("live").join(key), "flv")
    }
}
