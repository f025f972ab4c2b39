//! Gaps of a programme in passthrough, filled with a clip.
#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use bytes::Bytes;
use media::codec::{aac, avc};
use media::{Access, CodecConfig, Frame, Kind, LatencyMode, TimeDelta, Timescale, Timestamp, Track, TrackId};
use slate::filler::{LoopedVideo, Silence, SlateClip, gap_timeout};
use slate::{Filler, Item, Splice, TrackEnd};

const VIDEO: TrackId = TrackId(1);
const AUDIO: TrackId = TrackId(2);

fn ms(n: i64) -> TimeDelta {
    TimeDelta::from_millis(n)
}

fn at(n: i64) -> Timestamp {
    Timestamp::ZERO + ms(n)
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
    Track::new(AUDIO, CodecConfig::Aac(aac::Config::parse(Bytes::from_static(&[0x11, 0x90])).unwrap()))
}

fn frame(track: TrackId, dts: i64, access: Access, payload: &'static [u8]) -> Frame {
    Frame { track, dts: at(dts), pts: at(dts), access, payload: Bytes::from_static(payload) }
}

/// A GOP of 25 pictures, dated from 7 s on, and silence.
fn clip() -> SlateClip {
    let access = |n| Access::independent_if(n == 0);
    let frames = (0..25).map(|n| frame(VIDEO, 7_000 + n * 40, access(n), b"slate")).collect();
    let pictures = LoopedVideo::new(video(), frames, ms(1_000));
    assert!(pictures.is_some());
    SlateClip { pictures, sounds: vec![Silence::of(audio()).unwrap()] }
}

/// Ends of both tracks.
fn ends(pictures: i64, shown: i64, sound: i64) -> Vec<TrackEnd> {
    let end = |track, dts, pts| TrackEnd { track, dts: at(dts), pts: at(pts) };
    vec![end(video(), pictures, shown), end(audio(), sound, sound)]
}

/// Runs a filler as its wake-ups say, from half a second after its beginning until the clock is at `until`; what left,
/// and when.
fn run(filler: &mut Filler, since: TimeDelta, until: TimeDelta) -> Vec<(TimeDelta, Item)> {
    let (mut all, mut now) = (Vec::new(), since);
    while filler.wake_at() <= until {
        assert!(filler.wake_at() > now || all.is_empty(), "wakes for nothing");
        now = filler.wake_at().max(since + gap_timeout(LatencyMode::Low));
        let mut out = Vec::new();
        filler.poll(now, &mut out);
        assert!(!out.is_empty(), "woke for nothing");
        all.extend(out.into_iter().map(|item| (now, item)));
    }
    all
}

fn frames(items: &[(TimeDelta, Item)], track: TrackId) -> Vec<(TimeDelta, Frame)> {
    let of_track = items.iter().filter_map(|(left, item)| match item {
        Item::Frame(frame) if frame.track == track => Some((*left, frame.clone())),
        _ => None,
    });
    of_track.collect()
}

#[test]
fn players_of_late_playlists_have_more_in_hand() {
    use LatencyMode::{Low, Reduced, Standard};
    assert!(gap_timeout(Low) < gap_timeout(Reduced) && gap_timeout(Reduced) < gap_timeout(Standard));
}

#[test]
fn the_clip_goes_on_where_the_programme_ended_and_keeps_to_the_clock() {
    let mut filler = Filler::new(clip(), &ends(60_000, 60_000, 60_000), ms(1_000));
    let items = run(&mut filler, ms(1_000), ms(61_000));
    let tracks = [Item::Discontinuity, Item::Track(video()), Item::Track(audio())];
    assert!(items.iter().take(3).map(|(_, item)| item).eq(&tracks));
    let pictures = frames(&items, VIDEO);
    assert_eq!(pictures.len(), 1_501);
    for (n, (left, frame)) in pictures.iter().enumerate() {
        let since = ms(n as i64 * 40);
        assert_eq!((frame.dts, frame.pts), (at(60_000) + since, at(60_000) + since));
        assert_eq!(frame.access.is_independent(), n % 25 == 0);
        assert_eq!(*left, ms(1_000) + since.max(ms(500)));
    }
    let sounds = frames(&items, AUDIO);
    let scale = Timescale::new(48_000);
    assert!(sounds.iter().zip(0..).all(|((_, frame), n)| frame.dts == at(60_000) + scale.delta(n * 1_024)));
    assert!((2_812..2_816).contains(&sounds.len()), "{}", sounds.len());
    let end = filler.end() - at(120_000);
    assert!((ms(21)..=ms(40)).contains(&end), "{end:?}");
}

