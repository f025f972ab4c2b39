//! Irregular programmes: tracks that come late, stop and change, and discontinuities between contributions.

mod common;

use common::check::{Report, Rules, STRICT, check};
use common::source::{AUDIO, Fed, VIDEO, Video, audio, audio_track, mux, other_video_track, video_track};
use media::LatencyMode::{self, Low, Reduced, Standard};
use media::{Fault, Frame, TimeDelta, Timestamp, WallTime};
use packager::log::{Event, RenditionId};

const LOSSY: Rules = Rules { lossless: false, ..STRICT };
const MODES: [LatencyMode; 3] = [Standard, Reduced, Low];

fn both(mode: LatencyMode) -> Fed {
    Fed::new(mode, &[video_track(), audio_track(48_000)])
}

fn at(ms: i64) -> Timestamp {
    Timestamp::ZERO + TimeDelta::from_millis(ms)
}

/// The frames outside a stretch of time.
fn without(frames: Vec<Frame>, from: i64, to: i64) -> Vec<Frame> {
    frames.into_iter().filter(|f| f.dts < at(from) || f.dts >= at(to)).collect()
}

fn last_msn(report: &Report, rendition: RenditionId) -> u64 {
    report.of(rendition).last().map_or(0, |s| s.parts[0].msn)
}

fn gaps(report: &Report, rendition: RenditionId) -> usize {
    report.of(rendition).iter().flat_map(|s| &s.parts).filter(|p| p.frames == 0).count()
}

#[test]
fn a_discontinuity_is_one_in_all_renditions() {
    for mode in MODES {
        let mut fed = both(mode);
        fed.push(mux([Video { length: 7_300, ..Video::default() }.make(), audio(48_000, 0, 7_250)]));
        fed.discontinuity();
        fed.push(mux([Video { start: 9_000, length: 6_000, ..Video::default() }.make(), audio(48_000, 9_010, 6_000)]));
        let report = check(fed.end(), STRICT);
        for rendition in [RenditionId::VIDEO, RenditionId::AUDIO] {
            let discontinuous: Vec<_> =
                report.of(rendition).iter().filter(|s| s.parts[0].discontinuity).map(|s| s.parts[0].msn).collect();
            assert_eq!(discontinuous.len(), 1, "{rendition:?}");
        }
        assert_eq!(last_msn(&report, RenditionId::VIDEO), last_msn(&report, RenditionId::AUDIO));
        let inits = fed.events.iter().filter(|e| matches!(e, Event::Init(_))).count();
        assert_eq!(inits, 2, "the same tracks need no new init sections");
    }
}

#[test]
fn wall_time_is_anchored_again_after_a_discontinuity() {
    let mut fed = both(Low);
    fed.push(mux([Video { length: 5_000, ..Video::default() }.make(), audio(48_000, 0, 5_000)]));
    fed.discontinuity();
    fed.push(mux([Video { start: 60_000, length: 3_000, ..Video::default() }.make(), audio(48_000, 60_000, 3_000)]));
    let report = check(fed.end(), STRICT);
    let walls: Vec<_> =
        report.of(RenditionId::VIDEO).iter().map(|s| s.parts[0].wall.unix_millis() - common::source::EPOCH).collect();
    assert_eq!(walls, [0, 1_000, 3_000, 60_000, 62_000]);
}

/// Starts and dates of the video segments, if the frame at `dts` arrives at `arrives(dts)`, in milliseconds.
fn dated(mode: LatencyMode, lasts: i64, arrives: impl Fn(i64) -> i64) -> Vec<(i64, i64)> {
    let mut fed = both(mode);
    for frame in mux([Video { length: lasts, ..Video::default() }.make(), audio(48_000, 0, lasts)]) {
        let arrival = arrives((frame.dts - Timestamp::ZERO).as_millis());
        fed.pushed.push(frame.clone());
        fed.packager.push(frame, WallTime::from_unix_millis(common::source::EPOCH + arrival)).expect("it fits");
    }
    let report = check(fed.end(), STRICT);
    let first = |s: &common::check::ReadSegment| s.parts[0].wall.unix_millis() - common::source::EPOCH;
    let starts = |s: &common::check::ReadSegment| (s.parts[0].start - Timestamp::ZERO).as_millis();
    let of = |rendition| -> Vec<_> { report.of(rendition).iter().map(|s| (starts(s), first(s))).collect() };
    let (video, audio) = (of(RenditionId::VIDEO), of(RenditionId::AUDIO));
    assert!(video.windows(2).all(|two| two[0].1 < two[1].1), "{video:?}");
    let apart = video.iter().zip(&audio).map(|(v, a)| ((v.1 - v.0) - (a.1 - a.0)).abs());
    assert!(apart.max() < Some(30), "{video:?} {audio:?}");
    video
}

