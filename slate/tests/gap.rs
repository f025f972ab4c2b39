//! Gaps of a passthrough programme, on virtual time.
#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use std::convert::Infallible;

use bytes::Bytes;
use media::{Access, Fault, FaultReport, Frame, Kind, LatencyMode, TimeDelta, Timestamp, Track, TrackId};
use slate::filler::LoopedVideo;
use slate::gap::{ClipResult, FrameAction, GapPolicy, SlateImages};
use slate::{Item, Programme};

const VIDEO: TrackId = TrackId(1);
const AUDIO: TrackId = TrackId(2);

fn ms(n: i64) -> TimeDelta {
    TimeDelta::from_millis(n)
}

fn video() -> Track {
    media::fixtures::video(VIDEO)
}

fn audio() -> Track {
    media::fixtures::audio(AUDIO)
}

fn frame(track: TrackId, at: i64, access: Access) -> Frame {
    let at = Timestamp::ZERO + ms(at);
    Frame { track, dts: at, pts: at, access, payload: Bytes::from_static(b"live") }
}

/// A passthrough programme and its output. Times are in milliseconds.
struct Simulation {
    programme: Programme,
    out: Vec<Item>,
}

impl Simulation {
    fn new(tracks: &[Track]) -> Self {
        let images = SlateImages { landscape: Bytes::new(), portrait: Bytes::new() };
        let policy = GapPolicy::new(LatencyMode::Low, images);
        let mut sim = Self { programme: Programme::for_passthrough(Some(policy)), out: Vec::new() };
        sim.contribution(tracks);
        sim
    }

    fn contribution(&mut self, tracks: &[Track]) {
        self.programme.begin(&mut self.out);
        tracks.iter().for_each(|track| self.programme.track(track.clone(), &mut self.out));
    }

    fn policy(&mut self) -> &mut GapPolicy {
        self.programme.gap_policy_mut().unwrap()
    }

    /// Feeds video and audio from `from` to `to`, with a key frame each second. Returns the decisions on them.
    fn flow(&mut self, tracks: &[Track], from: i64, to: i64) -> Vec<FrameAction> {
        let mut actions = Vec::new();
        for at in (from..to).step_by(40) {
            for track in tracks {
                let key = track.kind() == Kind::Audio || at % 1_000 < 40;
                let frame = frame(track.id, at, Access::independent_if(key));
                actions.push(self.programme.frame(frame, ms(at), &mut self.out));
            }
        }
        actions
    }

    /// Returns how far the end of the programme is ahead of the clock.
    fn ahead(&self, now: i64) -> i64 {
        (self.programme.end().unwrap() - Timestamp::ZERO - ms(now)).as_millis()
    }

    fn dropped(&self) -> u64 {
        let late = |item: &Item| match item {
            Item::Fault(FaultReport { fault: Fault::BacklogDropped, count, .. }) => Some(*count),
            _ => None,
        };
        self.out.iter().filter_map(late).sum()
    }

    fn with_clip(mut self) -> Self {
        let frames = (0..25).map(|n| frame(VIDEO, n * 40, Access::independent_if(n == 0))).collect();
        let video = LoopedVideo::new(video(), frames, ms(1_000)).map(Ok);
        assert!(self.policy().take_clip(ClipResult::<Infallible> { video, silence: Vec::new() }).is_none());
        self
    }

    /// Polls until `until`, and returns the number of video frames of the slate.
    fn poll_until(&mut self, until: i64) -> u64 {
        let before = self.policy().slate_frames();
        let (mut wake, mut polls) = (ms(0), 0);
        while wake <= ms(until) {
            wake = self.programme.poll(wake, &mut self.out).unwrap().wake_at;
            polls += 1;
            assert!(polls < 2_000, "polled too often");
        }
        self.policy().slate_frames() - before
    }
}

#[test]
fn no_gap_opens_before_there_is_a_clip() {
    let tracks = [video(), audio()];
    let mut sim = Simulation::new(&tracks);
    assert!(sim.flow(&tracks, 0, 1_000).iter().all(|action| *action == FrameAction::Forward));
    assert_eq!((sim.poll_until(5_000), sim.policy().is_in_gap()), (0, false));
    let request = sim.policy().clip_request().unwrap();
    assert_eq!(request.video.unwrap().spec.rate.per_second(), 25.0);
    assert!(request.silence.is_empty() && sim.policy().clip_request().is_none(), "requested once");
}

#[test]
fn the_slate_is_presented_until_a_key_frame_arrives() {
    let tracks = [video(), audio()];
    let mut sim = Simulation::new(&tracks).with_clip();
    sim.flow(&tracks, 0, 1_000);
    assert_eq!(sim.poll_until(1_400), 0);
    assert!((48..=52).contains(&sim.poll_until(3_000)));
    let actions = sim.flow(&tracks, 3_520, 4_200);
    let back = actions.iter().position(|action| matches!(action, FrameAction::Resume { .. })).unwrap();
    assert_eq!(back, 24, "12 video frames with their audio are discarded");
    assert!(actions[..back].iter().all(|action| *action == FrameAction::Discard));
    assert!(actions[back + 1..].iter().all(|action| *action == FrameAction::Forward));
}

