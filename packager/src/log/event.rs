//! The events of the packaged log.

use std::sync::Arc;

use bytes::Bytes;
use media::id::BroadcastId;
use media::{Kind, Language, LatencyMode, TimeDelta, Timestamp, VideoRange, WallTime};

use super::{Payload, RenditionStats};

/// Playlists list this much, unless [`LISTED_TARGETS`] target durations are more.
const LISTED: TimeDelta = TimeDelta::from_secs(30);
/// Least number of target durations that playlists list (rfc8216bis §6.2.2).
const LISTED_TARGETS: i64 = 3;

/// Numbers a rendition within a broadcast, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RenditionId(pub u32);

impl RenditionId {
    /// The video that decides where segments begin: the encoder's own, or the ladder's reference rendition.
    pub const VIDEO: Self = Self(0);
    /// The first audio rendition. It has this number also in a broadcast without video.
    pub const AUDIO: Self = Self(1);
    /// Most audio renditions of a broadcast; they are numbered one after another.
    pub const MAX_AUDIO: u32 = 8;
    /// Most dependent renditions: other encodings of the video of [`RenditionId::VIDEO`], numbered after the audio
    /// ones.
    pub const MAX_DEPENDENT_VIDEO: u32 = 8;
    const FIRST_DEPENDENT: u32 = Self::AUDIO.0 + Self::MAX_AUDIO;

    /// The `n`th audio rendition, from 0; `None` beyond [`RenditionId::MAX_AUDIO`].
    pub fn audio(n: usize) -> Option<Self> {
        u32::try_from(n).ok().filter(|n| *n < Self::MAX_AUDIO).map(|n| Self(Self::AUDIO.0 + n))
    }

    /// The `n`th dependent rendition, from 0; `None` beyond [`RenditionId::MAX_DEPENDENT_VIDEO`].
    pub fn dependent_video(n: u32) -> Option<Self> {
        (n < Self::MAX_DEPENDENT_VIDEO).then_some(Self(Self::FIRST_DEPENDENT + n))
    }

    /// Whether it is video whose segment boundaries are those of [`RenditionId::VIDEO`].
    pub const fn is_dependent_video(self) -> bool {
        self.0 >= Self::FIRST_DEPENDENT && self.0 < Self::FIRST_DEPENDENT + Self::MAX_DEPENDENT_VIDEO
    }

    /// Whether it is audio.
    pub const fn is_audio(self) -> bool {
        self.0 >= Self::AUDIO.0 && self.0 < Self::AUDIO.0 + Self::MAX_AUDIO
    }
}

/// One step of a broadcast.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The first event of a broadcast.
    Start {
        /// The broadcast, as media URLs name it.
        broadcast: BroadcastId,
        /// Aim of its segments and parts.
        mode: LatencyMode,
        /// Wall time of the start.
        started_at: WallTime,
    },
    /// The durations that hold for the whole broadcast. Comes once, before the first [`Event::Segment`].
    Targets(Targets),
    /// An init section (`ftyp` + `moov`), which the following parts of its rendition refer to. The first one of a
    /// rendition announces the rendition.
    Init(Arc<Init>),
    /// A closed part. A broadcast without parts has one for each segment, which is all of it.
    Part(Arc<Part>),
    /// A segment was closed; its bytes are those of its parts, one after another.
    Segment(SegmentEnd),
    /// Names the part that comes next if it is not the one after the newest, because the segment ends with the newest
    /// part but its end is not published yet. Valid until the next part or segment end of the rendition, or another
    /// [`Event::Next`].
    Next(NextPart),
    /// A dependent rendition was shed: no new player is to be sent to it. It continues with gaps, and its next part
    /// with frames offers it again.
    Withdrawn(RenditionId),
    /// Closed captions were seen in the video for the first time.
    Captions,
    /// The broadcast is over; no event follows.
    End,
}

/// The frozen durations of a broadcast (rfc8216bis §4.4.3.1, §4.4.3.7, §4.4.3.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Targets {
    /// `EXT-X-TARGETDURATION`, in seconds.
    pub segment_secs: u32,
    /// `PART-TARGET`, if parts are offered.
    pub part: Option<TimeDelta>,
    /// Duration of a video part, if audio parts end where video parts do.
    pub part_grid: Option<TimeDelta>,
    /// Longest stall of the media that a player of parts must survive with its buffer.
    pub max_stall: TimeDelta,
}

impl Targets {
    /// Duration of the segments that a live playlist lists: 30 s, or three target durations if they are longer.
    pub fn listed(&self) -> TimeDelta {
        LISTED.max(TimeDelta::from_secs(i64::from(self.segment_secs) * LISTED_TARGETS))
    }
}

