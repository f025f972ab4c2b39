//! From FLV tags to tracks and frames.

use std::collections::VecDeque;

use bytes::Bytes;
use media::codec::av1;
use media::{Frame, Kind, TimeDelta, Timescale, Track, TrackId};

use super::lane::{Lane, LeftOut, Reason};
use super::{Body, Codec, Packet, Tag};
use crate::Item;

/// The track of all video tags.
pub const VIDEO_TRACK: TrackId = TrackId(1);
/// Audio tracks carried; those beyond are left out.
const MAX_AUDIO: usize = 8;
/// Tracks kept in mind; what is said of those beyond is dropped.
const MAX_LANES: usize = 64;
/// Reasons told; those beyond are kept back, so that no encoder fills the log.
const MAX_TOLD: u32 = 32;
/// Media time in milliseconds after which a contribution without a track that is carried has no hope.
const HOPE_MS: i64 = 5_000;
/// The ticks of ModEx.
const NANOS: Timescale = Timescale::new(1_000_000_000);

/// The track of audio tags with this track number: 0 outside of multitrack messages.
pub const fn audio_track(number: u8) -> TrackId {
    TrackId(2 + number as u32)
}

/// Turns tags into tracks and frames, trusting the sequence headers and the frames only.
#[derive(Clone, Debug, Default)]
pub struct Demuxer {
    lanes: Vec<Lane>,
    dropped: u64,
    /// Reasons to be polled; [`MAX_TOLD`] bounds them.
    untold: VecDeque<LeftOut>,
    told: u32,
    last_told: Option<LeftOut>,
    /// Time of the first tag and of the last.
    span: Option<(i64, i64)>,
}

impl Demuxer {
    /// A demuxer that has seen no header yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next tag and gives what it means: a track, a frame, or both. A header that says nothing new means
    /// nothing. A frame before its header, an empty one or one of a track that is left out is dropped and counted.
    pub fn push(&mut self, tag: Tag) -> impl Iterator<Item = Item> + use<> {
        let Tag { millis, packet } = tag;
        self.span = Some((self.span.map_or(millis, |(first, _)| first), millis));
        let is_frame = matches!(packet.body, Body::Frame { .. });
        let (kind, track, codec) = (packet.kind, packet.track, packet.codec);
        let [new, frame] = self.packet(millis, packet).unwrap_or_else(|reason| {
            self.tell(LeftOut { kind, track, codec, reason });
            [None, None]
        });
        if is_frame && frame.is_none() {
            self.dropped += 1;
        }
        [new, frame].into_iter().flatten()
    }

    /// Why a track is left out: each reason once, in the order of the tags that made them.
    pub fn poll_left_out(&mut self) -> Option<LeftOut> {
        self.untold.pop_front()
    }

    /// Frames dropped so far.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The last track that was found to be left out, and why.
    pub const fn left_out(&self) -> Option<&LeftOut> {
        self.last_told.as_ref()
    }

    /// Why the contribution is of no use, if none of its tracks could be carried for a while.
    pub fn hopeless(&self) -> Option<&LeftOut> {
        let (first, last) = self.span?;
        let waited = last.saturating_sub(first) >= HOPE_MS && !self.lanes.iter().any(|lane| lane.admitted);
        self.last_told.as_ref().filter(|_| waited)
    }

    /// The track and the frame that come of it.
    fn packet(&mut self, millis: i64, packet: Packet) -> Result<[Option<Item>; 2], Reason> {
        let Packet { kind, track: number, codec, nanos, body } = packet;
        let id = if kind == Kind::Video { VIDEO_TRACK } else { audio_track(number) };
        let Some(lane) = self.lane(kind, number) else { return Ok([None, None]) };
        let (new, frame) = match body {
            Body::Header(header) => (lane.header(codec, &header)?, None),
            Body::TransportHeader => return Err(lane.transport_header(codec)),
            Body::Frame { composition_ms, payload } => {
                let (new, frame) = lane.frame(codec, sample(codec, payload))?;
                (new, frame.map(|(access, payload)| (composition_ms, access, payload)))
            }
        };
        if new.is_some() {
            self.admit(kind, number)?;
        }
        let frame = frame.filter(|_| self.is_admitted(kind, number)).map(|(composition_ms, access, payload)| {
            let dts = Timescale::MILLIS.timestamp(millis) + NANOS.delta(nanos.into());
            let pts = dts + TimeDelta::from_millis(composition_ms.into());
            Frame { track: id, dts, pts, access, payload }
        });
        Ok([new.map(|config| Item::Track(Track::new(id, config))), frame.map(Item::Frame)])
    }