#[test]
fn wall_time_is_that_of_the_frames_without_delay() {
    for mode in MODES {
        // Half a second arrives at once.
        let burst = dated(mode, 20_000, |dts| (dts - 500).max(0));
        assert!(burst.iter().all(|(at, wall)| (wall - at + burst[0].0 + 500).abs() < 50), "{burst:?}");
        // The clock of the encoder runs fast by one in a hundred, or slow.
        let fast = dated(mode, 60_000, |dts| dts * 99 / 100);
        let (at, wall) = fast[fast.len() - 1];
        assert!((-200..=50).contains(&(wall - (at - fast[0].0) * 99 / 100)), "{fast:?}");
        let slow = dated(mode, 60_000, |dts| dts * 1_002 / 1_000);
        let (at, wall) = slow[slow.len() - 1];
        assert!((-200..=50).contains(&(wall - (at - slow[0].0) * 1_002 / 1_000)), "{slow:?}");
        // A network that stalls for five seconds changes nothing.
        let late = dated(mode, 30_000, |dts| if (8_000..13_000).contains(&dts) { 13_000 } else { dts });
        assert!(late.iter().all(|(at, wall)| (wall - at + late[0].0).abs() < 10), "{late:?}");
        // Much faster than real time.
        let file = dated(mode, 30_000, |dts| dts / 4);
        assert!(file.iter().skip(2).all(|(at, wall)| wall - (at - file[0].0) / 4 < 50), "{file:?}");
    }
}

#[test]
fn wall_time_never_goes_back() {
    let mut fed = both(Low);
    fed.push(mux([Video { length: 5_000, ..Video::default() }.make(), audio(48_000, 0, 5_000)]));
    fed.discontinuity();
    // The first contribution was faster than the wall clock.
    let arrival = WallTime::from_unix_millis(common::source::EPOCH + 2_500);
    for frame in mux([Video { start: 5_000, length: 3_000, ..Video::default() }.make(), audio(48_000, 5_000, 3_000)]) {
        fed.pushed.push(frame.clone());
        fed.packager.push(frame, arrival).unwrap();
    }
    let report = check(fed.end(), STRICT);
    let walls: Vec<_> =
        report.of(RenditionId::VIDEO).iter().map(|s| s.parts[0].wall.unix_millis() - common::source::EPOCH).collect();
    // The date is not in the future either: three seconds of media come at once.
    assert_eq!(walls, [0, 1_000, 3_000, 3_010, 3_020]);
}

#[test]
fn a_changed_track_begins_a_segment_with_its_own_init() {
    for mode in MODES {
        let mut fed = both(mode);
        fed.push(mux([Video { length: 6_500, ..Video::default() }.make(), audio(48_000, 0, 6_500)]));
        fed.add_track(other_video_track());
        let rest = Video { start: 6_500, length: 6_000, ..Video::default() }.make();
        fed.push(mux([rest, audio(48_000, 6_528, 6_000)]));
        let report = check(fed.end(), LOSSY);
        let second = report.of(RenditionId::VIDEO).into_iter().find(|s| s.parts[0].init == 1).unwrap();
        assert!(second.parts[0].discontinuity && second.parts[0].independent);
    }
}

#[test]
fn changed_audio_begins_a_segment_too() {
    for mode in MODES {
        let mut fed = both(mode);
        fed.push(mux([Video { length: 6_500, ..Video::default() }.make(), audio(48_000, 0, 6_500)]));
        fed.add_track(audio_track(44_100));
        let rest = Video { start: 6_500, length: 6_000, ..Video::default() }.make();
        fed.push(mux([rest, audio(44_100, 6_500, 6_000)]));
        let report = check(fed.end(), Rules { aligned: false, ..LOSSY });
        assert!(report.of(RenditionId::AUDIO).iter().any(|s| s.parts[0].init == 1 && s.parts[0].discontinuity));
        assert_eq!(last_msn(&report, RenditionId::VIDEO), last_msn(&report, RenditionId::AUDIO));
    }
}

#[test]
fn audio_that_comes_late_begins_with_a_segment() {
    for mode in MODES {
        for late in [300, 3_400, 9_700] {
            let mut fed = both(mode);
            fed.push(mux([Video::default().make(), audio(48_000, late, 20_000 - late)]));
            let report = check(fed.end(), LOSSY);
            let first = report.of(RenditionId::AUDIO)[0].parts[0].msn;
            assert_eq!(first == 0, late == 300);
            assert_eq!(gaps(&report, RenditionId::AUDIO), 0);
        }
    }
}

