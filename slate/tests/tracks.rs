//! Tracks that change on a connection, and tracks that a contribution lacks.
#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use bytes::Bytes;
use media::codec::{aac, ac3};
use media::{Access, CodecConfig, Fault, Frame, TimeDelta, Timescale, Timestamp, Track, TrackId};
use slate::{Item, Splice};

const VIDEO: TrackId = TrackId(1);
const AUDIO: TrackId = TrackId(2);

fn video() -> Track {
    media::fixtures::video(VIDEO)
}

fn audio(rate: u32, channels: u8) -> Track {
    Track::new(AUDIO, CodecConfig::Aac(aac::Config::new(2, rate, channels).unwrap()))
}

fn dolby() -> Track {
    let sync = [0x0b, 0x77, 0, 0, 0x14, 0x40, 0x43, 0xe1];
    Track::new(AUDIO, CodecConfig::Ac3(ac3::Config::from_frame(&sync).unwrap()))
}

fn frame(track: TrackId, at: i64, access: Access) -> Frame {
    let at = Timestamp::ZERO + TimeDelta::from_millis(at);
    Frame { track, dts: at, pts: at, access, payload: Bytes::from_static(b"live") }
}

/// A splice and its output.
struct Programme {
    splice: Splice,
    out: Vec<Item>,
}

impl Programme {
    fn new(tracks: &[Track]) -> Self {
        let mut programme = Self { splice: Splice::for_passthrough(), out: Vec::new() };
        programme.contribution(tracks);
        programme
    }

    fn contribution(&mut self, tracks: &[Track]) {
        self.splice.begin();
        tracks.iter().for_each(|track| self.splice.track(track.clone(), &mut self.out));
    }

    /// Feeds frames of the tracks from `from` to `to`, with a key frame every two seconds.
    fn flow(&mut self, tracks: &[Track], from: i64, to: i64) {
        let samples = |track: &Track| i64::from(track.codec.samples_per_frame().unwrap_or(0)) * 1_000_000;
        let step = |track: &Track| track.codec.sample_rate().map_or(40_000, |rate| samples(track) / i64::from(rate));
        let times = |track: &Track| {
            let (id, step) = (track.id, step(track));
            (0..)
                .map(move |n| from * 1_000 + n * step)
                .take_while(move |at| *at < to * 1_000)
                .map(move |at| (at / 1_000, id))
        };
        let mut all: Vec<_> = tracks.iter().flat_map(times).collect();
        all.sort_unstable();
        for (at, track) in all {
            let key = track == AUDIO || at % 2_000 == 0;
            self.splice.frame(frame(track, at, Access::independent_if(key)), &mut self.out);
        }
    }

    fn faults(&self) -> Vec<Fault> {
        let fault = |item: &Item| if let Item::Fault(report) = item { Some(report.fault) } else { None };
        self.out.iter().filter_map(fault).collect()
    }

    /// Returns the tracks and the first frame after the `n`th discontinuity.
    fn after_discontinuity(&self, n: usize) -> (Vec<Track>, Frame) {
        let discontinuities = self.out.iter().enumerate().filter(|(_, item)| **item == Item::Discontinuity);
        let at = discontinuities.map(|(at, _)| at).nth(n).unwrap();
        let tracks = self.out[at + 1..].iter().map_while(|item| match item {
            Item::Track(track) => Some(track.clone()),
            _ => None,
        });
        let tracks: Vec<_> = tracks.collect();
        let frame =
            self.out[at..].iter().find_map(|i| if let Item::Frame(frame) = i { Some(frame.clone()) } else { None });
        (tracks, frame.unwrap())
    }

    /// Returns the times (ms) of a track's frames, and whether they are real.
    fn frames(&self, track: TrackId) -> Vec<(i64, bool)> {
        let of = |item: &Item| match item {
            Item::Frame(f) if f.track == track => Some((Timescale::MILLIS.ticks(f.dts), f.payload.as_ref() == b"live")),
            _ => None,
        };
        self.out.iter().filter_map(of).collect()
    }

    fn discontinuities(&self) -> usize {
        self.out.iter().filter(|item| **item == Item::Discontinuity).count()
    }
}

#[test]
fn another_audio_header_applies_from_the_next_key_frame() {
    for (at, other) in
        [(4_040, audio(44_100, 1)), (5_000, audio(44_100, 2)), (5_960, audio(48_000, 1)), (4_000, dolby())]
    {
        let (before, after) = ([video(), audio(48_000, 2)], [video(), other.clone()]);
        let mut programme = Programme::new(&before);
        programme.flow(&before, 0, at);
        programme.splice.track(other.clone(), &mut programme.out);
        programme.flow(&after, at, 10_000);
        assert_eq!((programme.discontinuities(), programme.faults()), (1, vec![Fault::HeaderChange]), "{at}");
        let (tracks, first) = programme.after_discontinuity(0);
        assert_eq!(tracks, [video(), other]);
        assert!(first.track == VIDEO && first.access == Access::Independent);
        // Silence up to the key frame, and the new audio within a frame of it.
        let boundary = Timescale::MILLIS.ticks(first.dts);
        let audio_frames = programme.frames(AUDIO);
        assert!(audio_frames.windows(2).all(|two| (20..=50).contains(&(two[1].0 - two[0].0))), "{at} {audio_frames:?}");
        let silent = audio_frames.iter().filter(|(_, real)| !real).map(|(at, _)| *at);
        assert!(silent.clone().all(|at| at < boundary + 70), "{at} {boundary} {audio_frames:?}");
        let video_frames = programme.frames(VIDEO);
        assert!(video_frames.windows(2).all(|two| (39..=62).contains(&(two[1].0 - two[0].0))), "{at} {video_frames:?}");
    }
}

