//! Contributions of all kinds, mapped to one timeline.
#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use bytes::Bytes;
use media::{Access, Frame, Metadata, MetadataKind, TimeDelta, Timescale, Timestamp, Track, TrackId};
use slate::{Item, Splice, TrackEnd};

const VIDEO: TrackId = TrackId(1);
const AUDIO: TrackId = TrackId(2);

fn ms(n: i64) -> Timestamp {
    Timescale::MILLIS.timestamp(n)
}

fn video() -> Track {
    media::fixtures::video(VIDEO)
}

fn audio() -> Track {
    media::fixtures::audio(AUDIO)
}

fn frame(track: TrackId, at: i64) -> Frame {
    Frame { track, dts: ms(at), pts: ms(at + 40), access: Access::Independent, payload: Bytes::from_static(b"x") }
}

/// Pushes `frames`, and returns the tracks and programme times (ms) of the frames that come out.
fn run(splice: &mut Splice, frames: impl IntoIterator<Item = Frame>) -> Vec<(TrackId, i64)> {
    let mut out = Vec::new();
    frames.into_iter().for_each(|f| splice.frame(f, &mut out));
    out.iter()
        .filter_map(|item| match item {
            Item::Frame(f) => Some((f.track, Timescale::MILLIS.ticks(f.dts))),
            _ => None,
        })
        .collect()
}

fn started() -> Splice {
    let mut splice = Splice::new();
    splice.begin();
    splice.track(video(), &mut Vec::new());
    splice.track(audio(), &mut Vec::new());
    splice
}

#[test]
fn a_programme_starts_at_its_origin_and_keeps_offsets_between_tracks() {
    let frames = [frame(VIDEO, 90_000), frame(AUDIO, 89_900), frame(VIDEO, 90_033)];
    assert_eq!(run(&mut started(), frames), [(VIDEO, 10_000), (AUDIO, 9_900), (VIDEO, 10_033)]);
}

#[test]
fn the_next_contribution_continues_after_a_discontinuity() {
    let mut splice = started();
    run(&mut splice, [frame(VIDEO, 0), frame(VIDEO, 5_000)]);
    splice.begin();
    let mut out = Vec::new();
    splice.track(video(), &mut out);
    assert_eq!(out, [Item::Discontinuity, Item::Track(video())]);
    assert_eq!(run(&mut splice, [frame(VIDEO, 777_000), frame(VIDEO, 777_040)]), [(VIDEO, 15_100), (VIDEO, 15_140)]);
    splice.track(audio(), &mut out);
    let early = [frame(AUDIO, 776_990), frame(AUDIO, 777_011)];
    assert_eq!(run(&mut splice, early), [(AUDIO, 15_100), (AUDIO, 15_121)]);
}

#[test]
fn both_tracks_follow_one_jump_in_sync() {
    let mut splice = started();
    run(&mut splice, [frame(VIDEO, 0), frame(AUDIO, 0)]);
    let jumped = [frame(VIDEO, 500_000), frame(AUDIO, 21), frame(AUDIO, 500_043)];
    assert_eq!(run(&mut splice, jumped), [(VIDEO, 10_021), (AUDIO, 10_021), (AUDIO, 10_043)]);
    assert_eq!(splice.stats().timestamp_jumps, 1);
}

#[test]
fn decode_time_never_goes_back() {
    let mut splice = started();
    let out = run(&mut splice, [frame(VIDEO, 0), frame(VIDEO, 40), frame(VIDEO, 20), frame(VIDEO, 80)]);
    assert_eq!(out.iter().map(|(_, at)| *at).collect::<Vec<_>>(), [10_000, 10_040, 10_040, 10_080]);
    let out = run(&mut splice, [frame(VIDEO, -50_000), frame(VIDEO, -49_960)]);
    assert_eq!(out.iter().map(|(_, at)| *at).collect::<Vec<_>>(), [10_120, 10_160]);
}

