//! Gaps on virtual time.

use super::*;
use bytes::Bytes;
use media::codec::{aac, avc};
use media::{Access, TrackId};
use slate::Intake;

const VIDEO: TrackId = TrackId(1);
const AUDIO: TrackId = TrackId(2);

fn ms(n: i64) -> TimeDelta {
    TimeDelta::from_millis(n)
}

fn video() -> Track {
    // x264, baseline, 320x240.
    const SPS: &[u8] = &[
        0x67, 0x42, 0xc0, 0x0d, 0xd9, 0x01, 0x41, 0xfb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03,
        0x03, 0x20, 0xf1, 0x42, 0xa4, 0x80,
    ];
    const PPS: &[u8] = &[0x68, 0xcb, 0x83, 0xcb, 0x20];
    let config = avc::Config::from_parameter_sets(&[Bytes::from_static(SPS)], &[Bytes::from_static(PPS)]);
    Track::new(VIDEO, CodecConfig::Avc(config.unwrap()))
}

fn audio() -> Track {
    Track::new(AUDIO, CodecConfig::Aac(aac::Config::new(2, 48_000, 2).unwrap()))
}

fn frame(track: TrackId, at: i64, access: Access) -> Frame {
    let at = Timestamp::ZERO + ms(at);
    Frame { track, dts: at, pts: at, access, payload: Bytes::from_static(b"live") }
}

/// Gaps with a programme in front of them; time is in milliseconds.
struct Programme {
    gaps: Gaps,
    splice: Splice,
    intake: Intake,
    out: Vec<Item>,
}

impl Programme {
    fn new(tracks: &[Track]) -> Self {
        let slate = SlateImages { landscape: Bytes::new(), portrait: Bytes::new() };
        let gaps = Gaps::new(LatencyMode::Low, slate);
        let splice = Splice::for_passthrough();
        let mut programme = Self { gaps, splice, intake: Intake::default(), out: Vec::new() };
        programme.contribution(tracks);
        programme
    }

    fn contribution(&mut self, tracks: &[Track]) {
        self.gaps.begin(&mut self.splice, &mut self.out);
        self.splice.begin();
        self.intake = Intake::default();
        for track in tracks {
            self.intake.track(track);
            self.gaps.track(track);
            self.splice.track(track.clone(), &mut Vec::new());
        }
    }

    /// Pictures and sound of the time from `from` to `to`, a key frame each second; what becomes of them.
    fn flow(&mut self, tracks: &[Track], from: i64, to: i64) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for at in (from..to).step_by(40) {
            for track in tracks {
                let key = track.kind() == Kind::Audio || at % 1_000 < 40;
                let frame = frame(track.id, at, Access::independent_if(key));
                verdicts.push(self.arrive(frame, track.kind(), ms(at)));
            }
        }
        verdicts
    }

    fn arrive(&mut self, frame: Frame, kind: Kind, now: TimeDelta) -> Verdict {
        let frame = self.intake.frame(frame, now, &mut self.out);
        let lateness = self.intake.lateness(&frame, now);
        let verdict = self.gaps.frame(Arrival { frame: &frame, kind, now, lateness }, &mut self.out);
        if let Verdict::Back(end) = verdict {
            self.splice.advance(end, &mut self.out);
        }
        if verdict != Verdict::Drop {
            self.splice.frame(frame, &mut self.out);
            let position = self.splice.offset().zip(self.intake.least_delay());
            self.gaps.passed(position.map(|(offset, delay)| offset - delay));
        }
        verdict
    }

    /// How far the end of the programme is ahead of the clock.
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
        let pictures = LoopedVideo::new(video(), frames, ms(1_000)).map(Ok);
        assert!(self.gaps.take(Made { pictures, silences: Vec::new() }).is_none());
        self
    }

    /// Pictures of the slate that leave up to `until`.
    fn slates(&mut self, until: i64) -> u64 {
        let before = self.gaps.shown();
        let (mut wake, mut looks) = (ms(0), 0);
        while wake <= ms(until) {
            (wake, _) = self.gaps.poll(wake, &mut self.splice, &mut self.out);
            looks += 1;
            assert!(looks < 2_000, "it looks around for nothing");
        }
        self.gaps.shown() - before
    }
}

#[test]
fn a_bad_picture_and_a_missing_encoder_are_told_apart() {
    assert_eq!(warning(&Error::Slate("no picture")), Warning::SlateUnavailable);
    assert_eq!(warning(&Error::Missing("x265enc".to_owned())), Warning::SlateNotMade);
}

#[test]
fn nothing_happens_before_there_is_a_clip() {
    let tracks = [video(), audio()];
    let mut programme = Programme::new(&tracks);
    assert!(programme.flow(&tracks, 0, 1_000).iter().all(|verdict| *verdict == Verdict::Pass));
    assert_eq!((programme.slates(5_000), programme.gaps.is_away()), (0, false));
    let order = programme.gaps.order().unwrap();
    assert_eq!(order.pictures.unwrap().0.rate().per_second(), 25.0);
    assert!(order.sounds.is_empty() && programme.gaps.order().is_none(), "once is enough");
}

