//! Timestamps of all kinds, checked against the arrival of their frames.
#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use std::ops::Range;

use bytes::Bytes;
use media::{Access, Fault, Frame, TimeDelta, Timestamp, Track, TrackId};
use slate::{Intake, Item};

const VIDEO: TrackId = TrackId(1);
const AUDIO: TrackId = TrackId(2);
const OTHER_AUDIO: TrackId = TrackId(3);

fn ms(n: i64) -> TimeDelta {
    TimeDelta::from_millis(n)
}

fn tracks() -> [Track; 3] {
    use media::fixtures::{audio, video};
    [video(VIDEO), audio(AUDIO), audio(OTHER_AUDIO)]
}

/// Capture time, timestamp and arrival time of a frame, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Sent {
    track: TrackId,
    captured: i64,
    dated: i64,
    arrives: i64,
}

/// Returns video at 25 frames per second and AAC, without any fault.
fn sent(time: Range<i64>) -> Vec<Sent> {
    let of = |track, at| Sent { track, captured: at, dated: at, arrives: at + 20 };
    let video = time.clone().step_by(40).map(|at| of(VIDEO, at));
    let audio = (0..).map(|n| time.start + n * 1_024 / 48).take_while(|at| *at < time.end).map(|at| of(AUDIO, at));
    let mut all: Vec<_> = video.chain(audio).collect();
    all.sort_by_key(|sent| sent.arrives);
    all
}

/// Repairs the frames. Returns how far each is from its capture time, and the faults.
fn repaired(sent: &[Sent]) -> (Vec<(Sent, i64)>, Vec<Fault>) {
    let (mut intake, mut out) = (Intake::default(), Vec::new());
    tracks().iter().for_each(|track| intake.track(track));
    let repaired = sent.iter().enumerate().map(|(n, sent)| {
        let at = Timestamp::ZERO + ms(sent.dated);
        let payload = Bytes::from(n.to_be_bytes().to_vec());
        let frame = Frame { track: sent.track, dts: at, pts: at + ms(80), access: Access::Dependent, payload };
        let frame = intake.frame(frame, ms(sent.arrives), &mut out);
        assert_eq!(frame.pts - frame.dts, ms(80));
        (*sent, (frame.dts - Timestamp::ZERO).as_millis() - sent.captured)
    });
    let repaired: Vec<_> = repaired.collect();
    for track in [VIDEO, AUDIO] {
        let at = |(sent, off): &(Sent, i64)| (sent.track == track).then_some(sent.captured + off);
        let times: Vec<_> = repaired.iter().filter_map(at).collect();
        assert!(times.windows(2).all(|two| two[0] < two[1]), "{track:?} {times:?}");
        assert!(times.windows(2).skip(25).all(|two| two[1] - two[0] >= 3), "{track:?} is bunched up: {times:?}");
    }
    let faults =
        out.into_iter().filter_map(|item| if let Item::Fault(report) = item { Some(report.fault) } else { None });
    (repaired, faults.collect())
}

/// Returns the least and the greatest error after `from`.
fn off(repaired: &[(Sent, i64)], from: i64) -> (i64, i64) {
    let off = || repaired.iter().filter(|(sent, _)| sent.captured >= from).map(|(_, off)| *off);
    (off().min().unwrap(), off().max().unwrap())
}

#[test]
fn timestamps_that_are_right_or_merely_late_are_not_changed() {
    let right = sent(0..20_000);
    let mut late = right.clone();
    // The network stalls, then everything arrives at once.
    late.iter_mut().filter(|sent| (5_000..11_000).contains(&sent.captured)).for_each(|sent| sent.arrives = 11_000);
    // An encoder drops video while the network is bad, and continues after that.
    let mut lossy = late.clone();
    lossy.retain(|sent| sent.track == AUDIO || !(6_000..10_000).contains(&sent.captured));
    // Audio is sent a second early, or late.
    let apart = |by: i64| {
        let mut all = right.clone();
        all.iter_mut().filter(|sent| sent.track == AUDIO).for_each(|sent| sent.arrives += by);
        all.sort_by_key(|sent| sent.arrives);
        all
    };
    // All as fast as it can be sent.
    let mut file = right.clone();
    file.iter_mut().for_each(|sent| sent.arrives = 0);
    // A screen share of one frame a second on which something begins to move.
    let mut screen = right.clone();
    screen.retain(|sent| sent.track == AUDIO || sent.captured % 1_000 == 0 || sent.captured > 10_000);
    for all in [right.clone(), late, lossy, apart(-1_000), apart(1_000), file, screen] {
        let (repaired, faults) = repaired(&all);
        assert_eq!((off(&repaired, 0), faults), ((0, 0), vec![]));
    }
}

#[test]
fn tracks_with_timestamps_apart_are_aligned_by_their_arrival() {
    for by in [-3_600_000, -30_000, -3_000, -1_700, 1_700, 3_000, 30_000, 3_600_000] {
        for begins in [0, 4_000] {
            let mut all = sent(0..12_000);
            all.retain(|sent| sent.track == VIDEO || sent.captured >= begins);
            all.iter_mut().filter(|sent| sent.track == AUDIO).for_each(|sent| sent.dated += by);
            let (repaired, faults) = repaired(&all);
            let (least, most) = off(&repaired, 0);
            assert!(most - least <= 60, "{by}: {least} {most}");
            assert_eq!(faults, [Fault::TracksApart], "{by}");
        }
    }
}