#[test]
fn each_track_begins_where_its_own_ended() {
    // Pictures are reordered, and the sound is ahead of what is decoded.
    let mut filler = Filler::new(clip(), &ends(60_000, 60_080, 60_100), ms(1_000));
    let items = run(&mut filler, ms(1_000), ms(3_000));
    let (_, picture) = frames(&items, VIDEO).swap_remove(0);
    assert_eq!((picture.dts, picture.pts), (at(60_000), at(60_080)));
    assert_eq!(frames(&items, AUDIO)[0].1.dts, at(60_100));
    assert_eq!(filler.shown(), frames(&items, VIDEO).len());
}

#[test]
fn another_tracks_place_is_taken() {
    let clip = clip();
    let reel = clip.pictures.unwrap().in_place_of(TrackId(7));
    let other = Track { id: TrackId(9), language: media::Language::new(*b"deu"), ..audio() };
    let sounds = vec![clip.sounds[0].in_place_of(&other)];
    let end = |track| TrackEnd { track, dts: at(0), pts: at(0) };
    let ends = [end(Track { id: TrackId(7), ..video() }), end(other.clone())];
    let mut filler = Filler::new(SlateClip { pictures: Some(reel), sounds }, &ends, ms(0));
    let items = run(&mut filler, ms(0), ms(1_000));
    assert!(items.iter().any(|(_, item)| *item == Item::Track(other.clone())));
    assert_eq!((frames(&items, TrackId(7)).len(), frames(&items, TrackId(9)).len()), (26, 47));
}

#[test]
fn what_is_not_polled_is_made_up_for_in_bounded_steps() {
    let mut filler = Filler::new(clip(), &ends(60_000, 60_000, 60_000), ms(0));
    let mut out = Vec::new();
    filler.poll(ms(60_000), &mut out);
    assert_eq!(out.len(), 2_000 + 3);
    while filler.wake_at() <= ms(60_000) {
        filler.poll(ms(60_000), &mut out);
    }
    let pictures = out.iter().filter(|item| matches!(item, Item::Frame(frame) if frame.track == VIDEO));
    assert_eq!(pictures.count(), 1_501);
}

#[test]
fn a_gap_ends_with_a_picture_that_needs_none_before_it() {
    let filler = Filler::new(clip(), &ends(0, 0, 0), ms(0));
    assert!(filler.ends_with(Kind::Video, Access::Independent) && filler.ends_with(Kind::Video, Access::Open));
    assert!(!filler.ends_with(Kind::Video, Access::Dependent) && !filler.ends_with(Kind::Audio, Access::Independent));
    let silent = SlateClip { pictures: None, ..clip() };
    assert!(Filler::new(silent, &ends(0, 0, 0), ms(0)).ends_with(Kind::Audio, Access::Independent));
}

#[test]
fn a_reel_that_cannot_be_repeated_is_none() {
    let reel = |frames: &[(i64, Access)], length| {
        let frames = frames.iter().map(|(dts, access)| frame(VIDEO, *dts, *access, b"x")).collect();
        LoopedVideo::new(video(), frames, ms(length)).is_some()
    };
    let (whole, part) = (Access::Independent, Access::Dependent);
    assert!(reel(&[(0, whole), (40, part)], 80));
    assert!(!reel(&[], 80) && !reel(&[(0, part), (40, part)], 80));
    assert!(!reel(&[(40, whole), (0, part)], 80) && !reel(&[(0, whole), (80, part)], 80));
}

