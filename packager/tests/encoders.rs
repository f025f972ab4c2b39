//! Irregular contributions of real encoders: open and endless GOPs, other frame rates, audio far from the video.

mod common;

use common::check::{Rules, STRICT, check};
use common::source::{Fed, Video, audio, audio_track, mux, package, video_track};
use media::LatencyMode::{self, Low, Reduced, Standard};
use media::{Access, Frame, Metadata, MetadataKind, TimeDelta, Timestamp, WallTime};
use mp4_atom::Decode;
use packager::Error;
use packager::log::{Event, RenditionId};
use packager::playlist::MediaOptions;
use packager::window::Window;

const LOSSY: Rules = Rules { lossless: false, ..STRICT };
const MODES: [LatencyMode; 3] = [Standard, Reduced, Low];

/// One IDR, then an open GOP a second.
fn open_gops(start: i64, length: i64) -> Video {
    let gops = std::iter::once(1_033).chain([1_000; 60]).collect();
    Video { gops, reorder: true, open: true, millis: false, start, length, ..Video::default() }
}

fn both(mode: LatencyMode) -> Fed {
    Fed::new(mode, &[video_track(), audio_track(48_000)])
}

fn playlist_of(fed: &Fed) -> String {
    let mut window = Window::new();
    fed.events.iter().for_each(|event| window.apply(event));
    window
        .media_playlist(RenditionId::VIDEO)
        .map(|list| list.render(&MediaOptions::default()))
        .expect("a segment is there")
}

#[test]
fn open_gops_make_segments_that_are_not_independent() {
    for mode in MODES {
        let mut fed = both(mode);
        fed.push(mux([open_gops(0, 20_000).make(), audio(48_000, 0, 20_000)]));
        let report = check(fed.end(), Rules { lossless: false, ..STRICT });
        let target = if mode == Standard { 4_000 } else { 2_000 };
        let segments = report.of(RenditionId::VIDEO);
        assert!(segments[0].parts[0].independent && segments[1..].iter().all(|s| !s.parts[0].independent));
        let durations = report.durations_ms(RenditionId::VIDEO);
        assert!(
            durations[1..durations.len() - 1].iter().all(|ms| (target - 50..=target + 50).contains(ms)),
            "{durations:?}"
        );
        assert!(!playlist_of(&fed).contains("INDEPENDENT-SEGMENTS"));
    }
}

#[test]
fn a_programme_may_begin_with_an_open_gop() {
    for mode in MODES {
        let mut fed = both(mode);
        // Joined within the stream: no IDR frame will ever come.
        let video: Vec<_> = open_gops(0, 12_000).make().into_iter().skip(5).collect();
        let first_open = video.iter().find(|frame| frame.access == Access::Open).unwrap().clone();
        fed.push(mux([video, audio(48_000, 0, 12_000)]));
        let report = check(fed.end(), LOSSY);
        let first = report.of(RenditionId::VIDEO)[0];
        assert!(first.parts[0].independent && first.samples[0].payload == first_open.payload);
        let start = first.samples[0].pts;
        assert!(report.of(RenditionId::VIDEO).iter().flat_map(|s| &s.samples).all(|s| s.pts >= start));
        let dropped = fed
            .pushed
            .iter()
            .filter(|f| f.dts > first_open.dts && f.pts < first_open.pts && f.track == first_open.track);
        assert_eq!(dropped.count(), 2, "the frames presented before it need frames that never came");
    }
}

#[test]
fn gops_beyond_twenty_seconds_are_rejected_and_the_next_contribution_is_not() {
    for mode in MODES {
        let mut fed = both(mode);
        let video = Video { gops: vec![2_000, 60_000], length: 40_000, ..Video::default() };
        let mut refused = None;
        for frame in mux([video.make(), audio(48_000, 0, 40_000)]) {
            let at = frame.dts;
            if let Err(error) = fed.packager.push(frame, WallTime::default()) {
                assert!(matches!(error, Error::LongGop { secs: 20 }), "{error}");
                refused = Some(at - media::Timestamp::ZERO);
                break;
            }
        }
        let after = refused.expect("a GOP of a minute is refused").as_millis();
        assert!((22_000..23_000).contains(&after), "{after} ms");
        fed.push(Vec::new());
        fed.discontinuity();
        fed.push(mux([
            Video { start: 60_000, length: 9_000, ..Video::default() }.make(),
            audio(48_000, 60_000, 9_000),
        ]));
        check(fed.end(), LOSSY);
    }
}

#[test]
fn twenty_seconds_of_gop_are_carried_whole() {
    for mode in MODES {
        let video = Video { gops: vec![20_000], length: 65_000, frames: 25, ..Video::default() };
        let report = check(&package(mode, Some(&video), Some(48_000)), STRICT);
        assert!(report.of(RenditionId::VIDEO).iter().all(|s| s.parts[0].independent));
    }
}