#[test]
fn the_slate_is_there_until_a_key_frame_comes() {
    let tracks = [video(), audio()];
    let mut programme = Programme::new(&tracks).with_clip();
    programme.flow(&tracks, 0, 1_000);
    assert_eq!(programme.slates(1_400), 0);
    assert!((48..=52).contains(&programme.slates(3_000)));
    let verdicts = programme.flow(&tracks, 3_520, 4_200);
    let back = verdicts.iter().position(|verdict| matches!(verdict, Verdict::Back(_))).unwrap();
    assert_eq!(back, 24, "12 pictures with their sound go nowhere");
    assert!(verdicts[..back].iter().all(|verdict| *verdict == Verdict::Drop));
    assert!(verdicts[back + 1..].iter().all(|verdict| *verdict == Verdict::Pass));
}

#[test]
fn another_contribution_goes_on_with_its_first_key_frame_too() {
    let tracks = [video(), audio()];
    let mut programme = Programme::new(&tracks).with_clip();
    programme.flow(&tracks, 0, 1_000);
    programme.contribution(&tracks);
    let verdicts = programme.flow(&tracks, 1_080, 2_080);
    let live = verdicts.iter().position(|verdict| *verdict != Verdict::Drop).unwrap();
    assert_eq!((verdicts.len() - live, programme.gaps.shown()), (4, 0), "no slate: it was not away for long");
}

#[test]
fn a_contribution_that_stutters_is_waited_for_longer() {
    let tracks = [video(), audio()];
    let mut programme = Programme::new(&tracks).with_clip();
    programme.flow(&tracks, 0, 1_000);
    assert!(programme.slates(1_960) > 0);
    programme.flow(&tracks, 2_000, 3_000);
    assert_eq!(programme.slates(3_900), 0);
    assert!(programme.slates(4_100) > 0);
    programme.contribution(&tracks);
    programme.flow(&tracks, 5_000, 6_000);
    assert!(programme.slates(6_600) > 0, "the next one has a chance of its own");
}

#[test]
fn sound_alone_is_silent_and_sound_only_is_back_after_a_while() {
    let mut programme = Programme::new(&[audio()]);
    programme.flow(&[audio()], 0, 1_000);
    assert_eq!((programme.slates(3_000), programme.gaps.is_away()), (0, true));
    assert!(matches!(programme.flow(&[audio()], 3_000, 3_010)[..], [Verdict::Back(_)]));
    let tracks = [video(), audio()];
    let mut programme = Programme::new(&tracks).with_clip();
    programme.flow(&tracks, 0, 1_000);
    programme.slates(3_000);
    programme.contribution(&[audio()]);
    let verdicts = programme.flow(&[audio()], 3_000, 6_000);
    assert!(matches!(verdicts[50], Verdict::Back(_)), "{verdicts:?}");
}

/// A network that stands still from `from` to `to`; what was sent meanwhile arrives at once.
fn freeze(programme: &mut Programme, tracks: &[Track], from: i64, to: i64) {
    programme.slates(to);
    for at in (from..to).step_by(40) {
        for track in tracks {
            let key = track.kind() == Kind::Audio || at % 1_000 < 40;
            let frame = frame(track.id, at, Access::independent_if(key));
            programme.arrive(frame, track.kind(), ms(to));
        }
    }
}

#[test]
fn a_backlog_that_the_slate_has_covered_is_dropped() {
    for tracks in [vec![video(), audio()], vec![audio()]] {
        let mut programme = Programme::new(&tracks).with_clip();
        programme.flow(&tracks, 0, 5_000);
        let before = programme.ahead(5_000);
        let mut at = 5_000;
        // Long ones, and short ones again and again.
        for length in [5_000, 3_000, 8_000, 600, 700, 800, 900, 1_000, 4_300] {
            freeze(&mut programme, &tracks, at, at + length);
            programme.slates(at + length + 40);
            for step in (at + length..at + length + 6_000).step_by(200) {
                programme.slates(step);
                programme.flow(&tracks, step, step + 200);
            }
            at += length + 6_000;
            let grown = programme.ahead(at) - before;
            assert!(!programme.gaps.is_away() && (-100..=400).contains(&grown), "{length}: {grown}");
        }
        assert!(programme.dropped() > 100);
    }
}

#[test]
fn a_network_that_is_slower_from_now_on_is_taken_as_it_is() {
    let tracks = [video(), audio()];
    let mut programme = Programme::new(&tracks).with_clip();
    programme.flow(&tracks, 0, 5_000);
    programme.slates(8_000);
    // All is three seconds late for good.
    let mut back = None;
    for at in (5_000..12_000).step_by(40) {
        for track in &tracks {
            let key = track.kind() == Kind::Audio || at % 1_000 < 40;
            let frame = frame(track.id, at, Access::independent_if(key));
            let verdict = programme.arrive(frame, track.kind(), ms(at + 3_000));
            back = back.or(matches!(verdict, Verdict::Back(_)).then_some(at));
        }
        programme.slates(at + 3_000);
    }
    assert_eq!(back, Some(7_000));
}

#[test]
fn bursts_of_encoders_that_come_back_do_not_add_up() {
    let tracks = [video(), audio()];
    let mut programme = Programme::new(&tracks).with_clip();
    programme.flow(&tracks, 0, 5_000);
    let (before, mut now) = (programme.ahead(5_000), 5_000);
    for _ in 0..10 {
        programme.slates(now + 3_000);
        programme.contribution(&tracks);
        now += 3_000;
        // The first half second comes at once, the rest at its pace.
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
