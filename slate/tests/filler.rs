//! Gaps of a programme in passthrough, filled with a clip.
#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use bytes::Bytes;
use media::{Access, Frame, Kind, LatencyMode, TimeDelta, Timescale, Timestamp, Track, TrackId};
use slate::filler::{LoopedVideo, SilentAudio, SlateClip, gap_timeout};
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
    media::fixtures::video(VIDEO)
}

fn audio() -> Track {
    media::fixtures::audio(AUDIO)
}

fn frame(track: TrackId, dts: i64, access: Access, payload: &'static [u8]) -> Frame {
    Frame { track, dts: at(dts), pts: at(dts), access, payload: Bytes::from_static(payload) }
}

/// Returns a GOP of 25 frames with timestamps from 7 s on, and silence.
fn clip() -> SlateClip {
    let access = |n| Access::independent_if(n == 0);
    let frames = (0..25).map(|n| frame(VIDEO, 7_000 + n * 40, access(n), b"slate")).collect();
    let video = LoopedVideo::new(video(), frames, ms(1_000));
    assert!(video.is_some());
    SlateClip { video, audio: vec![SilentAudio::of(audio()).unwrap()] }
}

/// Returns the ends of both tracks.
fn ends(video_dts: i64, video_pts: i64, audio_end: i64) -> Vec<TrackEnd> {
    let end = |track, dts, pts| TrackEnd { track, dts: at(dts), pts: at(pts) };
    vec![end(video(), video_dts, video_pts), end(audio(), audio_end, audio_end)]
}

/// Polls a filler at its wake-ups, from half a second after its start until the clock is at `until`. Returns its output with
/// times.
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
fn players_of_higher_latency_have_more_media_buffered() {
    use LatencyMode::{Low, Reduced, Standard};
    assert!(gap_timeout(Low) < gap_timeout(Reduced) && gap_timeout(Reduced) < gap_timeout(Standard));
}

#[test]
fn the_clip_continues_where_the_programme_ended_and_follows_the_clock() {
    let mut filler = Filler::new(clip(), &ends(60_000, 60_000, 60_000), ms(1_000));
    let items = run(&mut filler, ms(1_000), ms(61_000));
    let tracks = [Item::Discontinuity, Item::Track(video()), Item::Track(audio())];
    assert!(items.iter().take(3).map(|(_, item)| item).eq(&tracks));
    let video_frames = frames(&items, VIDEO);
    assert_eq!(video_frames.len(), 1_501);
    for (n, (left, frame)) in video_frames.iter().enumerate() {
        let since = ms(n as i64 * 40);
        assert_eq!((frame.dts, frame.pts), (at(60_000) + since, at(60_000) + since));
        assert_eq!(frame.access.is_independent(), n % 25 == 0);
        assert_eq!(*left, ms(1_000) + since.max(ms(500)));
    }
    let audio_frames = frames(&items, AUDIO);
    let scale = Timescale::new(48_000);
    assert!(audio_frames.iter().zip(0..).all(|((_, frame), n)| frame.dts == at(60_000) + scale.delta(n * 1_024)));
    assert!((2_812..2_816).contains(&audio_frames.len()), "{}", audio_frames.len());
    let end = filler.end() - at(120_000);
    assert!((ms(21)..=ms(40)).contains(&end), "{end:?}");
}

#[test]
fn each_track_begins_where_its_own_ended() {
    // The video is reordered, and the audio is ahead of its decode time.
    let mut filler = Filler::new(clip(), &ends(60_000, 60_080, 60_100), ms(1_000));
    let items = run(&mut filler, ms(1_000), ms(3_000));
    let (_, first) = frames(&items, VIDEO).swap_remove(0);
    assert_eq!((first.dts, first.pts), (at(60_000), at(60_080)));
    assert_eq!(frames(&items, AUDIO)[0].1.dts, at(60_100));
    assert_eq!(filler.video_frames(), frames(&items, VIDEO).len());
}

#[test]
fn a_clip_can_replace_other_tracks() {
    let clip = clip();
    let looped = clip.video.unwrap().in_place_of(TrackId(7));
    let other = Track { id: TrackId(9), language: media::Language::new(*b"deu"), ..audio() };
    let audio = vec![clip.audio[0].in_place_of(&other)];
    let end = |track| TrackEnd { track, dts: at(0), pts: at(0) };
    let ends = [end(Track { id: TrackId(7), ..video() }), end(other.clone())];
    let mut filler = Filler::new(SlateClip { video: Some(looped), audio }, &ends, ms(0));
    let items = run(&mut filler, ms(0), ms(1_000));
    assert!(items.iter().any(|(_, item)| *item == Item::Track(other.clone())));
    assert_eq!((frames(&items, TrackId(7)).len(), frames(&items, TrackId(9)).len()), (26, 47));
}

#[test]
fn a_late_poll_catches_up_in_bounded_steps() {
    let mut filler = Filler::new(clip(), &ends(60_000, 60_000, 60_000), ms(0));
    let mut out = Vec::new();
    filler.poll(ms(60_000), &mut out);
    assert_eq!(out.len(), 2_000 + 3);
    while filler.wake_at() <= ms(60_000) {
        filler.poll(ms(60_000), &mut out);
    }
    let video_frames = out.iter().filter(|item| matches!(item, Item::Frame(frame) if frame.track == VIDEO));
    assert_eq!(video_frames.count(), 1_501);
}

