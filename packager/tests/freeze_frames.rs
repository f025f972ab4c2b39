//! Video stops while audio goes on: the newest IDR frame is repeated, so that no player has a gap in its buffer.

mod common;

use common::check::{Report, Rules, STRICT, check};
use common::source::{Fed, VIDEO, Video, audio, audio_track, mux, other_video_track, video_track};
use media::LatencyMode::{self, Low, Reduced, Standard};
use media::{Access, Frame, TimeDelta, Timestamp};
use packager::log::{Event, RenditionId};

const LOSSY: Rules = Rules { lossless: false, ..STRICT };
const MODES: [LatencyMode; 3] = [Standard, Reduced, Low];
/// Times at which video stops and returns, in milliseconds: in the middle of GOPs and at their beginnings.
const ABSENCES: [(i64, i64); 4] = [(8_300, 12_300), (8_300, 13_000), (9_000, 10_700), (8_000, 30_000)];

fn both(mode: LatencyMode) -> Fed {
    Fed::new(mode, &[video_track(), audio_track(48_000)])
}

fn at(ms: i64) -> Timestamp {
    Timestamp::ZERO + TimeDelta::from_millis(ms)
}

fn without(frames: Vec<Frame>, (from, to): (i64, i64)) -> Vec<Frame> {
    frames.into_iter().filter(|f| f.dts < at(from) || f.dts >= at(to)).collect()
}

fn clip(reorder: bool) -> Video {
    Video { length: 40_000, reorder, ..Video::default() }
}

fn gaps(report: &Report) -> usize {
    report.of(RenditionId::VIDEO).iter().flat_map(|s| &s.parts).filter(|p| p.frames == 0).count()
}

/// The payloads of the published video, one after another, without extended last frames.
fn presented(report: &Report) -> Vec<Vec<u8>> {
    let samples = report.of(RenditionId::VIDEO).into_iter().flat_map(|s| &s.samples);
    samples.filter(|s| !s.again).map(|s| s.payload.clone()).collect()
}

#[test]
fn the_key_frame_is_repeated_until_the_next_one_comes() {
    for mode in MODES {
        for reorder in [false, true] {
            for gap in ABSENCES {
                let mut fed = both(mode);
                let video = without(clip(reorder).make(), gap);
                fed.push(mux([video.clone(), audio(48_000, 0, 40_000)]));
                let report = check(fed.end(), Rules { full_parts: false, aligned: false, ..LOSSY });
                assert_eq!(gaps(&report), 0, "{mode:?} {gap:?}");
                let key = |f: &&Frame| f.access == Access::Independent;
                let repeated = video.iter().filter(|f| f.dts < at(gap.0)).rfind(key).unwrap();
                let back = video.iter().filter(|f| f.dts >= at(gap.0)).find(key).unwrap();
                let mut sent = video.iter().filter(|f| f.dts < at(gap.0) || f.dts >= back.dts).peekable();
                let mut repeats = 0;
                for payload in presented(&report) {
                    // Without parts a frame can last longer than this, and the next one needs no key frame; neither does it
                    // where the last frame is extended.
                    let lasts = if mode == Low && !reorder {
                        3_000
                    } else if mode == Low {
                        0
                    } else {
                        10_000
                    };
                    if gap.1 - gap.0 < lasts {
                        break;
                    }
                    if sent.next_if(|next| next.payload == payload).is_none() {
                        assert_eq!(
                            payload, repeated.payload,
                            "{mode:?} {gap:?}: neither the next frame nor the repeated one"
                        );
                        repeats += 1;
                    }
                }
                let stays = mode == Low && (reorder || gap.1 - gap.0 > 3_000);
                assert!(!stays || sent.next().is_none() && repeats > 0, "{mode:?} {gap:?}: {repeats}");
            }
        }
    }
}

/// The end of each rendition, on the timeline of the frames that are sent.
fn edges(fed: &Fed) -> [Timestamp; 2] {
    [RenditionId::VIDEO, RenditionId::AUDIO].map(|rendition| {
        let parts = fed.events.iter().rev().filter_map(|event| match event {
            Event::Part(part) if part.rendition == rendition => Some(part.start + part.duration),
            _ => None,
        });
        parts.into_iter().next().expect("a part") - TimeDelta::from_secs(1)
    })
}

