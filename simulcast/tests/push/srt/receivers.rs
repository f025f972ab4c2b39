//! Receivers of SRT: a listener of the crate `srt`, and programs of others.

use std::fs::{self, File};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use media::{Frame, Track};
use parking_lot::Mutex;
use srt::{Connection, Handshake, HandshakeHook, Listener, ListenerOptions, Passphrase, Rejection};
use tempfile::TempDir;
use tokio::runtime::{Handle, Runtime};
use wire::Item;
use wire::ts::{Demuxer, Limits};

use crate::programs::Process;
use crate::rig::wait_for;

/// Latency of the receivers and of the targets' addresses, in milliseconds: long enough for every retransmission on a
/// busy machine.
pub(super) const LATENCY: u64 = 2_000;
/// Bytes that programs buffer before they write.
const STDOUT_BUFFER: u64 = 4_096;
/// Passphrase of the receivers.
pub(super) const PASSPHRASE: &str = "hush-hush-hush";
/// Passphrase in an address.
pub(super) const ENCODED: &str = "hush%2dhush%2Dhush";

/// Returns an address where nothing listens.
pub(super) fn free_address() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port")
}

/// Returns the items of a transport stream.
pub(super) fn demux(bytes: &[u8]) -> Vec<Item> {
    let (mut demuxer, mut items) = (Demuxer::new(Limits::default()), Vec::new());
    demuxer.push(bytes, &mut items).expect("a transport stream");
    demuxer.finish(&mut items);
    assert_eq!((demuxer.stats().continuity_errors, demuxer.stats().dropped), (0, 0));
    items
}

/// Answers to handshakes.
#[derive(Clone, Default)]
pub(super) struct Policy {
    /// Passphrase that callers must have.
    pub(super) passphrase: Option<&'static str>,
    /// The only stream id that is accepted.
    pub(super) stream_id: Option<&'static str>,
    /// Answer to other stream ids.
    pub(super) rejection: Option<Rejection>,
    /// Whether it accepts connections and never reads.
    pub(super) never_reads: bool,
}

struct Hook(Policy, Arc<Mutex<usize>>);

impl HandshakeHook for Hook {
    fn ask(&self, handshake: Handshake<'_>) -> Result<(), Rejection> {
        *self.1.lock() += 1;
        let Hook(policy, _) = self;
        if let Some(secret) = policy.passphrase {
            handshake.set_passphrase(&Passphrase::new(secret)).expect("a valid passphrase");
        }
        match policy.stream_id {
            Some(id) if id.as_bytes() != handshake.stream_id => Err(policy.rejection.expect("a rejection")),
            _ => Ok(()),
        }
    }
}

/// A listener of the crate `srt` that keeps what it receives.
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    received: Arc<Mutex<Vec<u8>>>,
    handshakes: Arc<Mutex<usize>>,
    _listener: Listener,
}

impl Receiver {
    pub(super) fn start(runtime: &Runtime, at: &str, policy: Policy) -> Self {
        let socket = UdpSocket::bind(at).expect("a free port");
        let address = socket.local_addr().expect("an address");
        let (received, handshakes) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::default());
        let never_reads = policy.never_reads;
        let hook = Arc::new(Hook(policy, Arc::clone(&handshakes)));
        let options = ListenerOptions { latency: Duration::from_millis(LATENCY), backlog: 8 };
        let listener = Listener::new(socket, options, hook).expect("a listener");
        let (acceptor, sink, runtime) = (listener.acceptor(), Arc::clone(&received), runtime.handle().clone());
        // The thread ends when the listener is dropped.
        std::thread::spawn(move || {
            let mut unread = Vec::new();
            while let Ok(Some(incoming)) = acceptor.accept() {
                let connection = incoming.open().expect("a connection");
                if never_reads { unread.push(connection) } else { keep(&runtime, connection, Arc::clone(&sink)) }
            }
        });
        Self { address, received, handshakes, _listener: listener }
    }

    /// Returns the number of handshakes.
    pub(super) fn handshakes(&self) -> usize {
        *self.handshakes.lock()
    }

    /// Returns what was received so far.
    pub(super) fn received(&self) -> Vec<u8> {
        self.received.lock().clone()
    }
}

fn keep(runtime: &Handle, mut connection: Connection, sink: Arc<Mutex<Vec<u8>>>) {
    runtime.spawn(async move {
        let mut buffer = vec![0; 64 * 1_024];
        while let Ok(len @ 1..) = connection.receive(&mut buffer).await {
            sink.lock().extend_from_slice(&buffer[..len]);
        }
    });
}

/// `srt-live-transmit`, which writes to a file for each time it is started.
pub(super) struct LiveTransmit {
    pub(super) address: SocketAddr,
    query: String,
    folder: TempDir,
    starts: usize,
    process: Option<Process>,
}

impl LiveTransmit {
    /// Starts a listener with options.
    pub(super) fn start(query: &str) -> Self {
        let (address, folder) = (free_address(), tempfile::tempdir().expect("a folder"));
        let query = format!("mode=listener&latency={LATENCY}{query}");
        let mut program = Self { address, query, folder, starts: 0, process: None };
        program.restart();
        program
    }

    /// Kills the program.
    pub(super) fn kill(&mut self) {
        self.process = None;
    }

    /// Freezes the program.
    pub(super) fn freeze(&self) {
        let id = self.process.as_ref().expect("a process").0.id().to_string();
        assert!(Command::new("kill").args(["-STOP", &id]).status().expect("kill runs").success());
    }

    pub(super) fn restart(&mut self) {
        self.starts += 1;
        let url = format!("srt://{}?{}", self.address, self.query);
        let mut command = Command::new("srt-live-transmit");
        command
            .args(["-q", "-auto:no", "-loglevel:fatal", &url, "file://con"])
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        command.stdout(File::create(self.file()).expect("a file"));
        self.process = Some(Process(command.spawn().expect("srt-live-transmit runs")));
    }

    /// Waits until the program has written `bytes` since its last start, other than what it buffers.
    pub(super) fn wait_for(&self, bytes: u64) {
        let written = || fs::metadata(self.file()).expect("a file").len();
        wait_for("a recording", || (written() + STDOUT_BUFFER >= bytes).then_some(()));
    }

    /// Waits for the program, which ends with its connection, and returns what it has received since its last start.
    pub(super) fn recording(mut self) -> Vec<u8> {
        let process = &mut self.process.as_mut().expect("a process").0;
        wait_for("the end of srt-live-transmit", || process.try_wait().expect("a process"));
        fs::read(self.file()).expect("a file")
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join(format!("{}.ts", self.starts))
    }
}

/// Returns the frames of a transport stream.
pub(super) fn frames(bytes: &[u8]) -> Vec<Frame> {
    crate::media::frames(&demux(bytes))
}

/// Returns the tracks of a transport stream, each time their header changes.
pub(super) fn tracks(bytes: &[u8]) -> Vec<Track> {
    let items = demux(bytes).into_iter();
    items.filter_map(|item| if let Item::Track(track) = item { Some(track) } else { None }).collect()
}