#[test]
fn a_gap_ends_with_a_frame_that_depends_on_no_earlier_one() {
    let filler = Filler::new(clip(), &ends(0, 0, 0), ms(0));
    assert!(filler.ends_with(Kind::Video, Access::Independent) && filler.ends_with(Kind::Video, Access::Open));
    assert!(!filler.ends_with(Kind::Video, Access::Dependent) && !filler.ends_with(Kind::Audio, Access::Independent));
    let silent = SlateClip { video: None, ..clip() };
    assert!(Filler::new(silent, &ends(0, 0, 0), ms(0)).ends_with(Kind::Audio, Access::Independent));
}

#[test]
fn video_that_cannot_be_looped_is_refused() {
    let looped = |frames: &[(i64, Access)], length| {
        let frames = frames.iter().map(|(dts, access)| frame(VIDEO, *dts, *access, b"x")).collect();
        LoopedVideo::new(video(), frames, ms(length)).is_some()
    };
    let (whole, part) = (Access::Independent, Access::Dependent);
    assert!(looped(&[(0, whole), (40, part)], 80));
    assert!(!looped(&[], 80) && !looped(&[(0, part), (40, part)], 80));
    assert!(!looped(&[(40, whole), (0, part)], 80) && !looped(&[(0, whole), (80, part)], 80));
}

/// Feeds video and audio with timestamps from `from` to `to`, with a key frame each second.
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

/// Returns a programme with a gap of three seconds, ended by `another` contribution or by the same one.
fn programme(another: bool) -> Vec<Item> {
    let (mut splice, mut all) = (Splice::new(), Vec::new());
    splice.begin();
    splice.track(video(), &mut all);
    splice.track(audio(), &mut all);
    all.extend(feed(&mut splice, 0, 5_000));
    let ends = splice.pause(&mut all);
    let mut filler = Filler::new(clip(), &ends, ms(5_000));
    all.extend(run(&mut filler, ms(5_000), ms(8_000)).into_iter().map(|(_, item)| item));
    if another {
        let mut discarded = Vec::new();
        splice.begin();
        splice.track(video(), &mut discarded);
        splice.track(audio(), &mut discarded);
    }
    splice.advance(filler.end(), &mut all);
    all.extend(feed(&mut splice, if another { 777_000 } else { 8_000 }, if another { 780_000 } else { 11_000 }));
    all
}

#[test]
fn a_contribution_that_returns_is_placed_after_the_clip() {
    for another in [true, false] {
        let all = programme(another);
        let discontinuities = all.iter().filter(|item| **item == Item::Discontinuity).count();
        let tracks = all.iter().filter(|item| matches!(item, Item::Track(_))).count();
        assert_eq!((discontinuities, tracks), (2, 6), "{another}");
        for track in [VIDEO, AUDIO] {
            let of_track = |item: &Item| match item {
                Item::Frame(frame) if frame.track == track => Some((frame.dts, frame.payload.clone())),
                _ => None,
            };
            let frames: Vec<_> = all.iter().filter_map(of_track).collect();
            let steps = frames.windows(2).map(|two| (two[1].0 - two[0].0).as_millis());
            let most = steps.clone().max();
            assert!(steps.min() > Some(0) && most <= Some(if track == VIDEO { 80 } else { 62 }), "{another} {most:?}");
            // 8 s by the clock, and no more than a frame between the clip and the contribution that returns.
            let (first, last) = (frames.first().unwrap(), frames.last().unwrap());
            assert!(((last.0 - first.0).as_millis() - 11_000).abs() < 100, "{another} {:?}", last.0 - first.0);
            // Audio frames come more often here than their length: some are dropped.
            let live = frames.iter().filter(|(_, payload)| payload.as_ref() == b"live").count();
            assert!(if track == VIDEO { live == 200 } else { live > 360 }, "{another} {live}");
        }
    }
}

#[test]
fn audio_that_was_ahead_of_the_key_frame_leaves_no_gap() {
    let (mut splice, mut all) = (Splice::new(), Vec::new());
    splice.begin();
    splice.track(video(), &mut all);
    splice.track(audio(), &mut all);
    feed(&mut splice, 0, 5_000);
    splice.advance(at(20_000), &mut all);
    all.clear();
    splice.frame(frame(VIDEO, 8_000, Access::Independent, b"live"), &mut all);
    splice.frame(frame(AUDIO, 8_090, Access::Independent, b"live"), &mut all);
    let audio_frames: Vec<_> =
        all.iter().filter(|item| matches!(item, Item::Frame(frame) if frame.track == AUDIO)).collect();
    assert_eq!(audio_frames.len(), 5, "four of them silent");
    assert!(
        matches!(audio_frames[0], Item::Frame(frame) if (frame.dts - at(20_000)).as_millis() < 10),
        "{audio_frames:?}"
    );
}