#[test]
fn another_audio_header_without_video_applies_at_once() {
    let mut programme = Programme::new(&[audio(48_000, 2)]);
    programme.flow(&[audio(48_000, 2)], 0, 3_000);
    programme.splice.track(audio(44_100, 1), &mut programme.out);
    programme.flow(&[audio(44_100, 1)], 3_000, 6_000);
    assert_eq!((programme.discontinuities(), programme.faults()), (1, vec![Fault::HeaderChange]));
    assert!(programme.frames(AUDIO).iter().all(|(_, real)| *real));
    // The change does not wait for video that has stopped.
    let both = [video(), audio(48_000, 2)];
    let mut programme = Programme::new(&both);
    programme.flow(&both, 0, 3_000);
    programme.splice.track(audio(44_100, 1), &mut programme.out);
    programme.flow(&[audio(44_100, 1)], 3_000, 9_000);
    assert_eq!(programme.discontinuities(), 1);
}

#[test]
fn a_header_that_is_withdrawn_changes_nothing() {
    let tracks = [video(), audio(48_000, 2)];
    let mut programme = Programme::new(&tracks);
    programme.flow(&tracks, 0, 3_000);
    programme.splice.track(audio(44_100, 2), &mut programme.out);
    programme.splice.track(audio(48_000, 2), &mut programme.out);
    programme.flow(&tracks, 3_000, 6_000);
    assert_eq!(programme.discontinuities(), 0);
    assert!(programme.frames(AUDIO).iter().all(|(_, real)| *real));
}

#[test]
fn video_whose_header_changes_between_key_frames_is_reported() {
    let tracks = [video()];
    let mut programme = Programme::new(&tracks);
    programme.flow(&tracks, 0, 3_000);
    let mut other = video();
    let CodecConfig::Avc(config) = &mut other.codec else { panic!("H.264") };
    config.sps.width += 16;
    programme.splice.track(other, &mut programme.out);
    programme.flow(&tracks, 3_000, 6_000);
    assert_eq!(programme.faults(), [Fault::HeaderChange; 25]);
}

#[test]
fn silence_replaces_audio_that_does_not_return() {
    for (codec, stand_in) in [(audio(44_100, 1), audio(44_100, 1)), (dolby(), audio(48_000, 2))] {
        let mut programme = Programme::new(&[video(), codec.clone()]);
        programme.flow(&[video(), codec], 0, 4_000);
        programme.contribution(&[video()]);
        programme.out.clear();
        programme.flow(&[video()], 0, 5_000);
        assert_eq!(programme.faults(), [Fault::MissingTrack]);
        assert!(programme.out.contains(&Item::Track(stand_in)));
        let (video_frames, audio_frames) = (programme.frames(VIDEO), programme.frames(AUDIO));
        assert!(audio_frames.windows(2).all(|two| (21..=24).contains(&(two[1].0 - two[0].0))), "{audio_frames:?}");
        assert!((audio_frames[0].0 - video_frames[0].0).abs() < 25 && !audio_frames.iter().any(|(_, real)| *real));
        assert!(video_frames[124].0 - audio_frames[audio_frames.len() - 1].0 < 1_050);
        // The next contribution with audio is presented.
        programme.contribution(&[video(), audio(48_000, 2)]);
        programme.out.clear();
        programme.flow(&[video(), audio(48_000, 2)], 0, 2_000);
        assert_eq!(programme.faults(), []);
        assert!(programme.frames(AUDIO).iter().all(|(_, real)| *real));
    }
}

#[test]
fn the_last_key_frame_replaces_video_that_does_not_return() {
    let tracks = [video(), audio(48_000, 2)];
    let mut programme = Programme::new(&tracks);
    programme.flow(&tracks, 0, 4_000);
    programme.contribution(&tracks[1..]);
    programme.flow(&tracks[1..], 0, 0);
    programme.out.clear();
    programme.flow(&tracks[1..], 0, 5_000);
    assert_eq!(programme.faults(), [Fault::MissingTrack]);
    assert!(programme.out.contains(&Item::Track(video())));
    let (video_frames, audio_frames) = (programme.frames(VIDEO), programme.frames(AUDIO));
    assert_eq!((video_frames.len(), video_frames[0].0), (1, audio_frames[0].0));
    // Video that arrives later takes over.
    programme.splice.track(video(), &mut programme.out);
    programme.flow(&tracks, 6_000, 8_000);
    let video_frames = programme.frames(VIDEO);
    assert!(video_frames.len() == 51 && video_frames.windows(2).all(|two| two[0].0 < two[1].0));
}

#[test]
fn a_contribution_without_frames_is_not_the_previous_one() {
    let tracks = [video(), audio(48_000, 2)];
    let mut programme = Programme::new(&tracks);
    programme.flow(&tracks, 0, 4_000);
    programme.contribution(&[video()]);
    programme.contribution(&[video()]);
    programme.flow(&[video()], 0, 1_000);
    assert_eq!(programme.faults(), [Fault::MissingTrack]);
}