#[test]
fn a_gap_in_the_audio_is_silent() {
    let mut splice = started();
    let mut out = Vec::new();
    for at in [0, 21, 43, 192, 213] {
        splice.frame(frame(AUDIO, at), &mut out);
    }
    let frames: Vec<_> = out.iter().filter_map(|i| if let Item::Frame(f) = i { Some(f) } else { None }).collect();
    assert_eq!(splice.stats().silent_frames, 6);
    assert_eq!(frames.len(), 11);
    let scale = Timescale::new(48_000);
    assert!(frames.windows(2).all(|w| w[1].dts - w[0].dts == scale.delta(1_024)));
    assert_eq!(frames[3].payload.as_ref(), [0x21, 0x10, 0x04, 0x60, 0x8c, 0x1c]);
    assert_eq!(frames[9].payload.as_ref(), b"x");
}

#[test]
fn a_frame_without_a_track_is_ignored() {
    assert_eq!(run(&mut started(), [frame(TrackId(9), 0)]), []);
}

/// Returns video at 25 frames per second and audio frames, both from and to the given milliseconds, in order of arrival.
/// Audio arrives `ahead` (ms) of its timestamp.
fn mixed(video: (i64, i64), audio: (i64, i64), ahead: i64) -> Vec<Frame> {
    let video = (video.0..video.1).step_by(40).map(|at| (at, frame(VIDEO, at)));
    let audio = (0..).map(|n| audio.0 + n * 1_024 * 1_000 / 48_000).take_while(|at| *at < audio.1);
    let audio = audio.map(|at| (at - ahead, frame(AUDIO, at)));
    let mut all: Vec<_> = video.chain(audio).collect();
    all.sort_by_key(|(arrives, _)| *arrives);
    all.into_iter().map(|(_, frame)| frame).collect()
}

/// Output of one track: times, and whether each frame is one that went in.
type TrackOutput = Vec<(i64, bool)>;

fn output_of(items: &[Item], track: TrackId) -> TrackOutput {
    let frames = items.iter().filter_map(|item| match item {
        Item::Frame(frame) if frame.track == track => Some(frame),
        _ => None,
    });
    frames.map(|frame| (Timescale::MILLIS.ticks(frame.dts), frame.payload.as_ref() == b"x")).collect()
}

/// Feeds a new splice, and checks that audio fills its sample grid without a gap.
fn feed(frames: Vec<Frame>) -> (TrackOutput, TrackOutput, Splice) {
    let (mut splice, mut out) = (started(), Vec::new());
    frames.into_iter().for_each(|frame| splice.frame(frame, &mut out));
    let (video, audio) = (output_of(&out, VIDEO), output_of(&out, AUDIO));
    assert!(video.windows(2).all(|two| two[0].0 <= two[1].0));
    assert!(audio.windows(2).all(|two| (21..=22).contains(&(two[1].0 - two[0].0))), "{audio:?}");
    (video, audio, splice)
}

fn first_real(audio: &[(i64, bool)]) -> i64 {
    audio.iter().find(|(_, real)| *real).map_or(0, |(at, _)| *at)
}

#[test]
fn audio_that_never_arrives_is_silent_and_keeps_up() {
    let (video, audio, splice) = feed(mixed((0, 5_000), (0, 0), 0));
    assert_eq!(audio.first(), Some(&(10_000, false)));
    let behind = video.last().unwrap().0 - audio.last().unwrap().0;
    assert!(behind < 400, "{behind} ms");
    assert_eq!(splice.stats().silent_frames, audio.len() as u64);
}

#[test]
fn audio_that_begins_after_the_video_is_preceded_by_silence() {
    let (_, audio, _) = feed(mixed((0, 8_000), (3_000, 8_000), 0));
    assert!(audio.first().is_some_and(|(at, real)| (10_000..10_022).contains(at) && !real));
    assert!((12_989..13_012).contains(&first_real(&audio)), "{}", first_real(&audio));
}

#[test]
fn audio_that_arrives_early_is_presented_at_its_time() {
    let (_, audio, splice) = feed(mixed((0, 8_000), (3_000, 11_000), 3_000));
    assert!(audio.first().is_some_and(|(at, real)| (10_000..10_022).contains(at) && !real));
    assert!((12_989..13_012).contains(&first_real(&audio)));
    assert_eq!(splice.stats().dropped_frames, 0);
}