#[test]
fn audio_that_stops_leaves_gaps_and_comes_back() {
    for mode in MODES {
        let mut fed = both(mode);
        let video = Video { length: 40_000, ..Video::default() };
        fed.push(mux([video.make(), without(audio(48_000, 0, 40_000), 8_300, 25_000)]));
        let report = check(fed.end(), LOSSY);
        assert!(gaps(&report, RenditionId::AUDIO) > 0);
        assert_eq!(last_msn(&report, RenditionId::VIDEO), last_msn(&report, RenditionId::AUDIO));
    }
}

#[test]
fn video_that_stops_comes_back() {
    for mode in MODES {
        for back in [8_900, 10_500, 25_000, 50_000] {
            let mut fed = both(mode);
            let video = Video { length: 60_000, ..Video::default() };
            fed.push(mux([without(video.make(), 8_300, back), audio(48_000, 0, 60_000)]));
            let report = check(fed.end(), Rules { full_parts: false, aligned: false, ..LOSSY });
            let presented = report.of(RenditionId::VIDEO).into_iter().flat_map(|s| &s.samples);
            let presented: std::collections::HashSet<_> = presented.map(|s| &s.payload).collect();
            let sent = fed.pushed.iter().filter(|f| f.track == VIDEO).count();
            assert!(sent - presented.len() <= 30, "{} of {sent} after {back}", presented.len());
            assert_eq!(last_msn(&report, RenditionId::VIDEO), last_msn(&report, RenditionId::AUDIO));
        }
    }
}

#[test]
fn video_that_stops_does_not_stop_audio() {
    let mut fed = both(Low);
    let video = Video { length: 5_000, ..Video::default() }.make();
    fed.push(mux([video, audio(48_000, 0, 30_000)]));
    let newest = fed.events.iter().rev().find_map(|e| match e {
        Event::Part(part) if part.rendition == RenditionId::AUDIO => Some(part.start + part.duration),
        _ => None,
    });
    assert!(newest.unwrap() > at(1_000 + 27_700), "audio is at {newest:?}");
    check(fed.end(), Rules { full_parts: false, ..LOSSY });
}

#[test]
fn video_alone_may_pause() {
    for mode in MODES {
        let mut fed = Fed::new(mode, &[video_track()]);
        fed.push(without(Video { length: 40_000, ..Video::default() }.make(), 9_200, 19_000));
        check(fed.end(), Rules { full_parts: false, ..STRICT });
    }
}

#[test]
fn a_jump_of_an_hour_is_a_discontinuity() {
    let mut fed = both(Low);
    fed.push(mux([Video { length: 5_000, ..Video::default() }.make(), audio(48_000, 0, 5_000)]));
    let later = Video { start: 3_600_000, length: 5_000, ..Video::default() }.make();
    fed.push(mux([later, audio(48_000, 3_600_000, 5_000)]));
    let report = check(fed.end(), STRICT);
    assert_eq!(report.of(RenditionId::VIDEO).iter().filter(|s| s.parts[0].discontinuity).count(), 1);
}

#[test]
fn announced_video_that_never_comes_delays_audio_by_a_few_seconds() {
    for mode in MODES {
        let mut fed = both(mode);
        fed.push(audio(48_000, 0, 5_100));
        assert!(fed.events.iter().any(|e| matches!(e, Event::Segment(_))), "audio begins alone");
        fed.push(audio(48_000, 5_099, 10_000));
        check(fed.end(), LOSSY);
    }
}

#[test]
fn video_that_appears_in_an_audio_programme_joins_at_an_idr() {
    for mode in MODES {
        let mut fed = Fed::new(mode, &[audio_track(48_000)]);
        fed.push(audio(48_000, 0, 8_192));
        fed.add_track(video_track());
        let video = Video { start: 8_100, length: 10_000, ..Video::default() }.make();
        fed.push(mux([video, audio(48_000, 8_192, 10_000)]));
        let report = check(fed.end(), Rules { full_parts: false, ..LOSSY });
        let first = report.of(RenditionId::VIDEO)[0];
        assert!(first.parts[0].discontinuity && first.parts[0].independent && first.parts[0].msn > 0);
    }
}

#[test]
fn video_may_be_absent_from_one_contribution_and_return() {
    for mode in MODES {
        let mut fed = both(mode);
        fed.push(mux([Video { length: 6_000, ..Video::default() }.make(), audio(48_000, 0, 6_000)])).discontinuity();
        fed.push(audio(48_000, 10_000, 9_000)).discontinuity();
        fed.push(mux([
            Video { start: 20_000, length: 6_000, ..Video::default() }.make(),
            audio(48_000, 20_000, 6_000),
        ]));
        let report = check(fed.end(), LOSSY);
        assert!(gaps(&report, RenditionId::VIDEO) > 0);
        assert_eq!(last_msn(&report, RenditionId::VIDEO), last_msn(&report, RenditionId::AUDIO));
    }
}

