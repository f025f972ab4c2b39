//! Every way out of the server ends, in time and with the right exit code, whatever its threads are doing.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::json;

use crate::support::{Clip, Encoder, Server, clip, free_ports, shared, until, until_within};

/// The contract: a server that was told to go down is gone within this time.
const GONE: Duration = Duration::from_secs(10);
/// Servers at once, and how many one after another.
const LANES: usize = 5;
const ROUNDS: usize = 10;
const PAIRS: [[Signal; 2]; 3] = [[Signal::INT, Signal::INT], [Signal::TERM, Signal::TERM], [Signal::TERM, Signal::INT]];
/// Between the two signals: together, as a terminal and a script send them, up to when the drain is nearly over.
const GAPS_MS: [u64; 5] = [0, 2, 10, 40, 150];

/// One server with an RTMP and an SRT encoder on the air, and two signals.
fn two_signals(round: usize, file: &Path) {
    let mut server = Server::start();
    let api = server.api();
    let (first, second) = (api.create("low", json!({})), api.create("low", json!({})));
    let _rtmp = Encoder::push_loop(file, &server.rtmp_url(&first.key));
    let (path, url) = (file.to_str().expect("a UTF-8 path"), server.srt_url(&second));
    let _srt = Encoder::ffmpeg(&["-re", "-stream_loop", "-1", "-i", path, "-c", "copy", "-f", "mpegts", &url]);
    api.wait_for(&first, "active");
    api.wait_for(&second, "active");

    let ([one, two], gap) = (PAIRS[round % PAIRS.len()], GAPS_MS[round % GAPS_MS.len()]);
    let told = Instant::now();
    server.signal(one);
    thread::sleep(Duration::from_millis(gap));
    server.signal(two);
    let what = format!("round {round}: the server to end after {one:?}, {gap} ms and {two:?}");
    let status = until_within(GONE, &what, || server.exit_status());
    assert_eq!(status.code(), Some(0), "{what}: it ended with {status}");
    assert!(told.elapsed() < GONE, "{what}: it took {:?}", told.elapsed());
}

#[test]
fn two_signals_end_a_busy_server_fifty_times() {
    let _machine = shared();
    let file = clip(&Clip::plain(8));
    thread::scope(|scope| {
        for lane in 0..LANES {
            let file = &file;
            scope.spawn(move || (0..ROUNDS).for_each(|round| two_signals(lane * ROUNDS + round, file)));
        }
    });
}

/// What the pipe of a log takes, and how much is in it when the next line does not fit.
const PIPE: usize = 4_096;
const LINES: u64 = 3_900;

/// A server that nobody reads the log of: every thread of it that has something to say stands still.
struct Stuck(Child);

impl Stuck {
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
        let stuck = Self(child);
        let log = stuck.0.stderr.as_ref().expect("its log");
        rustix::pipe::fcntl_setpipe_size(log, PIPE).expect("a short pipe");
        until_within(GONE, "the log to be full", || {
            // Whether it answers is no matter: asking makes it talk.
            let _ = std::net::TcpStream::connect(("127.0.0.1", http)).map(drop);
            let log = stuck.0.stderr.as_ref().expect("its log");
            (rustix::io::ioctl_fionread(log).expect("the length of the log") > LINES).then_some(())
        });
        stuck
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("the server is there to be signalled");
    }

    /// Waits for its end.
    fn assert_ends(&mut self, within: Duration) {
        let status =
            until_within(within, "the end of a server that stands still", || self.0.try_wait().expect("its state"));
        assert_eq!(status.code(), Some(0), "it ended with {status}");
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_server_that_stands_still_ends_by_a_second_signal_or_when_its_time_is_over() {
    let _machine = shared();
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
    let [mut waited_for, mut hurried] = folders.each_ref().map(|folder| Stuck::start(folder.path()));
    waited_for.signal(Signal::TERM);
    let told = Instant::now();
    hurried.signal(Signal::INT);
    hurried.signal(Signal::TERM);
    hurried.assert_ends(Duration::from_secs(5));
    waited_for.assert_ends(GONE.saturating_sub(told.elapsed()));
}

/// The programs of a process group that run, by name.
fn running(group: u32) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("the list of processes").filter_map(Result::ok);
    let stats = processes.filter_map(|process| fs::read_to_string(process.path().join("stat")).ok());
    let of_group = |stat: String| {
        let (name, fields) = stat.rsplit_once(") ")?;
        let mut fields = fields.split(' ');
        // What has ended and nobody has asked after runs no more.
        let runs = fields.next()? != "Z";
        let _parent = fields.next()?;
        (runs && fields.next()?.parse() == Ok(group)).then(|| name.to_owned())
    };
    stats.filter_map(of_group).collect()
}

#[test]
fn ctrl_c_ends_the_demo_with_all_that_it_started() {
    let _machine = shared();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().join("output");
    let log = File::create(&output).expect("an output file");
    let [http, rtmp, srt] = free_ports();
    // A test that runs in the background of a shell has SIGINT ignored, and bash cannot trap what it finds ignored.
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
    let said = || fs::read_to_string(&output).unwrap_or_default();
    until("the demo to play", || {
        assert!(demo.try_wait().expect("its state").is_none(), "the demo ended:\n{}", said());
        said().contains("Ctrl-C ends it").then_some(())
    });
    // As a terminal does, to all at once; and again by someone in a hurry.
    let group = Pid::from_child(&demo);
    for pause in [50, 0] {
        kill_process_group(group, Signal::INT).expect("the demo is there");
        thread::sleep(Duration::from_millis(pause));
    }
    let status = until("the end of the demo", || demo.try_wait().expect("its state"));
    assert_eq!(status.code(), Some(0), "{}", said());
    assert_eq!(running(demo.id()), Vec::<String>::new(), "left behind");
}
