//! `weir serve` as a child process, on free ports and in a temporary folder.

use std::fs::{self, File, OpenOptions};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tempfile::TempDir;

use super::{Api, Client, Playback, Stream, until};

const TOKEN_ID: &str = "e2e-token";
/// `e2e-token:e2e-secret` in Base64.
const AUTHORIZATION: &str = "Basic ZTJlLXRva2VuOmUyZS1zZWNyZXQ=";
const TOKEN_SECRET: &str = "e2e-secret";
/// Lines of the log that a failing test prints.
const LOG_TAIL: usize = 60;

/// A variable of [`Server::start_with`] that sets the limit of open files.
pub(crate) const OPEN_FILES: &str = "WEIR_TEST_OPEN_FILES";

/// A running server. Its ports and folder stay the same over a restart.
pub(crate) struct Server {
    child: Child,
    folder: TempDir,
    http: u16,
    rtmp: u16,
    rtmps: u16,
    srt: u16,
    more: Vec<(String, String)>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with further environment variables.
    pub(crate) fn start_with(more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [http, rtmp, rtmps, srt] = free_ports();
        let more: Vec<_> = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let child = spawn(&folder, &log_path(&folder), [http, rtmp, rtmps, srt], &more);
        let mut server = Self { child, folder, http, rtmp, rtmps, srt, more };
        server.wait_until_healthy();
        server
    }

    /// Kills the server without a shutdown, as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("the end of the server");
    }

    /// Starts the server again on the same folder and ports.
    pub(crate) fn restart(&mut self) {
        self.child =
            spawn(&self.folder, &log_path(&self.folder), [self.http, self.rtmp, self.rtmps, self.srt], &self.more);
        self.wait_until_healthy();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the server is there to be signalled");
    }

    /// Returns the process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of the server")
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.base(), None)
    }

    pub(crate) fn api(&self) -> Api {
        Api::new(Client::new(self.base(), Some(AUTHORIZATION.to_owned())))
    }

    pub(crate) fn playback(&self, stream: &Stream) -> Playback {
        Playback::new(self.client(), stream.playback_id.clone())
    }

    pub(crate) fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    pub(crate) fn http_port(&self) -> u16 {
        self.http
    }

    pub(crate) fn rtmp_port(&self) -> u16 {
        self.rtmp
    }

    /// Returns the URL to push RTMP to.
    pub(crate) fn rtmp_url(&self, key: &str) -> String {
        format!("rtmp://127.0.0.1:{}/app/{key}", self.rtmp)
    }

    pub(crate) fn rtmps_url(&self, key: &str) -> String {
        format!("rtmps://127.0.0.1:{}/app/{key}", self.rtmps)
    }

    pub(crate) fn srt_port(&self) -> u16 {
        self.srt
    }

    /// Returns the URL to push SRT to.
    pub(crate) fn srt_url(&self, stream: &Stream) -> String {
        let (key, passphrase) = (&stream.key, &stream.srt_passphrase);
        format!("srt://127.0.0.1:{}?streamid={key}&passphrase={passphrase}", self.srt)
    }

    pub(crate) fn watch_url(&self, stream: &Stream) -> String {
        format!("{}/watch/{}", self.base(), stream.playback_id)
    }

    pub(crate) fn playlist_url(&self, stream: &Stream) -> String {
        format!("{}/{}.m3u8", self.base(), stream.playback_id)
    }

    /// Returns the folder of the store and the keys.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts a second server on the same folder with other ports, and returns its exit status and output.
    pub(crate) fn start_second_on_same_folder(&self) -> (ExitStatus, String) {
        let ports = free_ports();
        let log = self.folder.path().join("second.log");
        let mut second = spawn(&self.folder, &log, ports, &self.more);
        let status = until("the end of a second server", || second.try_wait().expect("its state"));
        (status, fs::read_to_string(log).unwrap_or_default())
    }

    /// Starts the server again when it cannot run, and returns its exit status and output.
    pub(crate) fn restart_and_fail(&mut self) -> (ExitStatus, String) {
        let start = self.log().len();
        self.child =
            spawn(&self.folder, &log_path(&self.folder), [self.http, self.rtmp, self.rtmps, self.srt], &self.more);
        let status = until("the end of the server", || self.exit_status());
        (status, self.log().split_off(start))
    }

    /// Limits the size of all files that the server writes, to simulate a full disk. `None` removes the limit.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Some(Pid::from_child(&self.child)), Resource::Fsize, limit).expect("the limit of its files");
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(log_path(&self.folder)).unwrap_or_default()
    }

    fn wait_until_healthy(&mut self) {
        let client = self.client();
        until("/healthz", || {
            if let Some(status) = self.exit_status() {
                panic!("the server ended with {status}");
            }
            client.try_get("/healthz").filter(|answer| answer.status == 200).map(drop)
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails if the test has already ended the server.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!(
                "--- last lines of the server's log\n{}",
                lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n")
            );
        }
    }
}

fn log_path(folder: &TempDir) -> PathBuf {
    folder.path().join("server.log")
}

/// Returns unused ports. They are below the ephemeral range of the kernel, because a connection of another test could
/// otherwise take one before the server listens on it.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    const FIRST: u32 = 10_240;
    const COUNT: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let free = || {
        (0..COUNT).find_map(|_| {
            // Other test binaries that run at the same time start at another port.
            let step = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(std::process::id().wrapping_mul(101));
            let port = u16::try_from(FIRST + step % COUNT).ok()?;
            // Free for UDP too. The server binds it after this socket is closed.
            let _datagrams = UdpSocket::bind(("0.0.0.0", port)).ok()?;
            TcpListener::bind(("0.0.0.0", port)).ok()
        })
    };
    // All listeners stay open until every port is known, so that the ports differ.
    let listeners = [(); N].map(|()| free().expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("its address").port())
}

fn spawn(folder: &TempDir, log: &Path, [http, rtmp, rtmps, srt]: [u16; 4], more: &[(String, String)]) -> Child {
    let log: File = OpenOptions::new().create(true).append(true).open(log).expect("a log file");
    // Allows the same tests for another build of the server.
    let binary = std::env::var_os("WEIR_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_weir").into());
    let mut command = match more.iter().find(|(name, _)| name == OPEN_FILES) {
        Some((_, files)) => {
            let mut command = Command::new("bash");
            command.args(["-c", &format!("ulimit -n {files} && exec \"$0\" serve")]).arg(binary);
            command
        }
        None => {
            let mut command = Command::new(binary);
            command.arg("serve");
            command
        }
    };
    command
        .current_dir(folder.path())
        .env("WEIR_DATA_DIR", folder.path().join("data"))
        .env("WEIR_HTTP_LISTEN", format!("127.0.0.1:{http}"))
        .env("WEIR_RTMP_LISTEN", format!("127.0.0.1:{rtmp}"))
        .env("WEIR_RTMPS_LISTEN", format!("127.0.0.1:{rtmps}"))
        .env("WEIR_RTMPS_SELF_SIGNED", "true")
        .env("WEIR_SRT_LISTEN", format!("127.0.0.1:{srt}"))
        .env("WEIR_API_TOKEN_ID", TOKEN_ID)
        .env("WEIR_API_TOKEN_SECRET", TOKEN_SECRET)
        .envs(more.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("the log file twice"))
        .stderr(log)
        .spawn()
        .expect("the server starts")
}