#[test]
fn frames_before_the_first_idr_are_dropped() {
    let mut fed = both(Low);
    let video: Vec<_> = Video { gops: vec![2_000], ..Video::default() }.make().into_iter().skip(20).collect();
    fed.push(mux([video, audio(48_000, 0, 20_000)]));
    let report = check(fed.end(), LOSSY);
    let first = report.of(RenditionId::AUDIO)[0].parts[0].start;
    assert!(first >= at(2_970) && first <= at(3_000), "{first:?}");
}

#[test]
fn a_timeline_may_begin_below_zero() {
    let mut fed = both(Low);
    fed.push(mux([Video { start: -66, length: 5_000, ..Video::default() }.make(), audio(48_000, 0, 5_000)]));
    check(fed.end(), STRICT);
}

#[test]
fn a_broadcast_without_frames_has_no_media() {
    let mut fed = both(Low);
    fed.discontinuity().end().end();
    assert!(matches!(fed.events.as_slice(), [Event::End]));
    let stray = Frame { track: media::TrackId(9), ..audio(48_000, 0, 100).remove(0) };
    assert_eq!(fed.push(vec![stray]).events.len(), 1);
    assert_eq!(AUDIO.0, 2);
}

#[test]
fn a_broadcast_that_ends_in_its_first_gop_is_whole() {
    for mode in MODES {
        let mut fed = both(mode);
        fed.push(mux([Video { length: 700, ..Video::default() }.make(), audio(48_000, 0, 700)]));
        let report = check(fed.end(), STRICT);
        assert_eq!(report.of(RenditionId::VIDEO).len(), 1);
        assert_eq!(report.of(RenditionId::AUDIO).len(), 1);
    }
}

/// SRT joined in the middle of a long GOP: the frames before the key frame show only that video is coming.
#[test]
fn audio_waits_for_video_whose_codec_header_has_not_come() {
    for mode in MODES {
        let mut fed = Fed::new(mode, &[audio_track(48_000)]);
        for frame in audio(48_000, 0, 15_000) {
            fed.packager.expect_video();
            fed.push(vec![frame]);
        }
        assert!(fed.events.is_empty(), "no viewer sees a programme without video");
        fed.add_track(video_track());
        fed.push(mux([
            Video { start: 15_000, length: 5_000, ..Video::default() }.make(),
            audio(48_000, 15_000, 5_000),
        ]));
        let report = check(fed.end(), LOSSY);
        assert_eq!(report.renditions(), [RenditionId::VIDEO, RenditionId::AUDIO]);
        let start = |rendition| report.of(rendition)[0].samples[0].pts;
        assert_eq!(report.of(RenditionId::VIDEO)[0].parts[0].msn, report.of(RenditionId::AUDIO)[0].parts[0].msn);
        assert!(start(RenditionId::AUDIO) > 0, "audio begins with the key frame");
    }
}

#[test]
fn audio_does_not_wait_for_video_forever() {
    let mut fed = Fed::new(Low, &[audio_track(48_000)]);
    for frame in audio(48_000, 0, 26_000) {
        fed.packager.expect_video();
        fed.push(vec![frame]);
    }
    assert_eq!(check(fed.end(), LOSSY).renditions(), [RenditionId::AUDIO]);
}

#[test]
fn missing_and_duplicate_media_are_reported() {
    let faults = |video: Vec<Frame>, audio_frames: Vec<Frame>| {
        let mut fed = both(Low);
        fed.push(mux([video, audio_frames])).end();
        let mut faults: Vec<_> = std::iter::from_fn(|| fed.packager.poll_fault()).map(|report| report.fault).collect();
        faults.dedup();
        faults
    };
    let (video, audio_frames) = (Video::default().make(), audio(48_000, 0, 20_000));
    assert_eq!(faults(video.clone(), audio_frames.clone()), []);
    assert_eq!(faults(video.clone(), without(audio_frames.clone(), 8_000, 9_000)), [Fault::MissingMedia]);
    let lost = faults(without(video.clone(), 8_300, 14_500), audio_frames.clone());
    assert_eq!(
        lost[..2],
        [Fault::MissingMedia, Fault::FramesBeforeKeyFrame],
        "dependent frames after a gap are of no use"
    );
    let twice = [audio_frames, audio(48_000, 5_000, 500)].concat();
    assert_eq!(faults(video, mux([twice])), [Fault::BacklogDropped]);
}
