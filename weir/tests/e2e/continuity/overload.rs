//! More load than the machine can handle: renditions are shed, no programme stalls, and everything is restored
//! afterwards.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, setpriority_process};
use rustix::thread::{CpuSet, gettid, sched_setaffinity};
use serde_json::json;

use super::viewers::{HEIGHTS, LADDER, Viewers, premium, three_segments};
use super::{ladder_metric, transcoded};
use crate::encoder_change::{AVC, By, Turn};
use crate::support::{MediaPlaylist, Server, Stream, alone, until};

/// Four of these ladders are more than two processor cores can handle.
const HEAVY: Turn = Turn { by: By::Rtmp, size: "1920x1080", encoder: AVC, codec: "avc1." };
/// Maximum age of the newest part of a stream, in seconds. It is the time that media waits for decoders and encoders.
const MAX_AGE: f64 = 3.0;
/// Number of threads that only consume CPU time.
const BURNERS: usize = 4;
/// Nice value of these threads.
const BURNER_NICE: i32 = 10;
/// Nice value of the thread that they compete with, which gets a twentieth of their share.
const VICTIM_NICE: i32 = 17;
/// Nice value of the server where other work of the machine must not shed its renditions.
const SERVER_NICE: i32 = -15;

/// Threads that take CPU time from one thread of the server.
struct Burners {
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Burners {
    fn start(victim: Pid) -> Self {
        let mut first = CpuSet::new();
        first.set(0);
        sched_setaffinity(Some(victim), &first).expect("binding the thread to a core");
        setpriority_process(Some(victim), VICTIM_NICE).expect("setting the nice value");
        let ended = Arc::new(AtomicBool::new(false));
        let burn = |_| {
            let ended = Arc::clone(&ended);
            thread::spawn(move || {
                sched_setaffinity(None, &first).expect("binding to the core");
                setpriority_process(Some(gettid()), BURNER_NICE).expect("setting the nice value");
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
        // The threads cannot fail once they run.
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// Returns the threads of the encoders, that of the reference rendition first. GStreamer numbers the sources that feed
/// them.
fn encoder_threads(server: &Server, renditions: usize) -> Vec<Pid> {
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
    assert!(sources.len() >= renditions, "{sources:?}");
    sources.into_iter().rev().take(renditions).rev().filter_map(|(_, id)| Pid::from_raw(id)).collect()
}

/// Raises the priority of the server, because one of these ladders can need most of the machine, and other work there must
/// not keep its renditions from being restored. New threads inherit the priority. Without the right to raise it, the test
/// needs an idle machine.
fn prioritize(server: &Server) {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("the server's threads");
    let ids = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok().and_then(Pid::from_raw));
    for id in ids {
        // A thread that has ended in the meantime needs no priority.
        let _ended_or_forbidden = setpriority_process(Some(id), SERVER_NICE);
    }
}

/// Returns the number of renditions of a stream that are shed.
fn shed(server: &Server, stream: &Stream) -> u64 {
    ladder_metric(server, stream, "shed_rungs")
}

/// Returns the age of the newest part, in seconds.
fn age(list: &MediaPlaylist) -> f64 {
    const DAY: f64 = 86_400.0;
    let newest = list.segments.last().expect("a segment");
    let time = newest.date_time.as_deref().and_then(|date| date.split_once('T')).expect("a date and time").1;
    let fields: Vec<f64> =
        time.trim_end_matches('Z').split(':').map(|field| field.parse().expect("a number")).collect();
    let began = fields.iter().fold(0.0, |sum, field| sum * 60.0 + field);
    let parts: f64 = list.open_parts.iter().map(|part| part.duration).sum();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs_f64();
    // The date has no day here, so a difference of a day means that midnight has passed.
    (now - (began + newest.duration + parts) + DAY / 2.0).rem_euclid(DAY) - DAY / 2.0
}

#[test]
fn renditions_are_shed_and_no_programme_stalls() {
    let _machine = alone();
    let server = Server::start();
    let streams: Vec<_> = (0..4).map(|_| transcoded(&server, "low", json!({ "reconnect_window": 0 }))).collect();
    let mut encoders = vec![HEAVY.push(&server, &streams[0])];
    let renditions = server.playback(&streams[0]).renditions().len();
    encoders.extend(streams[1..].iter().map(|stream| HEAVY.push(&server, stream)));
    let assert_fresh = |streams: &[Stream]| {
        for stream in streams {
            let age = age(&server.playback(stream).main().playlist());
            assert!(age <= MAX_AGE, "the newest part is {age} s old");
        }
    };
    until("every ladder to shed a rendition", || {
        assert_fresh(&streams[..1]);
        streams.iter().all(|stream| shed(&server, stream) > 0).then_some(())
    });
    assert_fresh(&streams);
    let log = server.log();
    assert!(log.contains("video.live_stream.warning"), "{log}");
    encoders.truncate(1);
    prioritize(&server);
    until("all renditions to be restored", || {
        assert_fresh(&streams[..1]);
        (shed(&server, &streams[0]) == 0).then_some(())
    });
    until("all renditions to be listed", || {
        (server.playback(&streams[0]).renditions().len() == renditions).then_some(())
    });
}

/// Checks that a player on a rendition that is shed switches to another one.
fn assert_switches(latency_mode: &str) {
    let _machine = alone();
    let server = Server::start();
    prioritize(&server);
    let stream = transcoded(&server, latency_mode, premium());
    let _encoder = LADDER.push(&server, &stream);
    three_segments(&server, &stream);
    // Waits until renditions that were shed at the start are restored, because players do not learn of renditions that
    // are added later.
    let video_renditions =
        || server.playback(&stream).renditions().iter().filter(|rendition| rendition.kind == "video").count();
    until("all renditions to be listed", || (video_renditions() == HEIGHTS.len()).then_some(()));
    let [_, middle, lowest] = HEIGHTS;
    // Caps the level of the player, as a small window would.
    let steps = json!([{ "cap": middle }, { "height": middle }, { "height": lowest }, { "seconds": 2 }]);
    let viewers = Viewers::start(&server, &[(&stream, steps)]);
    viewers.wait_for(&format!("0: {middle}p"));
    let [_, encoder, _] = encoder_threads(&server, HEIGHTS.len())[..] else { panic!("three renditions") };
    let burners = Burners::start(encoder);
    until("the rendition to be shed", || (shed(&server, &stream) > 0).then_some(()));
    drop(burners);
    viewers.assert_success();
}

#[test]
fn hls_js_switches_from_a_rendition_that_is_shed_in_standard() {
    assert_switches("standard");
}

/// The player has less than a second buffered, and an encoder may be late for half a second before its rendition is
/// shed.
#[test]
fn hls_js_switches_from_a_rendition_that_is_shed_in_low() {
    assert_switches("low");
}
