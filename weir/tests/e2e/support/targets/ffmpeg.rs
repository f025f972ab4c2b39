//! ffmpeg as an RTMP server: `-listen 1` accepts one connection, and ends with it.

use std::path::PathBuf;

use tempfile::TempDir;

use super::service::{Port, Service};
use crate::support::free_ports;

/// A running ffmpeg that waits for one publication, or receives it.
pub(crate) struct FfmpegListener {
    /// Process, to kill and freeze it.
    pub(crate) service: Service,
    folder: TempDir,
    port: u16,
    /// Number of starts.
    starts: u32,
}

impl FfmpegListener {
    /// Key of the publication.
    pub(crate) const KEY: &str = "key";

    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [port] = free_ports();
        let from = format!("rtmp://127.0.0.1:{port}/live/{}", Self::KEY);
        let file = folder.path().join("1.flv").display().to_string();
        let quiet = ["-hide_banner", "-nostdin", "-nostats", "-loglevel", "info"];
        let arguments = ["-listen", "1", "-i", &from, "-c", "copy", "-flush_packets", "1", &file];
        let arguments = quiet.iter().chain(&arguments).map(|&argument| argument.to_owned()).collect();
        Self { service: Service::start("ffmpeg", arguments, Port::Tcp(port)), folder, port, starts: 1 }
    }

    /// Waits for another publication, which gets a file of its own. Ends the current one.
    pub(crate) fn restart(&mut self) {
        self.starts += 1;
        self.service.set_last_argument(self.recording().display().to_string());
        self.service.restart();
    }

    /// Returns the URL to publish at, without [`Self::KEY`].
    pub(crate) fn url(&self) -> String {
        format!("rtmp://127.0.0.1:{}/live", self.port)
    }

    /// Returns the FLV file of the newest publication, which exists once that has begun.
    pub(crate) fn recording(&self) -> PathBuf {
        self.folder.path().join(format!("{}.flv", self.starts))
    }
}
