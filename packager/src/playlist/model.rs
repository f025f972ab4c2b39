//! Models of playlists: values without text and without media bytes.
//!
//! The live [`Window`](crate::window::Window) makes these models, and so can an index of recorded segments.

use media::{TimeDelta, WallTime};

use crate::log::{Format, NextPart, RenditionId, Targets};

/// The kind of a media playlist: what it promises its players about changes (`EXT-X-PLAYLIST-TYPE`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlaylistKind {
    /// A sliding window over a broadcast. No type is written, because old segments leave the list.
    Live,
    /// A broadcast from its first segment on; segments are only ever appended.
    Event,
    /// A complete recording. It lists whole segments, ends with `EXT-X-ENDLIST` and is never reloaded.
    Vod,
}

/// A media playlist. `S` iterates over its [segments](SegmentInfo), oldest first; only the last one may be open.
#[derive(Clone, Debug)]
pub struct MediaPlaylist<S> {
    /// Rendition whose segments are listed.
    pub rendition: RenditionId,
    /// Live window, growing list or recording.
    pub kind: PlaylistKind,
    /// The frozen durations of the broadcast.
    pub targets: Targets,
    /// Media sequence number of the first segment.
    pub media_sequence: u64,
    /// Discontinuities before the first segment, its own not counted.
    pub discontinuity_sequence: u64,
    /// The segments.
    pub segments: S,
    /// End of the list, or its continuation. [`PlaylistKind::Vod`] always ends.
    pub tail: Tail,
}

/// A segment as a playlist lists it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentInfo<'a> {
    /// Media sequence number.
    pub msn: u64,
    /// Sum of the durations of its parts.
    pub duration: TimeDelta,
    /// Wall time of its first frame or sample.
    pub wall: WallTime,
    /// Number of the [`Init`](crate::log::Init) that it needs.
    pub init: u32,
    /// A discontinuity lies before it.
    pub discontinuity: bool,
    /// True if it has no frame (`EXT-X-GAP`).
    pub gap: bool,
    /// A decoder may start with it.
    pub independent: bool,
    /// More parts of it will come, so it is listed by its parts alone.
    pub open: bool,
    /// Parts so far. Empty if parts are never listed, as in a recording.
    pub parts: &'a [PartInfo],
}

/// A part as a playlist lists it; its position in [`SegmentInfo::parts`] is its index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartInfo {
    /// Duration of its media.
    pub duration: TimeDelta,
    /// A decoder may start with it (`INDEPENDENT=YES`).
    pub independent: bool,
    /// True if it has no frame (`GAP=YES`).
    pub gap: bool,
}

/// The end of a media playlist.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tail {
    /// The broadcast goes on.
    Open {
        /// The part to hint at (`EXT-X-PRELOAD-HINT`).
        next: NextPart,
        /// Progress of the other renditions (`EXT-X-RENDITION-REPORT`).
        reports: Vec<RenditionReport>,
    },
    /// The broadcast is over (`EXT-X-ENDLIST`).
    Ended,
}

/// Progress of another rendition. A playlist with parts reports the newest part, one without parts the newest whole
/// segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RenditionReport {
    /// The other rendition.
    pub rendition: RenditionId,
    /// Newest whole segment, if there is one.
    pub segment: Option<u64>,
    /// Segment and index of its newest part, if it has one.
    pub part: Option<(u64, u32)>,
}

/// A multivariant playlist.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MultivariantPlaylist<'a> {
    /// The renditions on offer, in the order of their numbers.
    pub renditions: Vec<RenditionInfo<'a>>,
    /// Whether the video carries closed captions.
    pub captions: bool,
}

/// A rendition as a multivariant playlist lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RenditionInfo<'a> {
    /// Number of the rendition.
    pub id: RenditionId,
    /// Format of its newest [`Init`](crate::log::Init).
    pub format: &'a Format,
    /// The `CODECS` parameters of the segments that are listed, newest first: more than one after a change of codec
    /// header.
    pub codecs: Vec<&'a str>,
    /// Peak segment bit rate (rfc8216bis §4.4.6.2), in bits per second.
    pub peak_bandwidth: u64,
    /// `BANDWIDTH`: the peak with headroom for what is to come, in bits per second.
    pub bandwidth: u64,
    /// `AVERAGE-BANDWIDTH`, in bits per second.
    pub average_bandwidth: u64,
    /// Frames per thousand seconds; `None` for audio and until it is measured.
    pub millihertz: Option<u32>,
}
