//! Encoders and decoders as child processes. Each is killed when its test ends.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use tempfile::TempDir;

use super::{free_ports, until};

/// A running program. It is killed when dropped, and a failing test prints its output.
pub(crate) struct Encoder {
    child: Child,
    folder: TempDir,
    name: String,
}

impl Encoder {
    /// Starts a program, and collects its output for [`Encoder::output`].
    pub(crate) fn run(program: &str, arguments: &[&str]) -> Self {
        Self::spawn(program, arguments, None)
    }

    /// Starts a program whose standard output is media for `file`, and collects the rest for [`Encoder::output`].
    pub(crate) fn run_into(program: &str, arguments: &[&str], file: &Path) -> Self {
        Self::spawn(program, arguments, Some(File::create(file).expect("a file for the media")))
    }

    fn spawn(program: &str, arguments: &[&str], media: Option<File>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let output = File::create(output_path(&folder)).expect("an output file");
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(media.unwrap_or_else(|| output.try_clone().expect("the output file twice")))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        Self { child, folder, name: program.to_owned() }
    }

    /// Starts `ffmpeg` with the arguments of the test.
    pub(crate) fn ffmpeg(arguments: &[&str]) -> Self {
        let quiet = ["-hide_banner", "-nostdin", "-nostats", "-loglevel", "info"];
        Self::run("ffmpeg", &[&quiet, arguments].concat())
    }

    /// Pushes a file unchanged, in real time.
    pub(crate) fn push_copy(file: &Path, url: &str) -> Self {
        let file = file.to_str().expect("a UTF-8 path");
        Self::ffmpeg(&["-re", "-i", file, "-c", "copy", "-f", "flv", url])
    }

    /// Pushes a file in a loop, in real time and with continuous timestamps.
    pub(crate) fn push_loop(file: &Path, url: &str) -> Self {
        let file = file.to_str().expect("a UTF-8 path");
        Self::ffmpeg(&["-re", "-stream_loop", "-1", "-i", file, "-c", "copy", "-f", "flv", url])
    }

    /// Starts a GStreamer pipeline.
    pub(crate) fn gst(pipeline: &str) -> Self {
        let arguments: Vec<_> = pipeline.split_whitespace().collect();
        Self::run("gst-launch-1.0", &[&["-q", "-e"], arguments.as_slice()].concat())
    }

    /// Starts srt-live-transmit, which connects to `url` and forwards the datagrams that it receives on the returned
    /// port.
    pub(crate) fn srt_relay(options: &[&str], url: &str) -> (Self, u16) {
        let [port] = free_ports();
        let from = format!("udp://127.0.0.1:{port}");
        (Self::run("srt-live-transmit", &[&["-q"], options, &[&from, url]].concat()), port)
    }

    /// Returns the standard output and error so far.
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

    /// Kills the program, as if the network were cut: it does not end its stream.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("the end of the child");
    }

    /// Stops the program with its connection open, so that it sends nothing.
    pub(crate) fn freeze(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("SIGSTOP");
    }

    /// Lets the program continue.
    pub(crate) fn thaw(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::CONT).expect("SIGCONT");
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // Fails if the program has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- output of {}\n{}", self.name, self.output());
        }
    }
}

fn output_path(folder: &TempDir) -> PathBuf {
    folder.path().join("output")
}