    /// What is known of a track; nothing where there are too many.
    fn lane(&mut self, kind: Kind, number: u8) -> Option<&mut Lane> {
        let found = self.lanes.iter().position(|lane| lane.is(kind, number));
        if found.is_none() {
            if self.lanes.len() == MAX_LANES {
                return None;
            }
            self.lanes.push(Lane::new(kind, number));
        }
        match found {
            Some(at) => self.lanes.get_mut(at),
            None => self.lanes.last_mut(),
        }
    }

    fn is_admitted(&self, kind: Kind, number: u8) -> bool {
        self.lanes.iter().any(|lane| lane.admitted && lane.is(kind, number))
    }

    /// Gives a track that can be carried its place, where there is one left.
    fn admit(&mut self, kind: Kind, number: u8) -> Result<(), Reason> {
        let others = self.lanes.iter().filter(|lane| lane.admitted && lane.kind == kind && lane.number != number);
        match (kind, others.count()) {
            (Kind::Video, 1..) => return Err(Reason::SecondVideo),
            (Kind::Audio, MAX_AUDIO..) => return Err(Reason::TooManyAudio(MAX_AUDIO)),
            _ => {}
        }
        if let Some(lane) = self.lane(kind, number) {
            lane.admitted = true;
        }
        Ok(())
    }

    /// Remembers why a track is left out, unless that was told.
    fn tell(&mut self, left_out: LeftOut) {
        if self.told == MAX_TOLD {
            return;
        }
        let Some(lane) = self.lane(left_out.kind, left_out.track) else { return };
        if lane.is_told(&left_out) {
            return;
        }
        self.told += 1;
        self.last_told = Some(left_out.clone());
        self.untold.push_back(left_out);
    }
}

