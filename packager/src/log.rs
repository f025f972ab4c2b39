//! The packaged log: what the packager publishes of a broadcast, in order, for its readers to fold.
//!
//! One writer, many readers, append only. Nothing published ever changes: the bytes named by (rendition, media
//! sequence number, part) or (rendition, init number) are the same for ever.

use std::sync::Arc;

use bytes::Bytes;
use media::{Kind, Language, TimeDelta, Timestamp, VideoRange, WallTime};

/// Numbers a rendition within a broadcast, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RenditionId(pub u32);

impl RenditionId {
    /// The pictures that decide where segments begin: the encoder's own, or the ladder's leader.
    pub const VIDEO: Self = Self(0);
    /// The first sound as it came from the encoder; has this number also where there are no pictures.
    pub const AUDIO: Self = Self(1);
    /// Audio renditions of a broadcast at the most; they are numbered one after another.
    pub const MAX_AUDIO: u32 = 8;
    /// Rungs at the most: renditions of the same pictures besides [`RenditionId::VIDEO`], numbered behind the audio ones.
    pub const MAX_DEPENDENT_VIDEO: u32 = 8;
    const FIRST_RUNG: u32 = Self::AUDIO.0 + Self::MAX_AUDIO;

    /// The `n`th audio rendition, from 0; none beyond [`RenditionId::MAX_AUDIO`].
    pub fn audio(n: usize) -> Option<Self> {
        u32::try_from(n).ok().filter(|n| *n < Self::MAX_AUDIO).map(|n| Self(Self::AUDIO.0 + n))
    }

    /// The `n`th rung, from 0; none beyond [`RenditionId::MAX_DEPENDENT_VIDEO`].
    pub fn dependent_video(n: u32) -> Option<Self> {
        (n < Self::MAX_DEPENDENT_VIDEO).then_some(Self(Self::FIRST_RUNG + n))
    }

    /// True if it is pictures that are cut where [`RenditionId::VIDEO`] was.
    pub const fn is_dependent_video(self) -> bool {
        self.0 >= Self::FIRST_RUNG && self.0 < Self::FIRST_RUNG + Self::MAX_DEPENDENT_VIDEO
    }

    /// True if it is sound.
    pub const fn is_audio(self) -> bool {
        self.0 >= Self::AUDIO.0 && self.0 < Self::AUDIO.0 + Self::MAX_AUDIO
    }
}

/// One step of a broadcast's packaged log.
#[derive(Clone, Debug)]
pub enum Event {
    /// The durations that hold for the whole broadcast; comes once, before the first [`Event::Segment`].
    Targets(Targets),
    /// An init section (`ftyp` + `moov`); the parts that follow in this rendition refer to it. The first one of a
    /// rendition announces the rendition.
    Init(Arc<Init>),
    /// A part was closed. A broadcast without parts still gets one for each segment: the whole of it.
    Part(Arc<Part>),
    /// A segment was closed; its bytes are those of its parts, one after another.
    Segment(SegmentEnd),
    /// Names the part that comes next where that is not the one after the newest: the segment ends with the newest one, but
    /// its end is not told yet. Holds until the next part or segment end of the rendition, or another [`Event::Next`].
    Next(NextPart),
    /// A rung was shed: nobody new is to be sent to it. It goes on with gaps, and its next part with frames offers it anew.
    Withdrawn(RenditionId),
    /// Closed captions were seen in the pictures for the first time.
    Captions,
    /// The broadcast is over; nothing follows.
    End,
}

/// The frozen durations of a broadcast (rfc8216bis §4.4.3.1, §4.4.3.7, §4.4.3.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Targets {
    /// `EXT-X-TARGETDURATION`, in seconds.
    pub segment_secs: u32,
    /// `PART-TARGET`, where parts are offered.
    pub part: Option<TimeDelta>,
    /// How long the media may pause without a player of parts running dry.
    pub pause: TimeDelta,
}

/// An init section and what a playlist says of the media behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Init {
    /// The rendition it begins.
    pub rendition: RenditionId,
    /// Counts the init sections of the rendition, from 0; a part of its URL.
    pub number: u32,
    /// `ftyp` + `moov`.
    pub bytes: Bytes,
    /// What it describes.
    pub format: Format,
}

/// What a multivariant playlist says of a rendition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Format {
    /// Pictures or sound.
    pub kind: Kind,
    /// The `CODECS` parameter (RFC 6381).
    pub codec: String,
    /// Visible width and height in pixels, with pixels made square; video only.
    pub resolution: Option<(u32, u32)>,
    /// How bright it may get; video only.
    pub range: Option<VideoRange>,
    /// Channels; audio only.
    pub channels: Option<u8>,
    /// What is spoken, where the contribution says.
    pub language: Option<Language>,
    /// The number of its track in the contribution that announced it: of several, the lowest is the main one, whichever
    /// came first.
    pub place: u32,
    /// Of several encodings of the same sound, 0 for the best; the others are for links that carry less.
    pub tier: u8,
}

impl Format {
    /// A format that says nothing but its codec.
    pub fn new(kind: Kind, codec: impl Into<String>) -> Self {
        let codec = codec.into();
        Self { kind, codec, resolution: None, range: None, channels: None, language: None, place: 0, tier: 0 }
    }
}

/// A closed part: one `moof` and its `mdat`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// Its rendition.
    pub rendition: RenditionId,
    /// Media sequence number of its segment.
    pub msn: u64,
    /// Its place in the segment, from 0.
    pub index: u32,
    /// The init section it needs.
    pub init: u32,
    /// Where it begins on the programme's timeline, in decode order: its `tfdt`.
    pub start: Timestamp,
    /// How long it lasts.
    pub duration: TimeDelta,
    /// It begins with an IDR picture or is audio, so a decoder may start here. An open GOP does not count: some of its
    /// pictures need earlier ones.
    pub independent: bool,
    /// A break of the programme lies before this part; only ever on the first part of a segment.
    pub discontinuity: bool,
    /// Wall time of its first picture or sample.
    pub wall: WallTime,
    /// Frames in it; none where the rendition has a gap (`EXT-X-GAP`) while the others go on.
    pub frames: u32,
    /// Its bytes.
    pub data: Payload,
}

/// The end of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentEnd {
    /// Its rendition.
    pub rendition: RenditionId,
    /// Its media sequence number.
    pub msn: u64,
    /// The sum of its parts' durations.
    pub duration: TimeDelta,
    /// The highest rate that frames came at steadily, in frames per thousand seconds. `None` for audio, and where no rate
    /// lasted.
    pub millihertz: Option<u32>,
}

/// A part that is about to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NextPart {
    /// Its rendition.
    pub rendition: RenditionId,
    /// Media sequence number of its segment.
    pub msn: u64,
    /// Its place in the segment, from 0.
    pub index: u32,
}

/// Bytes in pieces: boxes written fresh between frame payloads that are shared with the contribution they came from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Payload {
    pieces: Arc<[Bytes]>,
    len: u64,
}

impl Payload {
    /// The pieces one after another.
    pub fn new(pieces: impl Into<Arc<[Bytes]>>) -> Self {
        let pieces = pieces.into();
        let len = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pieces, len }
    }

    /// The pieces, in order.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// Bytes in all.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// True if there is no byte.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}
