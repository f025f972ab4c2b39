//! More than the machine can carry: rungs are shed, nothing stands still, and everything comes back.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, setpriority_process};
use rustix::thread::{CpuSet, gettid, sched_setaffinity};
use serde_json::json;

use super::viewers::{HEIGHTS, LADDER, Viewers, premium, three_segments};
use super::{encoded, figure};
use crate::encoder_change::{AVC, By, Turn};
use crate::support::{MediaPlaylist, Server, Stream, alone, until};

/// Four of these ladders are more than two processors can carry.
const HEAVY: Turn = Turn { by: By::Rtmp, size: "1920x1080", encoder: AVC, codec: "avc1." };
/// The newest part of a stream is never older than this, in seconds: what waits in front of decoders and encoders.
const OLDEST: f64 = 3.0;
/// Threads that burn time, how nice they are to all others, and how nice their victim is: it gets a twentieth of what they
/// have.
const BURNERS: usize = 4;
const NICE: i32 = 10;
const NICER: i32 = 17;

/// Threads that take one processor from a thread of the server.
struct Burners {
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Burners {
    fn start(victim: Pid) -> Self {
        let mut first = CpuSet::new();
        first.set(0);
        sched_setaffinity(Some(victim), &first).expect("the thread is bound to a processor");
        setpriority_process(Some(victim), NICER).expect("the thread is nice");
        let ended = Arc::new(AtomicBool::new(false));
        let burn = |_| {
            let ended = Arc::clone(&ended);
            thread::spawn(move || {
                sched_setaffinity(None, &first).expect("a processor");
                setpriority_process(Some(gettid()), NICE).expect("a nice thread");
                while !ended.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        Self { threads: (0..BURNERS).map(burn).collect(), ended }
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // They cannot fail once they burn.
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// The threads of encoders, the leader's first: GStreamer numbers the sources that feed them.
fn encoder_threads(server: &Server, rungs: usize) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("the server's threads");
    let mut sources: Vec<(u32, i32)> = tasks
        .filter_map(|task| {
            let task = task.ok()?;
            let name = fs::read_to_string(task.path().join("comm")).ok()?;
            let number = name.strip_prefix("appsrc")?.split(':').next()?.parse().ok()?;
            Some((number, task.file_name().to_str()?.parse().ok()?))
        })
        .collect();
    sources.sort_unstable();
    assert!(sources.len() >= rungs, "{sources:?}");
    sources.into_iter().rev().take(rungs).rev().filter_map(|(_, id)| Pid::from_raw(id)).collect()
}

/// Rungs of a stream that are shed.
fn shed(server: &Server, stream: &Stream) -> u64 {
    figure(server, stream, "shed_rungs")
}

/// How old the newest part is, in seconds.
fn age(list: &MediaPlaylist) -> f64 {
    const DAY: f64 = 86_400.0;
    let newest = list.segments.last().expect("a segment");
    let time = newest.date_time.as_deref().and_then(|date| date.split_once('T')).expect("a date and time").1;
    let fields: Vec<f64> =
        time.trim_end_matches('Z').split(':').map(|field| field.parse().expect("a number")).collect();
    let began = fields.iter().fold(0.0, |sum, field| sum * 60.0 + field);
    let parts: f64 = list.open_parts.iter().map(|part| part.duration).sum();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time of this century").as_secs_f64();
    // Half a day off is nonsense; a day off is midnight.
    (now - (began + newest.duration + parts) + DAY / 2.0).rem_euclid(DAY) - DAY / 2.0
}

#[test]
fn rungs_are_shed_and_nothing_stands_still() {
    let _machine = alone();
    let server = Server::start();
    let streams: Vec<_> = (0..4).map(|_| encoded(&server, "low", json!({ "reconnect_window": 0 }))).collect();
    let mut encoders = vec![HEAVY.push(&server, &streams[0])];
    let rungs = server.playback(&streams[0]).renditions().len();
    encoders.extend(streams[1..].iter().map(|stream| HEAVY.push(&server, stream)));
    let oldest = |streams: &[Stream]| {
        for stream in streams {
            let age = age(&server.playback(stream).main().playlist());
            assert!(age <= OLDEST, "the newest part is {age} s old");
        }
    };
    until("every ladder to shed a rung", || {
        oldest(&streams[..1]);
        streams.iter().all(|stream| shed(&server, stream) > 0).then_some(())
    });
    oldest(&streams);
    let log = server.log();
    assert!(log.contains("video.live_stream.warning"), "{log}");
    encoders.truncate(1);
    until("everything to come back", || {
        oldest(&streams[..1]);
        (shed(&server, &streams[0]) == 0).then_some(())
    });
    until("all rungs to be listed", || (server.playback(&streams[0]).renditions().len() == rungs).then_some(()));
}

/// One who plays a rung is not left behind on it.
fn assert_moves_on(latency_mode: &str) {
    let _machine = alone();
    let server = Server::start();
    let stream = encoded(&server, latency_mode, premium());
    let _encoder = LADDER.push(&server, &stream);
    three_segments(&server, &stream);
    // What the start was too much for comes back first; players learn of no rung that comes later.
    let pictures =
        || server.playback(&stream).renditions().iter().filter(|rendition| rendition.kind == "video").count();
    until("all rungs to be listed", || (pictures() == HEIGHTS.len()).then_some(()));
    let [_, middle, least] = HEIGHTS;
    // In a small window players take no level that is larger.
    let steps = json!([{ "cap": middle }, { "height": middle }, { "height": least }, { "seconds": 2 }]);
    let viewers = Viewers::start(&server, &[(&stream, steps)]);
    viewers.wait_for(&format!("0: {middle}p"));
    let [_, encoder, _] = encoder_threads(&server, HEIGHTS.len())[..] else { panic!("three rungs") };
    let burners = Burners::start(encoder);
    until("the rung to be shed", || (shed(&server, &stream) > 0).then_some(()));
    drop(burners);
    viewers.assert_content();
}

#[test]
fn hls_js_moves_on_from_a_rung_that_is_shed_in_standard() {
    assert_moves_on("standard");
}

/// Its player has less than a second in hand, and the encoder was behind for half a second before its rung is shed.
#[test]
fn hls_js_moves_on_from_a_rung_that_is_shed_in_low() {
    assert_moves_on("low");
}
