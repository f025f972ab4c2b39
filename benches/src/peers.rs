//! The servers of the comparisons. Each starts with its own configuration and folder, and is stopped when dropped.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::synthetic::Certificate;

/// The core of the servers.
pub(crate) const SERVER_CORE: usize = 0;
/// The core of the load generators.
pub(crate) const LOAD_CORE: usize = 1;
const RTMP_MODULE: &str = "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;\n";
const START_LIMIT: Duration = Duration::from_secs(20);
/// More than the 10 s that a server may take to shut down.
const STOP_LIMIT: Duration = Duration::from_secs(12);

/// A running process, ended when dropped.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts `command`.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        Ok(Self { child: command.spawn().with_context(|| format!("starting {command:?}"))? })
    }

    /// Returns the handle, to use its pipes.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Returns the process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn stop(&mut self) -> Result<ExitStatus> {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32).filter(|_| matches!(self.child.try_wait(), Ok(None))) {
            kill_process(pid, Signal::TERM)?;
        }
        let deadline = Instant::now() + STOP_LIMIT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child.kill()?;
        self.child.wait()?;
        bail!("the server did not end within {STOP_LIMIT:?}")
    }

    /// Waits until the process listens on `address`.
    pub(crate) fn await_listener(&mut self, address: SocketAddr) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended at once: {status}");
            }
            ensure!(Instant::now() < deadline, "nothing listens on {address}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error cannot be handled here.
        let _ = self.stop();
    }
}

/// Returns a command that runs `program` on `core`, or on all cores if it is `None`.
pub(crate) fn command(program: impl AsRef<OsStr>, core: Option<usize>) -> Command {
    let Some(core) = core else { return Command::new(program) };
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).arg(program);
    command
}

/// Returns a loopback address with an unused port.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Creates a folder in memory, which is removed when dropped.
pub(crate) fn memory_folder() -> Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("weir-bench-").tempdir_in("/dev/shm")?)
}

/// A running nginx.
pub(crate) struct Nginx {
    /// The master process; the workers are its children.
    pub(crate) process: Process,
    /// Address of the listener.
    pub(crate) address: SocketAddr,
    folder: TempDir,
}

impl Nginx {
    /// Starts nginx-rtmp on tmpfs with one worker, plain HLS of 2 s fragments, and a playlist as long as Weir's window.
    pub(crate) fn rtmp(core: usize) -> Result<Self> {
        let (address, folder) = (free_address()?, memory_folder()?);
        let at = folder.path().display().to_string();
        let body = format!(
            "rtmp {{ server {{ listen {address}; chunk_size 4096; application app {{ live on; hls on; hls_path {at}/hls; \
             hls_fragment 2s; hls_playlist_length 30s; access_log off; }} }} }}\n"
        );
        fs::create_dir(folder.path().join("hls"))?;
        Self::start(&format!("{RTMP_MODULE}{}{body}", preamble(&at)), address, folder, core)
    }

    /// Starts nginx-rtmp with one worker, which pushes each stream to `count` applications at `target`, and does nothing
    /// else with it.
    pub(crate) fn pushing(target: SocketAddr, count: usize, core: usize) -> Result<Self> {
        let (address, folder) = (free_address()?, memory_folder()?);
        let pushes: String = (0..count).map(|n| format!("push rtmp://{target}/app/{n};\n")).collect();
        let body = format!(
            "rtmp {{ access_log off; server {{ listen {address}; chunk_size 4096; application app {{ live on; {pushes} }} }} }}\n"
        );
        let at = folder.path().display().to_string();
        Self::start(&format!("{RTMP_MODULE}{}{body}", preamble(&at)), address, folder, core)
    }

    /// Starts nginx with the files of `folder` in memory, with or without `sendfile`, and with HTTP/2 over TLS if there
    /// is a certificate.
    pub(crate) fn files(
        folder: TempDir,
        sendfile: bool,
        certificate: Option<&Certificate>,
        core: usize,
    ) -> Result<Self> {
        let address = free_address()?;
        let at = folder.path().display().to_string();
        let (tls, files) = certificate.map_or_else(Default::default, |files| {
            let Certificate { cert, key, .. } = files;
            let files = format!("ssl_certificate {}; ssl_certificate_key {};", cert.display(), key.display());
            (" ssl http2", files)
        });
        let sendfile =
            if sendfile { "sendfile on; sendfile_max_chunk 2m;" } else { "sendfile off; output_buffers 2 1m;" };
        let body = format!(
            "http {{ access_log off; {sendfile} tcp_nopush on; tcp_nodelay on; keepalive_timeout 600s;\n\
             keepalive_requests 1000000000; open_file_cache max=100 inactive=600s; open_file_cache_valid 600s;\n\
             client_body_temp_path {at}/tmp; proxy_temp_path {at}/tmp; fastcgi_temp_path {at}/tmp;\n\
             uwsgi_temp_path {at}/tmp; scgi_temp_path {at}/tmp; etag on;\n\
             types {{ application/vnd.apple.mpegurl m3u8; video/mp4 mp4; }}\n\
             server {{ listen {address}{tls} backlog=4096; {files} root {at}/files; }} }}\n"
        );
        Self::start(&format!("{}{body}", preamble(&at)), address, folder, core)
    }

