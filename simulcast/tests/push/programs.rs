//! Other programs as targets, each on a free port and in a folder of its own.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use ::media::Frame;
use tempfile::TempDir;

use crate::media;
use crate::rig::wait_for;

const NGINX_MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";

/// A process that is killed with the test.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    /// Returns the output of a process that ends.
    pub(crate) fn output(mut self) -> String {
        let mut text = String::new();
        self.0.stdout.take().expect("a pipe").read_to_string(&mut text).expect("text");
        assert!(self.0.wait().expect("an exit").success(), "{text}");
        text
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address")
}

/// nginx with its RTMP module, which records what is published.
pub(crate) struct Nginx {
    pub(crate) address: SocketAddr,
    folder: TempDir,
    process: Option<Process>,
}

impl Nginx {
    pub(crate) fn start() -> Self {
        let (address, folder) = (free_address(), tempfile::tempdir().expect("a folder"));
        let mut nginx = Self { address, folder, process: None };
        nginx.restart();
        nginx
    }

    /// Kills nginx.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Starts nginx, and waits until it accepts connections.
    pub(crate) fn restart(&mut self) {
        let (address, at) = (self.address, self.folder.path().display());
        let config = format!(
            "load_module {NGINX_MODULE};\ndaemon off; master_process off; pid {at}/pid; error_log {at}/error.log info;\n\
             events {{ }}\nrtmp {{ access_log {at}/access.log; server {{ listen {address}; application app {{ live on; \
             record all; record_path {at}; record_unique on; record_suffix .flv; }} }} }}\n"
        );
        let path = self.folder.path().join("nginx.conf");
        fs::write(&path, config).expect("a file");
        let mut command = Command::new("nginx");
        command.arg("-p").arg(self.folder.path()).arg("-c").arg(&path);
        command.arg("-e").arg(self.folder.path().join("error.log")).stdin(Stdio::null());
        self.process = Some(Process(command.spawn().expect("nginx runs")));
        wait_for("nginx", || TcpStream::connect(address).ok());
    }

    pub(crate) fn url(&self) -> String {
        format!("rtmp://{}/app", self.address)
    }

    /// Returns the frames of the recordings, one for each publication, in no order.
    pub(crate) fn recordings(&self) -> Vec<Vec<Frame>> {
        let files = fs::read_dir(self.folder.path()).expect("a folder").flatten().map(|entry| entry.path());
        let recordings = files.filter(|path| path.extension().is_some_and(|extension| extension == "flv"));
        recordings.map(|path| media::recorded(fs::read(path).expect("a file"))).collect()
    }

    /// Waits until the only recording has `count` frames, and returns it.
    pub(crate) fn recording(&self, count: usize) -> Vec<Frame> {
        wait_for("the recording", || {
            let mut recordings = self.recordings();
            assert!(recordings.len() <= 1, "{} publications", recordings.len());
            recordings.pop().filter(|frames| frames.len() >= count)
        })
    }
}
