//! Gaps of a passthrough programme, on virtual time.
#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use std::convert::Infallible;

use bytes::Bytes;
use media::{Access, Fault, FaultReport, Frame, Kind, LatencyMode, TimeDelta, Timestamp, Track, TrackId};
use slate::filler::LoopedVideo;
use slate::gap::{Arrival, ClipResult, FrameAction, GapPolicy, SlateImages};
use slate::{Intake, Item, Splice};

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

/// A policy with a programme in front of it. Times are in milliseconds.
struct Programme {
    policy: GapPolicy,
    splice: Splice,
    intake: Intake,
    out: Vec<Item>,
}

impl Programme {
    fn new(tracks: &[Track]) -> Self {
        let images = SlateImages { landscape: Bytes::new(), portrait: Bytes::new() };
        let policy = GapPolicy::new(LatencyMode::Low, images);
        let splice = Splice::for_passthrough();
        let mut programme = Self { policy, splice, intake: Intake::default(), out: Vec::new() };
        programme.contribution(tracks);
        programme
    }

    fn contribution(&mut self, tracks: &[Track]) {
        self.policy.begin(&mut self.splice, &mut self.out);
        self.splice.begin();
        self.intake = Intake::default();
        for track in tracks {
            self.intake.track(track);
            self.policy.track(track);
            self.splice.track(track.clone(), &mut Vec::new());
        }
    }

    /// Feeds video and audio from `from` to `to`, with a key frame each second. Returns the decisions on them.
    fn flow(&mut self, tracks: &[Track], from: i64, to: i64) -> Vec<FrameAction> {
        let mut actions = Vec::new();
        for at in (from..to).step_by(40) {
            for track in tracks {
                let key = track.kind() == Kind::Audio || at % 1_000 < 40;
                let frame = frame(track.id, at, Access::independent_if(key));
                actions.push(self.arrive(frame, track.kind(), ms(at)));
            }
        }
        actions
    }

    fn arrive(&mut self, frame: Frame, kind: Kind, now: TimeDelta) -> FrameAction {
        let frame = self.intake.frame(frame, now, &mut self.out);
        let lateness = self.intake.lateness(&frame, now);
        let action = self.policy.frame(Arrival { frame: &frame, kind, now, lateness }, &mut self.out);
        if let FrameAction::Resume { slate_end } = action {
            self.splice.advance(slate_end, &mut self.out);
        }
        if action != FrameAction::Discard {
            self.splice.frame(frame, &mut self.out);
            let position = self.splice.offset().zip(self.intake.least_delay());
            self.policy.note_position(position.map(|(offset, delay)| offset - delay));
        }
        action
    }

    /// Returns how far the end of the programme is ahead of the clock.
    fn ahead(&self, now: i64) -> i64 {
        (self.splice.end().unwrap() - Timestamp::ZERO - ms(now)).as_millis()
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
        assert!(self.policy.take_clip(ClipResult::<Infallible> { video, silence: Vec::new() }).is_none());
        self
    }

    /// Polls until `until`, and returns the number of video frames of the slate.
    fn poll_until(&mut self, until: i64) -> u64 {
        let before = self.policy.slate_frames();
        let (mut wake, mut polls) = (ms(0), 0);
        while wake <= ms(until) {
            wake = self.policy.poll(wake, &mut self.splice, &mut self.out).wake_at;
            polls += 1;
            assert!(polls < 2_000, "polled too often");
        }
        self.policy.slate_frames() - before
    }
}

#[test]
fn no_gap_opens_before_there_is_a_clip() {
    let tracks = [video(), audio()];
    let mut programme = Programme::new(&tracks);
    assert!(programme.flow(&tracks, 0, 1_000).iter().all(|action| *action == FrameAction::Forward));
    assert_eq!((programme.poll_until(5_000), programme.policy.is_in_gap()), (0, false));
    let request = programme.policy.clip_request().unwrap();
    assert_eq!(request.video.unwrap().spec.rate.per_second(), 25.0);
    assert!(request.silence.is_empty() && programme.policy.clip_request().is_none(), "requested once");
}

#[test]
fn the_slate_is_presented_until_a_key_frame_arrives() {
    let tracks = [video(), audio()];
    let mut programme = Programme::new(&tracks).with_clip();
    programme.flow(&tracks, 0, 1_000);
    assert_eq!(programme.poll_until(1_400), 0);
    assert!((48..=52).contains(&programme.poll_until(3_000)));
    let actions = programme.flow(&tracks, 3_520, 4_200);
    let back = actions.iter().position(|action| matches!(action, FrameAction::Resume { .. })).unwrap();
    assert_eq!(back, 24, "12 video frames with their audio are discarded");
    assert!(actions[..back].iter().all(|action| *action == FrameAction::Discard));
    assert!(actions[back + 1..].iter().all(|action| *action == FrameAction::Forward));
}

