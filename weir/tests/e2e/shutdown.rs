//! The server always ends in time and with the right exit code, whatever its threads are doing.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::json;

use crate::support::{Clip, Encoder, Server, clip, free_ports, shared, until, until_within};

/// Documented time limit of the shutdown.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);
/// Servers that run in parallel.
const PARALLEL: usize = 5;
/// Servers that run one after another.
const ROUNDS: usize = 10;
const PAIRS: [[Signal; 2]; 3] = [[Signal::INT, Signal::INT], [Signal::TERM, Signal::TERM], [Signal::TERM, Signal::INT]];
/// Time between the two signals: from none, as a terminal and a script send them, to nearly the whole shutdown.
const GAPS_MS: [u64; 5] = [0, 2, 10, 40, 150];

/// Sends two signals to a server with an RTMP and an SRT encoder.
fn assert_ends_after_two_signals(round: usize, file: &Path) {
    let mut server = Server::start();
    let api = server.api();
    let (first, second) = (api.create("low", json!({})), api.create("low", json!({})));
    let _rtmp = Encoder::push_loop(file, &server.rtmp_url(&first.key));
    let (path, url) = (file.to_str().expect("a UTF-8 path"), server.srt_url(&second));
    let _srt = Encoder::ffmpeg(&["-re", "-stream_loop", "-1", "-i", path, "-c", "copy", "-f", "mpegts", &url]);
    api.wait_for(&first, "active");
    api.wait_for(&second, "active");

    let ([one, two], gap) = (PAIRS[round % PAIRS.len()], GAPS_MS[round % GAPS_MS.len()]);
    let signalled_at = Instant::now();
    server.signal(one);
    thread::sleep(Duration::from_millis(gap));
    server.signal(two);
    let what = format!("round {round}: the server to end after {one:?}, {gap} ms and {two:?}");
    let status = until_within(SHUTDOWN_LIMIT, &what, || server.exit_status());
    assert_eq!(status.code(), Some(0), "{what}: ended with {status}");
    assert!(signalled_at.elapsed() < SHUTDOWN_LIMIT, "{what}: took {:?}", signalled_at.elapsed());
}

#[test]
fn two_signals_end_a_busy_server_fifty_times() {
    let _machine = shared();
    let file = clip(&Clip::plain(8));
    thread::scope(|scope| {
        for group in 0..PARALLEL {
            let file = &file;
            scope.spawn(move || {
                (0..ROUNDS).for_each(|round| assert_ends_after_two_signals(group * ROUNDS + round, file))
            });
        }
    });
}

/// Size of the pipe of the log, in bytes.
const PIPE: usize = 4_096;
/// Bytes in the pipe above which the next line may not fit.
const FULL: u64 = 3_900;

/// A server whose log is not read: every thread that writes to the log blocks.
struct BlockedServer(Child);

impl BlockedServer {
    fn start(folder: &Path) -> Self {
        let [http, rtmp, srt] = free_ports();
        let child = Command::new(env!("CARGO_BIN_EXE_weir"))
            .arg("serve")
            .current_dir(folder)
            .env("WEIR_DATA_DIR", folder)
            .env("WEIR_HTTP_LISTEN", format!("127.0.0.1:{http}"))
            .env("WEIR_RTMP_LISTEN", format!("127.0.0.1:{rtmp}"))
            .env("WEIR_SRT_LISTEN", format!("127.0.0.1:{srt}"))
            .env("WEIR_LOG_FILTER", "trace")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let server = Self(child);
        let log = server.0.stderr.as_ref().expect("its log");
        rustix::pipe::fcntl_setpipe_size(log, PIPE).expect("a short pipe");
        until_within(SHUTDOWN_LIMIT, "the log to be full", || {
            // The response does not matter: any connection makes the server log.
            let _ = std::net::TcpStream::connect(("127.0.0.1", http)).map(drop);
            let log = server.0.stderr.as_ref().expect("its log");
            (rustix::io::ioctl_fionread(log).expect("the length of the log") > FULL).then_some(())
        });
        server
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("the server is there to be signalled");
    }

    /// Waits for the end of the server, and checks its exit code.
    fn assert_ends(&mut self, within: Duration) {
        let status = until_within(within, "the end of a blocked server", || self.0.try_wait().expect("its state"));
        assert_eq!(status.code(), Some(0), "the server ended with {status}");
    }
}

impl Drop for BlockedServer {
    fn drop(&mut self) {
        // Fails if the server has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_blocked_server_ends_after_a_second_signal_or_at_the_time_limit() {
    let _machine = shared();
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
    let [mut slow, mut fast] = folders.each_ref().map(|folder| BlockedServer::start(folder.path()));
    slow.signal(Signal::TERM);
    let signalled_at = Instant::now();
    fast.signal(Signal::INT);
    fast.signal(Signal::TERM);
    fast.assert_ends(Duration::from_secs(5));
    slow.assert_ends(SHUTDOWN_LIMIT.saturating_sub(signalled_at.elapsed()));
}

/// Returns the names of the running programs of a process group.
fn running(group: u32) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("the list of processes").filter_map(Result::ok);
    let stats = processes.filter_map(|process| fs::read_to_string(process.path().join("stat")).ok());
    let of_group = |stat: String| {
        let (name, fields) = stat.rsplit_once(") ")?;
        let mut fields = fields.split(' ');
        // A zombie does not run any more.
        let runs = fields.next()? != "Z";
        let _parent = fields.next()?;
        (runs && fields.next()?.parse() == Ok(group)).then(|| name.to_owned())
    };
    stats.filter_map(of_group).collect()
}

#[test]
fn ctrl_c_ends_the_demo_and_all_its_programs() {
    let _machine = shared();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().join("output");
    let log = File::create(&output).expect("an output file");
    let [http, rtmp, srt] = free_ports();
    // A test that runs in the background of a shell ignores SIGINT, and bash cannot trap a signal that is ignored at
    // its start.
    let mut demo = Command::new("env")
        .arg("--default-signal=INT")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/demo.sh"))
        .env("DEMO_HTTP_PORT", http.to_string())
        .env("DEMO_RTMP_PORT", rtmp.to_string())
        .env("DEMO_SRT_PORT", srt.to_string())
        .env("DEMO_BINARY", env!("CARGO_BIN_EXE_weir"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("the output file twice"))
        .stderr(log)
        .process_group(0)
        .spawn()
        .expect("the demo starts");
    let printed = || fs::read_to_string(&output).unwrap_or_default();
    until("the demo to play", || {
        assert!(demo.try_wait().expect("its state").is_none(), "the demo ended:\n{}", printed());
        printed().contains("Press Ctrl-C to stop").then_some(())
    });
    // Signal the whole group, as a terminal does, and once more, as an impatient user does.
    let group = Pid::from_child(&demo);
    for pause in [50, 0] {
        kill_process_group(group, Signal::INT).expect("the demo is there");
        thread::sleep(Duration::from_millis(pause));
    }
    let status = until("the end of the demo", || demo.try_wait().expect("its state"));
    assert_eq!(status.code(), Some(0), "{}", printed());
    assert_eq!(running(demo.id()), Vec::<String>::new(), "left behind");
}
