//! Contributions of all kinds laid on one timeline.
#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use bytes::Bytes;
use media::codec::{aac, avc};
use media::{Access, CodecConfig, Frame, Metadata, MetadataKind, TimeDelta, Timescale, Timestamp, Track, TrackId};
use slate::{Item, Splice, TrackEnd};

const VIDEO: TrackId = TrackId(1);
const AUDIO: TrackId = TrackId(2);

fn ms(n: i64) -> Timestamp {
    Timescale::MILLIS.timestamp(n)
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
    let config = aac::Config::parse(Bytes::from_static(&[0x11, 0x90])).unwrap();
    Track::new(AUDIO, CodecConfig::Aac(config))
}

fn frame(track: TrackId, at: i64) -> Frame {
    Frame { track, dts: ms(at), pts: ms(at + 40), access: Access::Independent, payload: Bytes::from_static(b"x") }
}

/// Programme times in ms of the frames of `track` that come out when `times` go in.
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
fn the_next_contribution_goes_on_behind_a_discontinuity() {
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
    assert_eq!(splice.stats().jumps, 1);
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
fn a_hole_in_the_sound_is_silent() {
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

/// Video at 25 frames a second and audio frames, both from and to the given milliseconds, in the order of their times
/// less `ahead` for audio: how much earlier than its date it comes.
fn mixed(video: (i64, i64), audio: (i64, i64), ahead: i64) -> Vec<Frame> {
    let pictures = (video.0..video.1).step_by(40).map(|at| (at, frame(VIDEO, at)));
    let sounds = (0..).map(|n| audio.0 + n * 1_024 * 1_000 / 48_000).take_while(|at| *at < audio.1);
    let sounds = sounds.map(|at| (at - ahead, frame(AUDIO, at)));
    let mut all: Vec<_> = pictures.chain(sounds).collect();
    all.sort_by_key(|(comes, _)| *comes);
    all.into_iter().map(|(_, frame)| frame).collect()
}

/// What came out of one track: times, and whether each frame is one that went in.
type Laid = Vec<(i64, bool)>;

fn laid(items: &[Item], track: TrackId) -> Laid {
    let frames = items.iter().filter_map(|item| match item {
        Item::Frame(frame) if frame.track == track => Some(frame),
        _ => None,
    });
    frames.map(|frame| (Timescale::MILLIS.ticks(frame.dts), frame.payload.as_ref() == b"x")).collect()
}

/// Feeds a new splice, and checks that sound stands on its grid without a hole.
fn feed(frames: Vec<Frame>) -> (Laid, Laid, Splice) {
    let (mut splice, mut out) = (started(), Vec::new());
    frames.into_iter().for_each(|frame| splice.frame(frame, &mut out));
    let (pictures, sounds) = (laid(&out, VIDEO), laid(&out, AUDIO));
    assert!(pictures.windows(2).all(|two| two[0].0 <= two[1].0));
    assert!(sounds.windows(2).all(|two| (21..=22).contains(&(two[1].0 - two[0].0))), "{sounds:?}");
    (pictures, sounds, splice)
}

fn first_real(sounds: &[(i64, bool)]) -> i64 {
    sounds.iter().find(|(_, real)| *real).map_or(0, |(at, _)| *at)
}

#[test]
fn sound_that_never_comes_is_silent_and_keeps_up() {
    let (pictures, sounds, splice) = feed(mixed((0, 5_000), (0, 0), 0));
    assert_eq!(sounds.first(), Some(&(10_000, false)));
    let behind = pictures.last().unwrap().0 - sounds.last().unwrap().0;
    assert!(behind < 400, "{behind} ms");
    assert_eq!(splice.stats().silent_frames, sounds.len() as u64);
}

#[test]
fn sound_that_begins_after_the_pictures_is_silent_up_to_there() {
    let (_, sounds, _) = feed(mixed((0, 8_000), (3_000, 8_000), 0));
    assert!(sounds.first().is_some_and(|(at, real)| (10_000..10_022).contains(at) && !real));
    assert!((12_989..13_012).contains(&first_real(&sounds)), "{}", first_real(&sounds));
}

#[test]
fn sound_that_is_dated_ahead_is_heard_at_its_time() {
    let (_, sounds, splice) = feed(mixed((0, 8_000), (3_000, 11_000), 3_000));
    assert!(sounds.first().is_some_and(|(at, real)| (10_000..10_022).contains(at) && !real));
    assert!((12_989..13_012).contains(&first_real(&sounds)));
    assert_eq!(splice.stats().dropped_frames, 0);
}

#[test]
fn sound_before_the_pictures_keeps_its_time() {
    let (pictures, sounds, splice) = feed(mixed((3_000, 8_000), (0, 8_000), 0));
    assert_eq!((pictures[0].0, sounds[0]), (13_000, (10_000, true)));
    assert_eq!(splice.stats().silent_frames, 0);
}

#[test]
fn sound_that_stops_is_silent_until_it_comes_back() {
    let mut frames = mixed((0, 20_000), (0, 20_000), 0);
    frames.retain(|frame| frame.track == VIDEO || frame.dts < ms(5_000) || frame.dts >= ms(12_000));
    let (_, sounds, splice) = feed(frames);
    let silent: Vec<_> = sounds.iter().filter(|(_, real)| !real).map(|(at, _)| *at).collect();
    assert!(silent.first().is_some_and(|at| (14_990..15_030).contains(at)), "{:?}", silent.first());
    assert!(silent.last().is_some_and(|at| (21_950..22_030).contains(at)), "{:?}", silent.last());
    assert!(splice.stats().dropped_frames < 3);
}

#[test]
fn sound_that_always_comes_late_is_waited_for() {
    for late in [500, 1_500, 3_500] {
        let (_, sounds, splice) = feed(mixed((0, 30_000), (0, 30_000), -late));
        let settled: Vec<_> = sounds.iter().filter(|(at, _)| *at > 10_000 + 2 * late + 1_000).collect();
        assert!(!settled.is_empty() && settled.iter().all(|(_, real)| *real), "{late} ms late");
        assert!(splice.stats().dropped_frames * 21 < 2 * late as u64 + 200, "{late} ms late");
    }
}

#[test]
fn a_clock_that_wraps_goes_on_without_a_seam() {
    let wrap = 1 << 32;
    let mut frames = mixed((wrap - 2_000, wrap + 2_000), (wrap - 2_000, wrap + 2_000), 0);
    for frame in frames.iter_mut().filter(|frame| frame.dts >= ms(wrap)) {
        frame.dts = frame.dts - TimeDelta::from_millis(wrap);
        frame.pts = frame.pts - TimeDelta::from_millis(wrap);
    }
    let (pictures, sounds, splice) = feed(frames);
    assert!(pictures.windows(2).all(|two| (20..=80).contains(&(two[1].0 - two[0].0))), "{pictures:?}");
    assert!(sounds.iter().all(|(_, real)| *real));
    assert_eq!(splice.stats().jumps, 1);
}

#[test]
fn clocks_that_jump_by_any_distance_stay_in_step() {
    for jump in [-3_600_000, -20_000, -5_000, -700, 700, 5_000, 9_900, 10_100, 30_000, 3_600_000] {
        let mut frames = mixed((100_000, 120_000), (100_000, 120_000), 0);
        for frame in frames.iter_mut().filter(|frame| frame.dts >= ms(110_000)) {
            frame.dts += TimeDelta::from_millis(jump);
            frame.pts += TimeDelta::from_millis(jump);
        }
        let (pictures, sounds, splice) = feed(frames);
        // The picture and the sound of one moment, well behind the jump, came in a frame apart.
        let (picture, sound) = (pictures.last().unwrap().0, sounds.last().unwrap().0);
        assert!((picture - sound).abs() < 80, "{jump} ms: {picture} and {sound}");
        assert!(splice.stats().jumps <= 1);
        let added = picture - 10_000 - 20_000;
        assert!((-100..=10_000).contains(&added), "{jump} ms became {added} ms");
    }
}

#[test]
fn frames_that_are_empty_or_come_twice_count_for_nothing() {
    let mut frames = Vec::new();
    for frame in mixed((0, 2_000), (0, 2_000), 0) {
        frames.push(Frame { payload: Bytes::new(), ..frame.clone() });
        frames.extend([frame.clone(), frame]);
    }
    let count = frames.len() as u64;
    let (pictures, sounds, splice) = feed(frames);
    assert_eq!((pictures.len() + sounds.len()) as u64 * 3, count);
    assert_eq!(splice.stats().void_frames, count / 3 * 2);
}

#[test]
fn metadata_keeps_its_place_among_the_frames() {
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
fn each_track_of_sound_is_silent_for_itself() {
    let other = TrackId(3);
    let (mut splice, mut out) = (started(), Vec::new());
    splice.track(Track { id: other, ..audio() }, &mut out);
    let frames = mixed((0, 6_000), (0, 6_000), 0);
    for frame in frames {
        let twin = (frame.track == AUDIO && frame.dts < ms(3_000)).then(|| Frame { track: other, ..frame.clone() });
        splice.frame(frame, &mut out);
        twin.into_iter().for_each(|twin| splice.frame(twin, &mut out));
    }
    assert!(laid(&out, AUDIO).iter().all(|(_, real)| *real));
    let second = laid(&out, other);
    assert!(second.iter().any(|(_, real)| !real) && second.last().unwrap().0 > 15_500);
}

#[test]
fn pictures_that_begin_before_the_sound_that_came_first_are_all_kept() {
    let mut splice = started();
    run(&mut splice, mixed((0, 2_000), (0, 2_000), 0));
    splice.begin();
    let mut out = Vec::new();
    splice.track(video(), &mut out);
    splice.track(audio(), &mut out);
    mixed((50_000, 56_000), (53_000, 56_000), 3_100).into_iter().for_each(|frame| splice.frame(frame, &mut out));
    let pictures = laid(&out, VIDEO);
    assert!(pictures.windows(2).all(|two| two[1].0 - two[0].0 == 40), "{pictures:?}");
    let sounds: Vec<_> = laid(&out, AUDIO).into_iter().filter(|(_, real)| *real).collect();
    let apart = sounds.last().unwrap().0 - pictures.last().unwrap().0;
    assert!(apart.abs() < 60, "{apart} ms");
}

/// Ends of the tracks in milliseconds, with the frames that are laid by asking for them.
fn paused(splice: &mut Splice) -> (Vec<(TrackId, i64, i64)>, usize) {
    let mut out = Vec::new();
    let at = |time| Timescale::MILLIS.ticks(time);
    let ends = splice.pause(&mut out);
    (ends.iter().map(|TrackEnd { track, dts, pts }| (track.id, at(*dts), at(*pts))).collect(), out.len())
}

#[test]
fn a_programme_that_pauses_ends_at_once_in_all_tracks() {
    let mut splice = started();
    assert_eq!(paused(&mut splice), (vec![], 0), "nothing came yet");
    // Pictures are shown 40 ms after they are decoded; the sound is 120 ms behind.
    let mut frames: Vec<_> = (0..10).map(|n| frame(VIDEO, n * 40)).collect();
    frames.push(Frame { pts: ms(280), ..frame(AUDIO, 280) });
    run(&mut splice, frames);
    let (ends, silent) = paused(&mut splice);
    assert_eq!(ends[0], (VIDEO, 10_400, 10_440));
    let (track, end, shown) = ends[1];
    assert!(track == AUDIO && end == shown && (10_419..=10_440).contains(&end) && silent == 5, "{ends:?} {silent}");
}

#[test]
fn a_track_that_ended_long_before_goes_on_with_the_rest() {
    let mut splice = started();
    run(&mut splice, (0..3).map(|n| frame(VIDEO, n * 40)));
    run(&mut splice, (0..200).map(|n| frame(AUDIO, n * 1_024 / 48)));
    let (ends, _) = paused(&mut splice);
    assert_eq!((ends[0].0, ends[0].1, ends[0].2 - ends[0].1), (VIDEO, ends[1].1, 40));
}