/// An init section and the format of the media that needs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Init {
    /// Rendition that it belongs to.
    pub rendition: RenditionId,
    /// Counts the init sections of the rendition, from 0; a part of its URL.
    pub number: u32,
    /// `ftyp` + `moov`.
    pub bytes: Bytes,
    /// Content of the rendition from here on.
    pub format: Format,
}

/// The part that a rendition has in its broadcast.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RenditionRole {
    /// Video that decides where segments begin.
    Reference,
    /// Another encoding of the same video, with the same segment boundaries.
    Dependent,
    /// Audio.
    Audio,
}

/// Content of a rendition, as multivariant playlists describe it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Format {
    /// Video or audio.
    pub kind: Kind,
    /// Role among the renditions of the broadcast.
    pub role: RenditionRole,
    /// The `CODECS` parameter (RFC 6381).
    pub codec: String,
    /// Visible width and height in square pixels; video only.
    pub resolution: Option<(u32, u32)>,
    /// Dynamic range; video only.
    pub range: Option<VideoRange>,
    /// Channels; audio only.
    pub channels: Option<u8>,
    /// Spoken language, if the contribution signals it.
    pub language: Option<Language>,
    /// Number of the track in the contribution that announced it. Of several, the lowest is the main one, whichever was
    /// announced first.
    pub place: u32,
    /// Number of the encoding among several of the same audio: 0 for the best, the others are for slower links.
    pub tier: u8,
}

impl Format {
    /// A format of which only kind and codec are known. Video is the reference rendition.
    pub fn new(kind: Kind, codec: impl Into<String>) -> Self {
        let role = match kind {
            Kind::Video => RenditionRole::Reference,
            Kind::Audio => RenditionRole::Audio,
        };
        let codec = codec.into();
        Self { kind, role, codec, resolution: None, range: None, channels: None, language: None, place: 0, tier: 0 }
    }
}

/// A closed part: one `moof` and its `mdat`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// Rendition that it belongs to.
    pub rendition: RenditionId,
    /// Media sequence number of its segment.
    pub msn: u64,
    /// Position in the segment, from 0.
    pub index: u32,
    /// Number of the [`Init`] that it needs.
    pub init: u32,
    /// Start on the programme's timeline, in decode order: its `tfdt`.
    pub start: Timestamp,
    /// Duration on the programme's timeline.
    pub duration: TimeDelta,
    /// Whether a decoder may start here: it begins with an IDR frame or is audio. An open GOP does not count, because
    /// some of its frames need earlier ones.
    pub independent: bool,
    /// Whether a discontinuity of the programme lies before it. True only for the first part of a segment.
    pub discontinuity: bool,
    /// Discontinuities of the broadcast before its segment, the segment's own not counted. Set by
    /// [`LogWriter::append`](super::LogWriter::append).
    pub discontinuity_sequence: u64,
    /// Wall time of its first frame or sample.
    pub wall: WallTime,
    /// Frames in it; 0 if the rendition has a gap (`EXT-X-GAP`) while the others continue.
    pub frames: u32,
    /// The `moof` and the `mdat`.
    pub data: Payload,
}

/// The end of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentEnd {
    /// Rendition that it belongs to.
    pub rendition: RenditionId,
    /// Media sequence number of the segment.
    pub msn: u64,
    /// The sum of the durations of its parts.
    pub duration: TimeDelta,
    /// The highest steady frame rate in it, in frames per thousand seconds. `None` for audio, and if no rate lasted.
    pub millihertz: Option<u32>,
    /// The first segment of the rendition that live playlists list from here on. Set, like the fields below, by
    /// [`LogWriter::append`](super::LogWriter::append).
    pub first_listed: u64,
    /// Whether players may start from here on.
    pub playable: bool,
    /// Totals of the rendition up to here.
    pub stats: RenditionStats,
}

impl SegmentEnd {
    /// The end of a segment without a frame rate, to be completed by [`LogWriter::append`](super::LogWriter::append).
    pub fn new(rendition: RenditionId, msn: u64, duration: TimeDelta) -> Self {
        let stats = RenditionStats::default();
        Self { rendition, msn, duration, millihertz: None, first_listed: 0, playable: false, stats }
    }
}

/// A part that is about to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NextPart {
    /// Rendition that it belongs to.
    pub rendition: RenditionId,
    /// Media sequence number of its segment.
    pub msn: u64,
    /// Position in the segment, from 0.
    pub index: u32,
}