/// Feeds pictures and sound dated from `from` to `to`, with a key picture each second.
fn feed(splice: &mut Splice, from: i64, to: i64) -> Vec<Item> {
    let mut out = Vec::new();
    for n in (from..to).step_by(20) {
        if n % 40 == 0 {
            splice.frame(frame(VIDEO, n, Access::independent_if(n % 1_000 == 0), b"live"), &mut out);
        }
        splice.frame(frame(AUDIO, n, Access::Independent, b"live"), &mut out);
    }
    out
}

/// The programme of a gap of three seconds; `anew` tells whether another contribution ends it, or the same one.
fn programme(anew: bool) -> Vec<Item> {
    let (mut splice, mut all) = (Splice::new(), Vec::new());
    splice.begin();
    splice.track(video(), &mut all);
    splice.track(audio(), &mut all);
    all.extend(feed(&mut splice, 0, 5_000));
    let ends = splice.pause(&mut all);
    let mut filler = Filler::new(clip(), &ends, ms(5_000));
    all.extend(run(&mut filler, ms(5_000), ms(8_000)).into_iter().map(|(_, item)| item));
    if anew {
        let mut untold = Vec::new();
        splice.begin();
        splice.track(video(), &mut untold);
        splice.track(audio(), &mut untold);
    }
    splice.advance(filler.end(), &mut all);
    all.extend(feed(&mut splice, if anew { 777_000 } else { 8_000 }, if anew { 780_000 } else { 11_000 }));
    all
}

#[test]
fn a_contribution_that_is_back_is_laid_behind_the_clip() {
    for anew in [true, false] {
        let all = programme(anew);
        let breaks = all.iter().filter(|item| **item == Item::Discontinuity).count();
        let tracks = all.iter().filter(|item| matches!(item, Item::Track(_))).count();
        assert_eq!((breaks, tracks), (2, 6), "{anew}");
        for track in [VIDEO, AUDIO] {
            let of_track = |item: &Item| match item {
                Item::Frame(frame) if frame.track == track => Some((frame.dts, frame.payload.clone())),
                _ => None,
            };
            let laid: Vec<_> = all.iter().filter_map(of_track).collect();
            let steps = laid.windows(2).map(|two| (two[1].0 - two[0].0).as_millis());
            let most = steps.clone().max();
            assert!(steps.min() > Some(0) && most <= Some(if track == VIDEO { 80 } else { 62 }), "{anew} {most:?}");
            // 8 s by the clock, and no more than a picture between the clip and what is back.
            let (first, last) = (laid.first().unwrap(), laid.last().unwrap());
            assert!(((last.0 - first.0).as_millis() - 11_000).abs() < 100, "{anew} {:?}", last.0 - first.0);
            // Sound comes more often here than its frames are long: some of it is dropped.
            let live = laid.iter().filter(|(_, payload)| payload.as_ref() == b"live").count();
            assert!(if track == VIDEO { live == 200 } else { live > 360 }, "{anew} {live}");
        }
    }
}

#[test]
fn sound_that_was_ahead_of_the_key_frame_leaves_no_hole() {
    let (mut splice, mut all) = (Splice::new(), Vec::new());
    splice.begin();
    splice.track(video(), &mut all);
    splice.track(audio(), &mut all);
    feed(&mut splice, 0, 5_000);
    splice.advance(at(20_000), &mut all);
    all.clear();
    splice.frame(frame(VIDEO, 8_000, Access::Independent, b"live"), &mut all);
    splice.frame(frame(AUDIO, 8_090, Access::Independent, b"live"), &mut all);
    let sounds: Vec<_> = all.iter().filter(|item| matches!(item, Item::Frame(frame) if frame.track == AUDIO)).collect();
    assert_eq!(sounds.len(), 5, "four of silence");
    assert!(matches!(sounds[0], Item::Frame(frame) if (frame.dts - at(20_000)).as_millis() < 10), "{sounds:?}");
}