    fn start(config: &str, address: SocketAddr, folder: TempDir, core: usize) -> Result<Self> {
        let path = folder.path().join("nginx.conf");
        fs::write(&path, config)?;
        let mut command = command("nginx", Some(core));
        command.stdout(Stdio::null());
        command.arg("-p").arg(folder.path()).arg("-c").arg(&path).arg("-e").arg(folder.path().join("error.log"));
        let mut process = Process::start(command)?;
        process.await_listener(address)?;
        Ok(Self { process, address, folder })
    }

    /// Returns the bytes of the HLS files that nginx has written.
    pub(crate) fn written(&self) -> Result<u64> {
        Ok(fs::read_dir(self.folder.path().join("hls"))?
            .flatten()
            .filter_map(|e| e.metadata().ok())
            .map(|m| m.len())
            .sum())
    }
}

fn preamble(at: &str) -> String {
    format!(
        "user root; worker_processes 1; daemon off; pid {at}/nginx.pid; error_log {at}/error.log error;\n\
         worker_rlimit_nofile 20000; events {{ worker_connections 16384; multi_accept on; }}\n"
    )
}

/// A running Weir.
pub(crate) struct Weir {
    /// The server process.
    pub(crate) process: Process,
    /// Address of HTTP.
    pub(crate) http: SocketAddr,
    /// Address of RTMP.
    pub(crate) rtmp: SocketAddr,
    /// Address of SRT, if it is enabled.
    pub(crate) srt: Option<SocketAddr>,
    log: PathBuf,
    _folder: TempDir,
}

/// Token id and secret that the benchmarks set.
pub(crate) const TOKEN: (&str, &str) = ("bench", "bench-secret-of-no-worth");

impl Weir {
    /// Starts `binary` with its own data folder and ports, without SRT, because libsrt's threads wake up even when
    /// idle.
    pub(crate) fn start(binary: &Path, core: Option<usize>) -> Result<Self> {
        Self::launch(binary, core, None, &[])
    }

    /// Starts `binary` with settings, each the name and the value of an environment variable, and without SRT.
    pub(crate) fn start_with(binary: &Path, core: Option<usize>, settings: &[(&str, &str)]) -> Result<Self> {
        Self::launch(binary, core, None, settings)
    }

    /// Starts `binary` with SRT.
    pub(crate) fn start_with_srt(binary: &Path, core: Option<usize>) -> Result<Self> {
        Self::launch(binary, core, Some(free_address()?), &[])
    }

    fn launch(binary: &Path, core: Option<usize>, srt: Option<SocketAddr>, settings: &[(&str, &str)]) -> Result<Self> {
        ensure!(binary.exists(), "{} does not exist: run `cargo build --release -p weir`", binary.display());
        let (folder, http, rtmp) = (memory_folder()?, free_address()?, free_address()?);
        let log = folder.path().join("weir.log");
        let mut command = command(fs::canonicalize(binary)?, core);
        command.arg("serve").env("WEIR_DATA_DIR", folder.path().join("data"));
        command.env("WEIR_HTTP_LISTEN", http.to_string()).env("WEIR_RTMP_LISTEN", rtmp.to_string());
        command.env("WEIR_SRT_LISTEN", srt.map(|address| address.to_string()).unwrap_or_default());
        command.env("WEIR_API_TOKEN_ID", TOKEN.0).env("WEIR_API_TOKEN_SECRET", TOKEN.1);
        command.envs(settings.iter().copied());
        let output = File::create(&log)?;
        command.stdout(output.try_clone()?).stderr(output);
        let mut process = Process::start(command)?;
        process.await_listener(http)?;
        process.await_listener(rtmp)?;
        Ok(Self { process, http, rtmp, srt, log, _folder: folder })
    }

    /// Returns the complete log.
    pub(crate) fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.log)?).into_owned())
    }
}
