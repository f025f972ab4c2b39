//! Encoders and decoders as child processes: each ends with the test that started it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use tempfile::TempDir;

use super::{free_ports, until};

/// One running program. Dropped, it is killed; a failing test shows what it said.
pub(crate) struct Encoder {
    child: Child,
    folder: TempDir,
    name: String,
}

impl Encoder {
    /// Starts any program, its output kept for `output`.
    pub(crate) fn run(program: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let output = File::create(output_path(&folder)).expect("an output file");
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("the output file twice"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        Self { child, folder, name: program.to_owned() }
    }

    /// `ffmpeg`, told nothing but what the scenario says.
    pub(crate) fn ffmpeg(arguments: &[&str]) -> Self {
        let quiet = ["-hide_banner", "-nostdin", "-nostats", "-loglevel", "info"];
        Self::run("ffmpeg", &[&quiet, arguments].concat())
    }

    /// Pushes a file as it is, in real time.
    pub(crate) fn push_copy(file: &Path, url: &str) -> Self {
        let file = file.to_str().expect("a UTF-8 path");
        Self::ffmpeg(&["-re", "-i", file, "-c", "copy", "-f", "flv", url])
    }

    /// Pushes a file over and over, in real time, with timestamps that go on.
    pub(crate) fn push_loop(file: &Path, url: &str) -> Self {
        let file = file.to_str().expect("a UTF-8 path");
        Self::ffmpeg(&["-re", "-stream_loop", "-1", "-i", file, "-c", "copy", "-f", "flv", url])
    }

    /// A GStreamer pipeline.
    pub(crate) fn gst(pipeline: &str) -> Self {
        let words: Vec<_> = pipeline.split_whitespace().collect();
        Self::run("gst-launch-1.0", &[&["-q", "-e"], words.as_slice()].concat())
    }

    /// Starts srt-live-transmit, which calls `url` and sends it the datagrams that come to the port that is given.
    pub(crate) fn srt_relay(options: &[&str], url: &str) -> (Self, u16) {
        let [port] = free_ports();
        let from = format!("udp://127.0.0.1:{port}");
        (Self::run("srt-live-transmit", &[&["-q"], options, &[&from, url]].concat()), port)
    }

    /// What it wrote so far on both its outputs.
    pub(crate) fn output(&self) -> String {
        let mut bytes = Vec::new();
        File::open(output_path(&self.folder)).and_then(|mut file| file.read_to_end(&mut bytes)).expect("its output");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(crate) fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of the child")
    }

    /// Waits for the program to end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        until(&what, || self.exit_status())
    }

    pub(crate) fn wait_for_success(&mut self) {
        let status = self.wait();
        assert!(status.success(), "{} ended with {status}:\n{}", self.name, self.output());
    }

    /// The network is cut: no end of stream is said.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("the end of the child");
    }

    /// Stopped, with its connection open: the peer that went silent.
    pub(crate) fn freeze(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("SIGSTOP");
    }

    /// Goes on where it was stopped.
    pub(crate) fn thaw(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::CONT).expect("SIGCONT");
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- {} said\n{}", self.name, self.output());
        }
    }
}

fn output_path(folder: &TempDir) -> PathBuf {
    folder.path().join("output")
}