#[test]
fn audio_before_the_video_keeps_its_time() {
    let (video, audio, splice) = feed(mixed((3_000, 8_000), (0, 8_000), 0));
    assert_eq!((video[0].0, audio[0]), (13_000, (10_000, true)));
    assert_eq!(splice.stats().silent_frames, 0);
}

#[test]
fn audio_that_stops_is_silent_until_it_returns() {
    let mut frames = mixed((0, 20_000), (0, 20_000), 0);
    frames.retain(|frame| frame.track == VIDEO || frame.dts < ms(5_000) || frame.dts >= ms(12_000));
    let (_, audio, splice) = feed(frames);
    let silent: Vec<_> = audio.iter().filter(|(_, real)| !real).map(|(at, _)| *at).collect();
    assert!(silent.first().is_some_and(|at| (14_990..15_030).contains(at)), "{:?}", silent.first());
    assert!(silent.last().is_some_and(|at| (21_950..22_030).contains(at)), "{:?}", silent.last());
    assert!(splice.stats().dropped_frames < 3);
}

#[test]
fn the_timeout_adapts_to_audio_that_is_always_late() {
    for late in [500, 1_500, 3_500] {
        let (_, audio, splice) = feed(mixed((0, 30_000), (0, 30_000), -late));
        let settled: Vec<_> = audio.iter().filter(|(at, _)| *at > 10_000 + 2 * late + 1_000).collect();
        assert!(!settled.is_empty() && settled.iter().all(|(_, real)| *real), "{late} ms late");
        assert!(splice.stats().dropped_frames * 21 < 2 * late as u64 + 200, "{late} ms late");
    }
}

#[test]
fn a_clock_that_wraps_continues_without_a_gap() {
    let wrap = 1 << 32;
    let mut frames = mixed((wrap - 2_000, wrap + 2_000), (wrap - 2_000, wrap + 2_000), 0);
    for frame in frames.iter_mut().filter(|frame| frame.dts >= ms(wrap)) {
        frame.dts = frame.dts - TimeDelta::from_millis(wrap);
        frame.pts = frame.pts - TimeDelta::from_millis(wrap);
    }
    let (video, audio, splice) = feed(frames);
    assert!(video.windows(2).all(|two| (20..=80).contains(&(two[1].0 - two[0].0))), "{video:?}");
    assert!(audio.iter().all(|(_, real)| *real));
    assert_eq!(splice.stats().timestamp_jumps, 1);
}

#[test]
fn tracks_stay_in_sync_when_clocks_jump_by_any_distance() {
    for jump in [-3_600_000, -20_000, -5_000, -700, 700, 5_000, 9_900, 10_100, 30_000, 3_600_000] {
        let mut frames = mixed((100_000, 120_000), (100_000, 120_000), 0);
        for frame in frames.iter_mut().filter(|frame| frame.dts >= ms(110_000)) {
            frame.dts += TimeDelta::from_millis(jump);
            frame.pts += TimeDelta::from_millis(jump);
        }
        let (video, audio, splice) = feed(frames);
        // Video and audio of one moment, well after the jump, arrived a frame apart.
        let (video_end, audio_end) = (video.last().unwrap().0, audio.last().unwrap().0);
        assert!((video_end - audio_end).abs() < 80, "{jump} ms: {video_end} and {audio_end}");
        assert!(splice.stats().timestamp_jumps <= 1);
        let added = video_end - 10_000 - 20_000;
        assert!((-100..=10_000).contains(&added), "{jump} ms became {added} ms");
    }
}

#[test]
fn frames_that_are_empty_or_come_twice_are_discarded() {
    let mut frames = Vec::new();
    for frame in mixed((0, 2_000), (0, 2_000), 0) {
        frames.push(Frame { payload: Bytes::new(), ..frame.clone() });
        frames.extend([frame.clone(), frame]);
    }
    let count = frames.len() as u64;
    let (video, audio, splice) = feed(frames);
    assert_eq!((video.len() + audio.len()) as u64 * 3, count);
    assert_eq!(splice.stats().void_frames, count / 3 * 2);
}

