//! From FLV tags to tracks and frames.

use bytes::Bytes;
use media::codec::av1;
use media::{Fault, FaultReport, Frame, Kind, TimeDelta, Timescale, Track, TrackId};

use super::joiner::Stamp;
use super::lane::{Lane, LeftOut, Output, Reason};
use super::{Body, Codec, Packet, Tag};
use crate::Item;

/// The track of all video tags.
pub const VIDEO_TRACK: TrackId = TrackId(1);
/// Audio tracks carried; those beyond are left out.
const MAX_AUDIO: usize = 8;
/// Tracks kept in mind; what is said of those beyond is dropped.
const MAX_LANES: usize = 64;
/// Reasons reported; those beyond are kept back, so that no encoder fills the log.
const MAX_TOLD: u32 = 32;
/// Items that wait behind a first picture; with more the picture is taken to be whole.
const MAX_BEHIND: usize = 64;
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
    told: u32,
    last_told: Option<LeftOut>,
    /// Time of the first tag and of the last.
    span: Option<(i64, i64)>,
    /// What came behind a first picture that waits: it keeps its place. [`MAX_BEHIND`] bounds it.
    behind: Vec<Item>,
}

impl Demuxer {
    /// A demuxer that has seen no header yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next tag and gives what it means: tracks, frames, and what was repaired or dropped. A header that says
    /// nothing new means nothing. A frame before its header, an empty one or one of a track that is left out is dropped and
    /// counted. Pictures that are spread over several tags are given when the next one begins.
    pub fn push(&mut self, tag: Tag) -> impl Iterator<Item = Item> + use<> {
        let Tag { millis, packet } = tag;
        self.span = Some((self.span.map_or(millis, |(first, _)| first), millis));
        let is_frame = matches!(packet.body, Body::Frame { .. });
        let (kind, track, codec) = (packet.kind, packet.track, packet.codec);
        let (mut out, mut items) = (Vec::new(), Vec::new());
        let taken = self.packet(millis, packet, &mut out);
        let taken = self.give((kind, track), out, &mut items).and(taken);
        if let Err(reason) = taken {
            self.dropped += u64::from(is_frame);
            self.tell(LeftOut { kind, track, codec, reason }, &mut items);
        }
        self.in_order(items).into_iter()
    }

    /// The items in the order in which they came: a first picture that waits for the next message holds up what came behind.
    fn in_order(&mut self, mut items: Vec<Item>) -> Vec<Item> {
        if self.lanes.iter().any(Lane::is_undecided) {
            self.behind.append(&mut items);
            if self.behind.len() <= MAX_BEHIND {
                return Vec::new();
            }
            self.lanes.iter_mut().for_each(Lane::decide);
            return self.finish().collect();
        }
        if !self.behind.is_empty() {
            // The picture is the first that this message gives.
            let frame = items.iter().position(|item| matches!(item, Item::Frame(_)));
            let at = frame.map_or(0, |at| at + 1);
            items.splice(at..at, self.behind.drain(..));
        }
        items
    }

