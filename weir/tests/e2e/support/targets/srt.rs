//! srt-live-transmit as an SRT listener.

use std::path::PathBuf;

use tempfile::TempDir;

use super::service::{Port, Service};
use crate::support::free_ports;

/// A running srt-live-transmit that accepts one connection after another and writes what arrives to a file.
pub(crate) struct SrtReceiver {
    /// Process, to kill and freeze it.
    pub(crate) service: Service,
    folder: TempDir,
    port: u16,
    options: String,
    /// Number of starts.
    starts: u32,
}

impl SrtReceiver {
    /// Starts a listener with options such as `passphrase=…&pbkeylen=32`, which callers need too.
    pub(crate) fn start(options: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [port] = free_ports();
        let from = format!("srt://127.0.0.1:{port}?mode=listener&{options}");
        let arguments = ["-a:yes", &from, "file://con"].map(str::to_owned).to_vec();
        let media = Some(folder.path().join("1.ts"));
        let service = Service::start_into("srt-live-transmit", arguments, Port::Udp(port), media);
        Self { service, folder, port, options: options.to_owned(), starts: 1 }
    }

    /// Starts the listener again, with another file. Ends the current one.
    pub(crate) fn restart(&mut self) {
        self.starts += 1;
        self.service.set_media(self.recording());
        self.service.restart();
    }

    /// Returns the URL to call, with the options.
    pub(crate) fn url(&self) -> String {
        format!("srt://127.0.0.1:{}?{}", self.port, self.options)
    }

    /// Returns the transport stream of all connections since the last start.
    pub(crate) fn recording(&self) -> PathBuf {
        self.folder.path().join(format!("{}.ts", self.starts))
    }
}