#[test]
fn metadata_keeps_its_position_among_the_frames() {
    let dated = |splice: &Splice, at| {
        let metadata = Metadata { kind: MetadataKind::Scte35, pts: ms(at), payload: Bytes::from_static(b"m") };
        splice.metadata(metadata).map(|metadata| Timescale::MILLIS.ticks(metadata.pts))
    };
    let mut splice = started();
    assert_eq!(dated(&splice, 90_000), None);
    run(&mut splice, mixed((90_000, 92_000), (90_000, 92_000), 0));
    assert_eq!(
        [dated(&splice, 91_000), dated(&splice, 95_000), dated(&splice, 190_000)],
        [Some(11_000), Some(15_000), None]
    );
    splice.begin();
    splice.track(video(), &mut Vec::new());
    assert_eq!(dated(&splice, 92_500), None);
}

#[test]
fn each_audio_track_is_silent_independently() {
    let other = TrackId(3);
    let (mut splice, mut out) = (started(), Vec::new());
    splice.track(Track { id: other, ..audio() }, &mut out);
    let frames = mixed((0, 6_000), (0, 6_000), 0);
    for frame in frames {
        let twin = (frame.track == AUDIO && frame.dts < ms(3_000)).then(|| Frame { track: other, ..frame.clone() });
        splice.frame(frame, &mut out);
        twin.into_iter().for_each(|twin| splice.frame(twin, &mut out));
    }
    assert!(output_of(&out, AUDIO).iter().all(|(_, real)| *real));
    let second = output_of(&out, other);
    assert!(second.iter().any(|(_, real)| !real) && second.last().unwrap().0 > 15_500);
}

#[test]
fn video_that_begins_before_the_audio_that_came_first_is_kept() {
    let mut splice = started();
    run(&mut splice, mixed((0, 2_000), (0, 2_000), 0));
    splice.begin();
    let mut out = Vec::new();
    splice.track(video(), &mut out);
    splice.track(audio(), &mut out);
    mixed((50_000, 56_000), (53_000, 56_000), 3_100).into_iter().for_each(|frame| splice.frame(frame, &mut out));
    let video = output_of(&out, VIDEO);
    assert!(video.windows(2).all(|two| two[1].0 - two[0].0 == 40), "{video:?}");
    let audio: Vec<_> = output_of(&out, AUDIO).into_iter().filter(|(_, real)| *real).collect();
    let apart = audio.last().unwrap().0 - video.last().unwrap().0;
    assert!(apart.abs() < 60, "{apart} ms");
}

/// Returns the ends of the tracks in milliseconds, and the number of frames that pausing adds.
fn paused(splice: &mut Splice) -> (Vec<(TrackId, i64, i64)>, usize) {
    let mut out = Vec::new();
    let at = |time| Timescale::MILLIS.ticks(time);
    let ends = splice.pause(&mut out);
    (ends.iter().map(|TrackEnd { track, dts, pts }| (track.id, at(*dts), at(*pts))).collect(), out.len())
}

#[test]
fn a_programme_that_pauses_ends_at_the_same_time_in_all_tracks() {
    let mut splice = started();
    assert_eq!(paused(&mut splice), (vec![], 0), "no frame yet");
    // Video is presented 40 ms after it is decoded; the audio is 120 ms behind.
    let mut frames: Vec<_> = (0..10).map(|n| frame(VIDEO, n * 40)).collect();
    frames.push(Frame { pts: ms(280), ..frame(AUDIO, 280) });
    run(&mut splice, frames);
    let (ends, silent) = paused(&mut splice);
    assert_eq!(ends[0], (VIDEO, 10_400, 10_440));
    let (track, end, presented) = ends[1];
    assert!(track == AUDIO && end == presented && (10_419..=10_440).contains(&end) && silent == 5, "{ends:?} {silent}");
}

#[test]
fn a_track_that_ended_long_before_continues_with_the_others() {
    let mut splice = started();
    run(&mut splice, (0..3).map(|n| frame(VIDEO, n * 40)));
    run(&mut splice, (0..200).map(|n| frame(AUDIO, n * 1_024 / 48)));
    let (ends, _) = paused(&mut splice);
    assert_eq!((ends[0].0, ends[0].1, ends[0].2 - ends[0].1), (VIDEO, ends[1].1, 40));
}