    /// The stream ends here: gives the pictures that waited for more of them.
    pub fn finish(&mut self) -> impl Iterator<Item = Item> + use<> {
        let mut items = Vec::new();
        for n in 0..self.lanes.len() {
            let Some(lane) = self.lanes.get_mut(n) else { continue };
            let (name, mut out) = ((lane.kind, lane.number), Vec::new());
            lane.flush(&mut out);
            // Of a track that is left out nothing waits.
            let _ = self.give(name, out, &mut items);
        }
        items.append(&mut self.behind);
        items.into_iter()
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

    /// Hands a packet to its track.
    fn packet(&mut self, millis: i64, packet: Packet, out: &mut Vec<Output>) -> Result<(), Reason> {
        let Packet { kind, track: number, codec, nanos, body } = packet;
        let Some(lane) = self.lane(kind, number) else { return Ok(()) };
        match body {
            Body::Header(header) => lane.header(codec, &header, out),
            Body::TransportHeader => Err(lane.transport_header(codec)),
            Body::Frame { composition_ms, payload } => {
                let dts = Timescale::MILLIS.timestamp(millis) + NANOS.delta(nanos.into());
                let stamp = Stamp { dts, pts: dts + TimeDelta::from_millis(composition_ms.into()) };
                lane.frame(codec, stamp, sample(codec, payload), out)
            }
        }
    }

    /// Makes items of what came of a track.
    fn give(&mut self, (kind, number): (Kind, u8), out: Vec<Output>, items: &mut Vec<Item>) -> Result<(), Reason> {
        let id = if kind == Kind::Video { VIDEO_TRACK } else { audio_track(number) };
        let report = |fault, detail: &str| {
            let report = FaultReport::new(fault, Some(id));
            Item::Fault(if detail.is_empty() { report } else { report.with_detail(detail) })
        };
        let mut refused = Ok(());
        for output in out {
            match output {
                Output::Config(config) => match self.admit(kind, number) {
                    Ok(()) => items.push(Item::Track(Track::new(id, config))),
                    Err(reason) => refused = Err(reason),
                },
                Output::Frame(Stamp { dts, pts }, access, payload) if self.is_admitted(kind, number) => {
                    items.push(Item::Frame(Frame { track: id, dts, pts, access, payload }));
                }
                // Counted with the reason, if this is the first.
                Output::Frame(..) => self.dropped += u64::from(refused.is_ok()),
                Output::Expected if number == 0 => items.push(Item::VideoExpected),
                Output::Expected => {}
                Output::Repaired(fault, detail) => items.push(report(fault, detail)),
                Output::Dropped(why) => {
                    self.dropped += 1;
                    items.extend(why.map(|(fault, detail)| report(fault, detail)));
                }
            }
        }
        refused
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

    /// Reports why a track is left out, unless that was told.
    fn tell(&mut self, left_out: LeftOut, items: &mut Vec<Item>) {
        if self.told == MAX_TOLD {
            return;
        }
        let Some(lane) = self.lane(left_out.kind, left_out.track) else { return };
        if lane.is_told(&left_out) {
            return;
        }
        self.told += 1;
        let id = if left_out.kind == Kind::Video { VIDEO_TRACK } else { audio_track(left_out.track) };
        items.push(Item::Fault(FaultReport::new(Fault::TrackLeftOut, Some(id)).with_detail(left_out.to_string())));
        self.last_told = Some(left_out);
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

    /// A demuxer, and what it reported.
    #[derive(Default)]
    struct Tested {
        demuxer: Demuxer,
        left_out: Vec<String>,
    }

    impl std::ops::Deref for Tested {
        type Target = Demuxer;

        fn deref(&self) -> &Demuxer {
            &self.demuxer
        }
    }

    /// Feeds one body of which no more comes; gives the tracks and frames.
    fn push(tested: &mut Tested, kind: Kind, millis: i64, bytes: &[u8]) -> Vec<Item> {
        let mut items = Vec::new();
        let body = Bytes::copy_from_slice(bytes);
        read(kind, &body, |packet| items.extend(tested.demuxer.push(Tag { millis, packet }))).unwrap();
        items.extend(tested.demuxer.finish());
        for report in items.extract_if(.., |item| !matches!(item, Item::Track(_) | Item::Frame(_))) {
            if let Item::Fault(FaultReport { fault: Fault::TrackLeftOut, detail, .. }) = report {
                tested.left_out.extend(detail.map(String::from));
            }
        }
        items
    }

    fn video(demuxer: &mut Tested, millis: i64, bytes: &[u8]) -> Vec<Item> {
        push(demuxer, Kind::Video, millis, bytes)
    }

    fn audio(demuxer: &mut Tested, millis: i64, bytes: &[u8]) -> Vec<Item> {
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

    fn left_out(tested: &mut Tested) -> Vec<String> {
        std::mem::take(&mut tested.left_out)
    }

    #[test]
    fn a_header_makes_a_track_once() {
        let demuxer = &mut Tested::default();
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
        let demuxer = &mut Tested::default();
        assert_eq!(video(demuxer, 0, &[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65]), []);
        assert_eq!(audio(demuxer, 0, &[0xaf, 1, 0x21]), []);
        video(demuxer, 0, &avc_header());
        assert_eq!(audio(demuxer, 0, &[0xaf, 1, 0x21]), [], "the header of the other track does not count");
        assert_eq!(video(demuxer, 0, &[0x17, 1, 0, 0, 0]), [], "an empty frame");
        assert_eq!((demuxer.dropped(), left_out(demuxer)), (4, vec![]));
    }

    #[test]
    fn parameter_sets_without_a_slice_go_with_the_next_picture() {
        let demuxer = &mut Tested::default();
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
        let demuxer = &mut Tested::default();
        video(demuxer, 0, &avc_header());
        let mut key = |flag: u8, nal: u8| {
            frame(video(demuxer, 40, &[flag, 1, 0, 0, 80, 0, 0, 0, 1, nal])).access.is_independent()
        };
        assert_eq!([key(0x17, 0x65), key(0x27, 0x65), key(0x17, 0x41)], [true, true, false]);
    }

    #[test]
    fn presentation_is_decoding_and_composition_time() {
        let demuxer = &mut Tested::default();
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
        let demuxer = &mut Tested::default();
        assert!(matches!(&audio(demuxer, 0, &aac_header(3))[..], [Item::Track(t)] if t.id == TrackId(5)));
        assert_eq!(frame(audio(demuxer, 0, b"\x95\x01mp4a\x03\x21")).track, TrackId(5));
        assert_eq!(audio(demuxer, 0, &[0xaf, 1, 0x21]), [], "track 0 has no header");
    }

    #[test]
    fn what_is_not_carried_is_told_once_and_harms_nothing_else() {
        let demuxer = &mut Tested::default();
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
        let demuxer = &mut Tested::default();
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
        let demuxer = &mut Tested::default();
        assert_eq!(video(demuxer, 0, b"\x95av01\x80"), []);
        let why = "it comes in the form of MPEG-2 TS; the encoder has to send a plain sequence header";
        assert_eq!(left_out(demuxer), [format!("video track 0 (AV1) is left out: {why}")]);
    }

    #[test]
    fn audio_tracks_have_a_limit() {
        let demuxer = &mut Tested::default();
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
        let demuxer = &mut Tested::default();
        for track in 0..=255 {
            audio(demuxer, 0, &[&b"\x95\x01.mp3"[..], &[track, 1]].concat());
        }
        assert_eq!((demuxer.lanes.len(), demuxer.told), (MAX_LANES, MAX_TOLD));
        assert_eq!(left_out(demuxer).len(), MAX_TOLD as usize);
        audio(demuxer, 0, b"\x95\x01?????");
        assert_eq!(left_out(demuxer), Vec::<String>::new());
    }

    #[test]
    fn a_contribution_of_nothing_that_is_carried_is_hopeless_after_a_while() {
        let demuxer = &mut Tested::default();
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
        let items = audio(&mut Tested::default(), 0, b"\x90Opus");
        assert!(matches!(&items[..], [Item::Track(track)] if track.codec.channels() == Some(2)));
    }
}