#[test]
fn tracks_that_drift_apart_are_aligned_again() {
    let mut all = sent(0..60_000);
    let audio = all.iter_mut().filter(|sent| sent.track == AUDIO);
    audio.for_each(|sent| sent.dated = sent.captured * 90 / 100);
    let (repaired, faults) = repaired(&all);
    let (least, most) = off(&repaired, 0);
    assert!(least > -2_000 && most < 100, "{least} {most}");
    assert!(faults.iter().all(|fault| *fault == Fault::TracksApart) && (2..=4).contains(&faults.len()), "{faults:?}");
}

#[test]
fn a_clock_that_jumps_is_rebased_where_the_frame_arrives() {
    for by in [-3_600_000, -4_000, -400, 1_500, 5_000, 3_600_000] {
        let mut all = sent(0..12_000);
        all.iter_mut().filter(|sent| sent.captured >= 6_000).for_each(|sent| sent.dated += by);
        let (repaired, faults) = repaired(&all);
        let (least, most) = off(&repaired, 0);
        assert!(least > -60 && most < 60, "{by}: {least} {most}");
        assert_eq!(faults, [Fault::TimestampJump; 2], "{by}");
    }
    // With a gap before the jump.
    let mut all = sent(0..20_000);
    all.retain(|sent| !(6_000..12_000).contains(&sent.captured));
    all.iter_mut().filter(|sent| sent.captured >= 12_000).for_each(|sent| sent.dated -= 12_000);
    let (least, most) = off(&repaired(&all).0, 0);
    assert!(least > -60 && most < 60, "{least} {most}");
}

#[test]
fn stalled_timestamps_are_interpolated() {
    type Change = fn(&mut Sent);
    let standing: [(&str, Change); 5] = [
        ("both", |sent| sent.dated = sent.dated.min(2_000)),
        ("within a few milliseconds", |sent| sent.dated = sent.dated.min(2_000 + sent.dated * 7 % 30)),
        ("from the start", |sent| sent.dated = 0),
        ("video", |sent| sent.dated = if sent.track == VIDEO { sent.dated.min(2_000) } else { sent.dated }),
        ("audio", |sent| sent.dated = if sent.track == AUDIO { sent.dated.min(2_000) } else { sent.dated }),
    ];
    for (name, change) in standing {
        let mut all = sent(0..20_000);
        all.iter_mut().for_each(change);
        let (repaired, faults) = repaired(&all);
        let (least, most) = off(&repaired, 0);
        assert!(least > -450 && most < 450, "{name}: {least} {most}");
        assert!(faults.iter().all(|fault| *fault == Fault::StalledTimestamps) && faults.len() > 100, "{name}");
        // Afterwards it continues, in sync and on time.
        let mut all = sent(0..30_000);
        all.iter_mut().filter(|sent| sent.captured < 15_000).for_each(change);
        let (least, most) = off(&self::repaired(&all).0, 20_000);
        assert!(least > -450 && most < 600, "{name}, then right: {least} {most}");
    }
}

/// Fifty fields per second, of which two have the timestamp of their frame.
#[test]
fn video_with_timestamps_in_pairs_keeps_its_frame_timing() {
    let mut all = sent(0..30_000);
    let frames: Vec<_> = all.iter().copied().filter(|sent| sent.track == VIDEO).collect();
    all.extend(frames.iter().map(|sent| Sent { captured: sent.captured + 20, arrives: sent.arrives + 20, ..*sent }));
    all.sort_by_key(|sent| sent.arrives);
    let (repaired, _) = repaired(&all);
    let (least, most) = off(&repaired, 0);
    assert!(least >= -40 && most <= 60, "{least} {most}");
}

#[test]
fn a_repeated_timestamp_before_the_rate_rises_has_no_lasting_effect() {
    let mut all = sent(0..20_000);
    all.retain(|sent| sent.track == AUDIO || sent.captured % 1_000 == 0 || sent.captured >= 10_000);
    all.iter_mut().filter(|sent| sent.track == VIDEO && sent.captured == 10_040).for_each(|sent| sent.dated = 10_000);
    let (repaired, faults) = repaired(&all);
    assert_eq!((off(&repaired, 13_000), faults), ((0, 0), vec![Fault::StalledTimestamps]));
}

#[test]
fn audio_that_drifts_from_the_video_is_aligned_though_it_agrees_with_other_audio() {
    let mut all = sent(0..60_000);
    let audio: Vec<_> = all.iter().copied().filter(|sent| sent.track == AUDIO).collect();
    all.extend(audio.iter().map(|sent| Sent { track: OTHER_AUDIO, ..*sent }));
    all.sort_by_key(|sent| sent.arrives);
    all.iter_mut().filter(|sent| sent.track != VIDEO).for_each(|sent| sent.dated -= sent.captured / 10);
    let (repaired, faults) = repaired(&all);
    let (least, most) = off(&repaired, 0);
    assert!(least > -2_000 && most < 100, "{least} {most}");
    assert!(faults.contains(&Fault::TracksApart));
}

#[test]
fn a_repeated_timestamp_has_no_lasting_effect() {
    let mut all = sent(0..4_000);
    all.iter_mut().filter(|sent| sent.track == VIDEO && sent.captured == 2_000).for_each(|sent| sent.dated = 1_960);
    let (repaired, faults) = repaired(&all);
    assert_eq!((off(&repaired, 2_100), faults), ((0, 0), vec![Fault::StalledTimestamps]));
}