#[test]
fn players_of_parts_do_not_run_dry() {
    let mut fed = both(Low);
    let frames = mux([without(clip(false).make(), (8_300, 20_000)), audio(48_000, 0, 40_000)]);
    for frame in frames {
        let now = frame.dts;
        fed.push(vec![frame]);
        if now > at(4_000) {
            // An open part, and the wait for video.
            let least = now - TimeDelta::from_millis(760);
            assert!(edges(&fed).iter().all(|edge| *edge >= least), "{:?} at {now:?}", edges(&fed));
        }
    }
    let report = check(fed.end(), Rules { full_parts: false, aligned: false, ..LOSSY });
    let stands = |part: &&std::sync::Arc<packager::log::Part>| {
        part.start > at(9_600) && part.start + part.duration < at(20_900) && part.duration < TimeDelta::from_millis(170)
    };
    let scraps =
        report.of(RenditionId::VIDEO).iter().flat_map(|s| s.parts.split_last().unwrap().1).filter(stands).count();
    assert_eq!(scraps, 0, "parts in the middle of a segment are full");
}

/// A second of video, then its audio: all of it is published, and no frame is repeated.
#[test]
fn video_that_comes_in_bunches_is_awaited() {
    for bunch in [300, 500, 700, 900] {
        let mut fed = both(Low);
        let mut frames = mux([clip(false).make(), audio(48_000, 0, 40_000)]);
        frames.sort_by_key(|f| ((f.dts - Timestamp::ZERO).as_millis() / bunch, f.track));
        fed.push(frames);
        let report = check(fed.end(), Rules { full_parts: false, ..LOSSY });
        assert_eq!(presented(&report).len(), fed.pushed.iter().filter(|f| f.track == VIDEO).count(), "{bunch} ms");
    }
}

#[test]
fn slow_video_is_no_freeze_frame() {
    for frames in [1, 2, 5] {
        let mut fed = both(Low);
        let video = Video { frames, gops: vec![2_000], length: 30_000, ..Video::default() };
        fed.push(mux([video.make(), audio(48_000, 0, 30_000)]));
        let report = check(fed.end(), Rules { full_parts: false, aligned: false, ..LOSSY });
        assert_eq!(
            presented(&report).len(),
            fed.pushed.iter().filter(|f| f.track == VIDEO).count(),
            "{frames} a second"
        );
    }
}

#[test]
fn open_gops_have_no_frame_to_repeat() {
    let mut fed = both(Low);
    let video = Video { open: true, ..clip(true) };
    fed.push(mux([without(video.make(), (8_300, 14_000)), audio(48_000, 0, 40_000)]));
    let report = check(fed.end(), Rules { full_parts: false, aligned: false, ..LOSSY });
    assert!(gaps(&report) > 0);
}

#[test]
fn video_with_another_header_ends_the_freeze_frame() {
    for mode in MODES {
        let mut fed = both(mode);
        let video = clip(false).make();
        let audio_frames = audio(48_000, 0, 40_000);
        let (early, late): (Vec<_>, Vec<_>) =
            mux([without(video, (8_300, 14_500)), audio_frames]).into_iter().partition(|f| f.dts < at(14_400));
        fed.push(early);
        fed.add_track(other_video_track());
        fed.push(late);
        let report = check(fed.end(), Rules { full_parts: false, aligned: false, ..LOSSY });
        assert_eq!(gaps(&report), 0, "{mode:?}");
        let second = report.of(RenditionId::VIDEO).into_iter().find(|s| s.parts[0].init == 1).unwrap();
        assert!(second.parts[0].discontinuity && second.parts[0].independent);
    }
}

#[test]
fn the_key_frame_is_repeated_to_the_end_of_the_audio() {
    for mode in MODES {
        let mut fed = both(mode);
        fed.push(mux([without(clip(false).make(), (8_300, 40_000)), audio(48_000, 0, 20_000)]));
        let report = check(fed.end(), Rules { full_parts: false, ..LOSSY });
        let [video, audio] = [RenditionId::VIDEO, RenditionId::AUDIO]
            .map(|rendition| report.of(rendition).iter().fold(TimeDelta::ZERO, |sum, s| sum + s.duration));
        assert!((video - audio).abs() < TimeDelta::from_millis(50), "{mode:?}: {video:?}, {audio:?}");
    }
}