/// A frame as an MP4 sample holds it.
fn sample(codec: Codec, payload: Bytes) -> Bytes {
    if codec == Codec::Av1 { av1::without_delimiters(payload) } else { payload }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flv::read;

    // x264, 1280x720, High profile; then a picture parameter set.
    const AVCC: [u8; 36] = [
        1, 0x64, 0x00, 0x1f, 0xff, 0xe1, 0, 25, 0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10,
        0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19, 1, 0, 0,
    ];
    const AAC: &[u8] = &[0x11, 0x90];

    /// Feeds one body.
    fn push(demuxer: &mut Demuxer, kind: Kind, millis: i64, bytes: &[u8]) -> Vec<Item> {
        let mut items = Vec::new();
        read(kind, &Bytes::copy_from_slice(bytes), |packet| items.extend(demuxer.push(Tag { millis, packet })))
            .unwrap();
        items
    }

    fn video(demuxer: &mut Demuxer, millis: i64, bytes: &[u8]) -> Vec<Item> {
        push(demuxer, Kind::Video, millis, bytes)
    }

    fn audio(demuxer: &mut Demuxer, millis: i64, bytes: &[u8]) -> Vec<Item> {
        push(demuxer, Kind::Audio, millis, bytes)
    }

    fn avc_header() -> Vec<u8> {
        [&[0x17, 0, 0, 0, 0][..], &AVCC].concat()
    }

    /// An AAC header for one track of many.
    fn aac_header(track: u8) -> Vec<u8> {
        [&b"\x95\x00mp4a"[..], &[track], AAC].concat()
    }

    fn frame(items: Vec<Item>) -> Frame {
        match <[Item; 1]>::try_from(items) {
            Ok([Item::Frame(frame)]) => frame,
            other => panic!("{other:?}"),
        }
    }

    fn left_out(demuxer: &mut Demuxer) -> Vec<String> {
        std::iter::from_fn(|| demuxer.poll_left_out()).map(|left_out| left_out.to_string()).collect()
    }

    #[test]
    fn a_header_makes_a_track_once() {
        let demuxer = &mut Demuxer::new();
        let items = video(demuxer, 0, &avc_header());
        assert!(matches!(&items[..], [Item::Track(t)] if t.id == VIDEO_TRACK && t.kind() == Kind::Video));
        assert_eq!(video(demuxer, 0, &avc_header()), []);
        assert!(matches!(&audio(demuxer, 0, &[0xaf, 0, 0x11, 0x90])[..], [Item::Track(t)] if t.id == audio_track(0)));
        assert_eq!(audio(demuxer, 0, &[0xaf, 0, 0x11, 0x90]), []);
        assert!(matches!(audio(demuxer, 9, &[0xaf, 0, 0x12, 0x10])[..], [Item::Track(_)]), "a changed header");
        // By FourCC it is the same track and the same header.
        assert_eq!(video(demuxer, 9, &[&b"\x90avc1"[..], &AVCC].concat()), []);
    }

    #[test]
    fn frames_before_their_header_are_dropped_and_counted() {
        let demuxer = &mut Demuxer::new();
        assert_eq!(video(demuxer, 0, &[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65]), []);
        assert_eq!(audio(demuxer, 0, &[0xaf, 1, 0x21]), []);
        video(demuxer, 0, &avc_header());
        assert_eq!(audio(demuxer, 0, &[0xaf, 1, 0x21]), [], "the header of the other track does not count");
        assert_eq!(video(demuxer, 0, &[0x17, 1, 0, 0, 0]), [], "an empty frame");
        assert_eq!((demuxer.dropped(), left_out(demuxer)), (4, vec![]));
    }

    #[test]
    fn parameter_sets_without_a_slice_go_with_the_next_picture() {
        let demuxer = &mut Demuxer::new();
        video(demuxer, 0, &avc_header());
        let set = [0, 0, 0, 3, 0x68, 0xee, 0x3c];
        assert_eq!(video(demuxer, 40, &[&[0x17, 1, 0, 0, 0][..], &set].concat()), [], "no frame");
        let picture = [0, 0, 0, 2, 0x65, 0x88];
        let frame = frame(video(demuxer, 80, &[&[0x17, 1, 0, 0, 0][..], &picture].concat()));
        assert_eq!(frame.payload, [&set[..], &picture].concat());
        assert!(frame.access.is_independent());
        let next = [&[0x27, 1, 0, 0, 0][..], &[0, 0, 0, 2, 0x41, 0x9a]].concat();
        assert_eq!(self::frame(video(demuxer, 120, &next)).payload.len(), 6, "they are sent once");
        assert_eq!(video(demuxer, 160, &[&[0x17, 1, 0, 0, 0][..], &set].concat()), [], "no frame");
        video(demuxer, 200, &[&avc_header()[..], &[0]].concat());
        let frame = self::frame(video(demuxer, 200, &[&[0x17, 1, 0, 0, 0][..], &picture].concat()));
        assert_eq!(frame.payload.len(), picture.len(), "another header makes them void");
    }

    #[test]
    fn key_is_what_the_nal_units_say() {
        let demuxer = &mut Demuxer::new();
        video(demuxer, 0, &avc_header());
        let mut key = |flag: u8, nal: u8| {
            frame(video(demuxer, 40, &[flag, 1, 0, 0, 80, 0, 0, 0, 1, nal])).access.is_independent()
        };
        assert_eq!([key(0x17, 0x65), key(0x27, 0x65), key(0x17, 0x41)], [true, true, false]);
    }

    #[test]
    fn presentation_is_decoding_and_composition_time() {
        let demuxer = &mut Demuxer::new();
        video(demuxer, 0, &avc_header());
        let cut = frame(video(demuxer, 1 << 33, &[0x27, 1, 0xff, 0xff, 0xd8, 0, 0, 0, 1, 0x41]));
        assert_eq!((Timescale::MILLIS.ticks(cut.dts), (cut.pts - cut.dts).as_millis()), (1 << 33, -40));
        // 333 333 ns behind 33 ms is a thirtieth of a second.
        let fine = frame(video(demuxer, 33, b"\xa7\x02\x05\x16\x15\x01avc1\x00\x00\x28\x00\x00\x00\x01\x41"));
        assert_eq!(Timescale::NINETY_KHZ.ticks(fine.dts), 3_000);
        assert_eq!((fine.pts - fine.dts).as_millis(), 40);
    }

    #[test]
    fn each_audio_track_has_its_number() {
        let demuxer = &mut Demuxer::new();
        assert!(matches!(&audio(demuxer, 0, &aac_header(3))[..], [Item::Track(t)] if t.id == TrackId(5)));
        assert_eq!(frame(audio(demuxer, 0, b"\x95\x01mp4a\x03\x21")).track, TrackId(5));
        assert_eq!(audio(demuxer, 0, &[0xaf, 1, 0x21]), [], "track 0 has no header");
    }

    #[test]
    fn what_is_not_carried_is_told_once_and_harms_nothing_else() {
        let demuxer = &mut Demuxer::new();
        for _ in 0..3 {
            video(demuxer, 0, b"\x90vp08\x01");
            video(demuxer, 0, b"\x91vp08\x01");
            audio(demuxer, 0, &[0x2f, 0xff]);
            audio(demuxer, 0, &aac_header(1));
        }
        assert_eq!(frame(audio(demuxer, 9_000, b"\x95\x01mp4a\x01\x21")).track, audio_track(1));
        let codecs =
            "this codec is not carried; video may be H.264, HEVC, AV1 or VP9, audio AAC, Opus, AC-3, E-AC-3 or FLAC";
        let expected = [
            format!("video track 0 (VP8) is left out: {codecs}"),
            format!("audio track 0 (MP3) is left out: {codecs}"),
        ];
        assert_eq!((left_out(demuxer), demuxer.dropped()), (expected.to_vec(), 6));
        assert_eq!(demuxer.hopeless(), None, "one track is carried");
    }

    #[test]
    fn a_bad_header_leaves_its_track_out_until_a_good_one() {
        let demuxer = &mut Demuxer::new();
        video(demuxer, 0, &avc_header());
        video(demuxer, 0, &[0x17, 0, 0, 0, 0, 2]);
        let idr = [0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65];
        assert_eq!(video(demuxer, 0, &idr), []);
        let why = "its sequence header cannot be used: avcC > configurationVersion: 2 is not supported";
        assert_eq!(left_out(demuxer), [format!("video track 0 (H.264) is left out: {why}")]);
        assert!(matches!(video(demuxer, 0, &avc_header())[..], [Item::Track(_)]));
        frame(video(demuxer, 0, &idr));
    }

    #[test]
    fn av1_in_the_form_of_mpeg_2_ts_is_refused() {
        let demuxer = &mut Demuxer::new();
        assert_eq!(video(demuxer, 0, b"\x95av01\x80"), []);
        let why = "it comes in the form of MPEG-2 TS; the encoder has to send a plain sequence header";
        assert_eq!(left_out(demuxer), [format!("video track 0 (AV1) is left out: {why}")]);
    }

    #[test]
    fn audio_tracks_have_a_limit() {
        let demuxer = &mut Demuxer::new();
        for track in 0..MAX_AUDIO as u8 {
            assert_eq!(audio(demuxer, 0, &aac_header(track)).len(), 1);
        }
        assert_eq!(audio(demuxer, 0, &aac_header(200)), []);
        assert_eq!(audio(demuxer, 0, b"\x95\x01mp4a\xc8\x21"), []);
        let why = "a live stream has no more than 8 audio tracks";
        assert_eq!(left_out(demuxer), [format!("audio track 200 (AAC) is left out: {why}")]);
    }

    #[test]
    fn memory_and_log_have_a_limit() {
        let demuxer = &mut Demuxer::new();
        for track in 0..=255 {
            audio(demuxer, 0, &[&b"\x95\x01.mp3"[..], &[track, 1]].concat());
        }
        assert_eq!((demuxer.lanes.len(), demuxer.untold.len() as u32), (MAX_LANES, MAX_TOLD));
        left_out(demuxer);
        audio(demuxer, 0, b"\x95\x01?????");
        assert_eq!(left_out(demuxer), Vec::<String>::new());
    }

    #[test]
    fn a_contribution_of_nothing_that_is_carried_is_hopeless_after_a_while() {
        let demuxer = &mut Demuxer::new();
        video(demuxer, 100, b"\x91vp08\x01");
        video(demuxer, 5_099, b"\x91vp08\x01");
        assert_eq!(demuxer.hopeless(), None);
        video(demuxer, 5_100, b"\x91vp08\x01");
        assert!(demuxer.hopeless().is_some_and(|left_out| left_out.codec.to_string() == "VP8"));
        audio(demuxer, 5_100, &[0xaf, 0, 0x11, 0x90]);
        assert_eq!(demuxer.hopeless(), None, "sound alone is something");
    }

    #[test]
    fn an_empty_opus_header_means_stereo() {
        let items = audio(&mut Demuxer::new(), 0, b"\x90Opus");
        assert!(matches!(&items[..], [Item::Track(track)] if track.codec.channels() == Some(2)));
    }
}