#[test]
fn the_laws_hold_when_the_frame_rate_changes() {
    for mode in MODES {
        for (from, to) in [(30, 60), (60, 30), (25, 50), (50, 24), (30, 10), (60, 120)] {
            let mut fed = both(mode);
            let first = Video { frames: from, length: 8_000, ..Video::default() }.make();
            let second = Video { frames: to, start: 8_000, length: 12_000, ..Video::default() }.make();
            fed.push(mux([first, second, audio(48_000, 0, 20_000)]));
            check(fed.end(), Rules { full_parts: to > from, ..STRICT });
        }
    }
}

#[test]
fn audio_far_ahead_of_the_video_waits_for_it() {
    for mode in MODES {
        for ahead in [500, 3_000, 7_000] {
            let mut fed = both(mode);
            let mut frames = mux([Video { length: 20_000, ..Video::default() }.make(), audio(48_000, ahead, 20_000)]);
            let comes = |frame: &Frame| {
                if frame.track == common::source::AUDIO { frame.dts - TimeDelta::from_millis(ahead) } else { frame.dts }
            };
            frames.sort_by_key(comes);
            fed.push(frames);
            let report = check(fed.end(), Rules { full_parts: false, ..LOSSY });
            let presented: Vec<_> =
                report.of(RenditionId::VIDEO).iter().flat_map(|s| &s.samples).filter(|s| !s.again).collect();
            let sent: Vec<_> = fed.pushed.iter().filter(|f| f.track == common::source::VIDEO).collect();
            let same =
                presented.iter().zip(&sent).filter(|(presented, sent)| presented.payload == sent.payload).count();
            assert_eq!(same, sent.len(), "{ahead} ms");
            let repeated = presented.len() - sent.len();
            assert!(repeated <= 60, "video ends before the audio does: {repeated}");
        }
    }
}

#[test]
fn metadata_goes_with_the_part_of_its_time() {
    for (mode, with_video) in [(Low, true), (Standard, true), (Low, false)] {
        let ahead = |id: u32| if id.is_multiple_of(4) { 3_200 } else { 500 };
        let tracks = [video_track(), audio_track(48_000)];
        let mut count = 0;
        let mut fed = Fed::new(mode, if with_video { &tracks } else { &tracks[1..] });
        let video = if with_video { Video { reorder: true, ..Video::default() }.make() } else { Vec::new() };
        for frame in mux([video, audio(48_000, 0, 20_000)]) {
            let at = frame.dts;
            fed.push(vec![frame]);
            let (ms, kind) = ((at - Timestamp::ZERO).as_millis(), MetadataKind::Id3);
            if ms % 1_000 == 0 && ms > 0 {
                // Sent half a second ahead, and some of it longer.
                let pts = at + TimeDelta::from_millis(ahead(count));
                count += 1;
                fed.packager.metadata(Metadata { kind, pts, payload: bytes::Bytes::from_static(b"ID3") });
            }
        }
        fed.end();
        let wanted = if with_video { RenditionId::VIDEO } else { RenditionId::AUDIO };
        let mut ids = Vec::new();
        for event in &fed.events {
            let Event::Part(part) = event else { continue };
            let bytes: Vec<u8> = part.data.pieces().concat();
            let mut rest = bytes.as_slice();
            while rest.get(4..8) == Some(b"emsg") {
                let emsg = mp4_atom::Emsg::decode(&mut rest).unwrap();
                let mp4_atom::EmsgTimestamp::Absolute(time) = emsg.presentation_time else { panic!("version 1") };
                let at = media::Timescale::new(emsg.timescale).timestamp(time as i64);
                let slack = TimeDelta::from_millis(100);
                assert!(at >= part.start - slack && at < part.start + part.duration + slack, "{at:?} in {part:?}");
                assert_eq!(part.rendition, wanted);
                ids.push(emsg.id);
            }
        }
        assert!(mode != Low || !with_video || ids.starts_with(&[1, 2, 0, 3]), "each with its time: {ids:?}");
        ids.sort_unstable();
        let all = ids.len() as u32;
        assert!(
            (1..=count).contains(&all) && count - all <= 4 && ids.into_iter().eq(0..all),
            "{all} of {count} events"
        );
    }
}

#[test]
fn video_and_audio_start_together_although_audio_is_sent_first() {
    for mode in MODES {
        let mut fed = both(mode);
        fed.push(mux([Video { start: 3_000, length: 9_000, ..Video::default() }.make(), audio(48_000, 0, 12_000)]));
        let first = fed.events.iter().find_map(|event| match event {
            Event::Init(init) => Some(init.rendition),
            _ => None,
        });
        assert_eq!(first, Some(RenditionId::VIDEO));
        let report = check(fed.end(), LOSSY);
        assert!(report.of(RenditionId::VIDEO)[0].parts[0].msn == 0);
    }
}