#[test]
fn another_contribution_resumes_with_its_first_key_frame_too() {
    let tracks = [video(), audio()];
    let mut programme = Programme::new(&tracks).with_clip();
    programme.flow(&tracks, 0, 1_000);
    programme.contribution(&tracks);
    let actions = programme.flow(&tracks, 1_080, 2_080);
    let live = actions.iter().position(|action| *action != FrameAction::Discard).unwrap();
    assert_eq!((actions.len() - live, programme.policy.slate_frames()), (4, 0), "no slate in such a short gap");
}

#[test]
fn a_contribution_that_stutters_gets_a_longer_timeout() {
    let tracks = [video(), audio()];
    let mut programme = Programme::new(&tracks).with_clip();
    programme.flow(&tracks, 0, 1_000);
    assert!(programme.poll_until(1_960) > 0);
    programme.flow(&tracks, 2_000, 3_000);
    assert_eq!(programme.poll_until(3_900), 0);
    assert!(programme.poll_until(4_100) > 0);
    programme.contribution(&tracks);
    programme.flow(&tracks, 5_000, 6_000);
    assert!(programme.poll_until(6_600) > 0, "the next contribution starts with the usual timeout");
}

#[test]
fn audio_only_is_silent_and_resumes_video_programmes_after_a_timeout() {
    let mut programme = Programme::new(&[audio()]);
    programme.flow(&[audio()], 0, 1_000);
    assert_eq!((programme.poll_until(3_000), programme.policy.is_in_gap()), (0, true));
    assert!(matches!(programme.flow(&[audio()], 3_000, 3_010)[..], [FrameAction::Resume { .. }]));
    let tracks = [video(), audio()];
    let mut programme = Programme::new(&tracks).with_clip();
    programme.flow(&tracks, 0, 1_000);
    programme.poll_until(3_000);
    programme.contribution(&[audio()]);
    let actions = programme.flow(&[audio()], 3_000, 6_000);
    assert!(matches!(actions[50], FrameAction::Resume { .. }), "{actions:?}");
}

/// Stalls the network from `from` to `to`. The media sent meanwhile arrives at once.
fn freeze(programme: &mut Programme, tracks: &[Track], from: i64, to: i64) {
    programme.poll_until(to);
    for at in (from..to).step_by(40) {
        for track in tracks {
            let key = track.kind() == Kind::Audio || at % 1_000 < 40;
            let frame = frame(track.id, at, Access::independent_if(key));
            programme.arrive(frame, track.kind(), ms(to));
        }
    }
}

#[test]
fn a_backlog_that_the_slate_has_covered_is_discarded() {
    for tracks in [vec![video(), audio()], vec![audio()]] {
        let mut programme = Programme::new(&tracks).with_clip();
        programme.flow(&tracks, 0, 5_000);
        let before = programme.ahead(5_000);
        let mut at = 5_000;
        // Long gaps, and short ones again and again.
        for length in [5_000, 3_000, 8_000, 600, 700, 800, 900, 1_000, 4_300] {
            freeze(&mut programme, &tracks, at, at + length);
            programme.poll_until(at + length + 40);
            for step in (at + length..at + length + 6_000).step_by(200) {
                programme.poll_until(step);
                programme.flow(&tracks, step, step + 200);
            }
            at += length + 6_000;
            let grown = programme.ahead(at) - before;
            assert!(!programme.policy.is_in_gap() && (-100..=400).contains(&grown), "{length}: {grown}");
        }
        assert!(programme.dropped() > 100);
    }
}

#[test]
fn a_permanent_network_delay_is_accepted() {
    let tracks = [video(), audio()];
    let mut programme = Programme::new(&tracks).with_clip();
    programme.flow(&tracks, 0, 5_000);
    programme.poll_until(8_000);
    // All media is three seconds late permanently.
    let mut back = None;
    for at in (5_000..12_000).step_by(40) {
        for track in &tracks {
            let key = track.kind() == Kind::Audio || at % 1_000 < 40;
            let frame = frame(track.id, at, Access::independent_if(key));
            let action = programme.arrive(frame, track.kind(), ms(at + 3_000));
            back = back.or(matches!(action, FrameAction::Resume { .. }).then_some(at));
        }
        programme.poll_until(at + 3_000);
    }
    assert_eq!(back, Some(7_000));
}

#[test]
fn bursts_of_returning_encoders_do_not_add_up() {
    let tracks = [video(), audio()];
    let mut programme = Programme::new(&tracks).with_clip();
    programme.flow(&tracks, 0, 5_000);
    let (before, mut now) = (programme.ahead(5_000), 5_000);
    for _ in 0..10 {
        programme.poll_until(now + 3_000);
        programme.contribution(&tracks);
        now += 3_000;
        // The first half second arrives at once, the rest in real time.
        for at in (0..4_000).step_by(40) {
            for track in &tracks {
                let key = track.kind() == Kind::Audio || at % 1_000 < 40;
                let frame = frame(track.id, at, Access::independent_if(key));
                programme.arrive(frame, track.kind(), ms(now + (at - 480).max(0)));
            }
        }
        now += 3_520;
    }
    let grown = programme.ahead(now) - before;
    assert!((-200..=1_000).contains(&grown), "{grown}");
}