#[test]
fn another_contribution_resumes_with_its_first_key_frame_too() {
    let tracks = [video(), audio()];
    let mut sim = Simulation::new(&tracks).with_clip();
    sim.flow(&tracks, 0, 1_000);
    sim.contribution(&tracks);
    let actions = sim.flow(&tracks, 1_080, 2_080);
    let live = actions.iter().position(|action| *action != FrameAction::Discard).unwrap();
    assert_eq!((actions.len() - live, sim.policy().slate_frames()), (4, 0), "no slate in such a short gap");
}

#[test]
fn a_contribution_that_stutters_gets_a_longer_timeout() {
    let tracks = [video(), audio()];
    let mut sim = Simulation::new(&tracks).with_clip();
    sim.flow(&tracks, 0, 1_000);
    assert!(sim.poll_until(1_960) > 0);
    sim.flow(&tracks, 2_000, 3_000);
    assert_eq!(sim.poll_until(3_900), 0);
    assert!(sim.poll_until(4_100) > 0);
    sim.contribution(&tracks);
    sim.flow(&tracks, 5_000, 6_000);
    assert!(sim.poll_until(6_600) > 0, "the next contribution starts with the usual timeout");
}

#[test]
fn audio_only_is_silent_and_resumes_video_programmes_after_a_timeout() {
    let mut sim = Simulation::new(&[audio()]);
    sim.flow(&[audio()], 0, 1_000);
    assert_eq!((sim.poll_until(3_000), sim.policy().is_in_gap()), (0, true));
    assert!(matches!(sim.flow(&[audio()], 3_000, 3_010)[..], [FrameAction::Resume { .. }]));
    let tracks = [video(), audio()];
    let mut sim = Simulation::new(&tracks).with_clip();
    sim.flow(&tracks, 0, 1_000);
    sim.poll_until(3_000);
    sim.contribution(&[audio()]);
    let actions = sim.flow(&[audio()], 3_000, 6_000);
    assert!(matches!(actions[50], FrameAction::Resume { .. }), "{actions:?}");
}

/// Stalls the network from `from` to `to`. The media sent meanwhile arrives at once.
fn freeze(sim: &mut Simulation, tracks: &[Track], from: i64, to: i64) {
    sim.poll_until(to);
    for at in (from..to).step_by(40) {
        for track in tracks {
            let key = track.kind() == Kind::Audio || at % 1_000 < 40;
            let frame = frame(track.id, at, Access::independent_if(key));
            sim.programme.frame(frame, ms(to), &mut sim.out);
        }
    }
}

#[test]
fn a_backlog_that_the_slate_has_covered_is_discarded() {
    for tracks in [vec![video(), audio()], vec![audio()]] {
        let mut sim = Simulation::new(&tracks).with_clip();
        sim.flow(&tracks, 0, 5_000);
        let before = sim.ahead(5_000);
        let mut at = 5_000;
        // Long gaps, and short ones again and again.
        for length in [5_000, 3_000, 8_000, 600, 700, 800, 900, 1_000, 4_300] {
            freeze(&mut sim, &tracks, at, at + length);
            sim.poll_until(at + length + 40);
            for step in (at + length..at + length + 6_000).step_by(200) {
                sim.poll_until(step);
                sim.flow(&tracks, step, step + 200);
            }
            at += length + 6_000;
            let grown = sim.ahead(at) - before;
            assert!(!sim.policy().is_in_gap() && (-100..=400).contains(&grown), "{length}: {grown}");
        }
        assert!(sim.dropped() > 100);
    }
}

#[test]
fn a_permanent_network_delay_is_accepted() {
    let tracks = [video(), audio()];
    let mut sim = Simulation::new(&tracks).with_clip();
    sim.flow(&tracks, 0, 5_000);
    sim.poll_until(8_000);
    // All media is three seconds late permanently.
    let mut back = None;
    for at in (5_000..12_000).step_by(40) {
        for track in &tracks {
            let key = track.kind() == Kind::Audio || at % 1_000 < 40;
            let frame = frame(track.id, at, Access::independent_if(key));
            let action = sim.programme.frame(frame, ms(at + 3_000), &mut sim.out);
            back = back.or(matches!(action, FrameAction::Resume { .. }).then_some(at));
        }
        sim.poll_until(at + 3_000);
    }
    assert_eq!(back, Some(7_000));
}

#[test]
fn bursts_of_returning_encoders_do_not_add_up() {
    let tracks = [video(), audio()];
    let mut sim = Simulation::new(&tracks).with_clip();
    sim.flow(&tracks, 0, 5_000);
    let (before, mut now) = (sim.ahead(5_000), 5_000);
    for _ in 0..10 {
        sim.poll_until(now + 3_000);
        sim.contribution(&tracks);
        now += 3_000;
        // The first half second arrives at once, the rest in real time.
        for at in (0..4_000).step_by(40) {
            for track in &tracks {
                let key = track.kind() == Kind::Audio || at % 1_000 < 40;
                let frame = frame(track.id, at, Access::independent_if(key));
                sim.programme.frame(frame, ms(now + (at - 480).max(0)), &mut sim.out);
            }
        }
        now += 3_520;
    }
    let grown = sim.ahead(now) - before;
    assert!((-200..=1_000).contains(&grown), "{grown}");
}
