//! Faults in an encoder's media that are repaired, or lead to dropped frames, without ending its contribution.
//!
//! Each crate on a frame's path reports what it repairs or drops as a [`FaultReport`]. The binary counts the reports,
//! and writes one log line and one warning event for each kind, so that nothing is dropped silently.

use crate::track::TrackId;

/// Kind of a fault. The kinds are few and stable, because they are labels of a metric and types of a warning event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fault {
    /// Several messages carry one access unit; they are joined.
    SplitAccessUnit,
    /// NAL units have start codes where FLV has lengths; they are converted.
    StartCodes,
    /// AAC frames carry ADTS headers inside FLV; the headers are removed.
    AdtsHeaders,
    /// Viewers could not play a track, or it is one too many; the track is dropped.
    TrackLeftOut,
    /// Frames are damaged or cannot be decoded; they are dropped.
    DamagedFrames,
    /// A stream's headers contradict its bytes, as a wrong `PES_packet_length` does; the bytes count.
    WrongHeaders,
    /// Frames come before their parameter sets or before the first key frame; they are dropped.
    FramesBeforeKeyFrame,
    /// Timestamps do not advance, or repeat; frames are spaced at their usual rate.
    StalledTimestamps,
    /// Timestamps jump; the track continues at the live edge.
    TimestampJump,
    /// Audio and video that arrive together have timestamps seconds apart; they are aligned by their arrival.
    TracksApart,
    /// Media arrives for a time for which viewers already got other media; it is dropped.
    BacklogDropped,
    /// Media is missing; the gap is filled or signalled.
    MissingMedia,
    /// A track of the programme is missing from this contribution; silence or the last frame replaces it.
    MissingTrack,
    /// A decoder fails repeatedly; the track is dropped.
    DecoderFailed,
    /// The server decodes more slowly than frames arrive; frames are dropped up to the next key frame.
    DecodingBehind,
    /// The codec header changes between key frames; the change waits for the next key frame.
    HeaderChange,
}

impl Fault {
    /// Every kind, in the order of the metric.
    pub const ALL: [Self; 16] = [
        Self::SplitAccessUnit,
        Self::StartCodes,
        Self::AdtsHeaders,
        Self::TrackLeftOut,
        Self::DamagedFrames,
        Self::WrongHeaders,
        Self::FramesBeforeKeyFrame,
        Self::StalledTimestamps,
        Self::TimestampJump,
        Self::TracksApart,
        Self::BacklogDropped,
        Self::MissingMedia,
        Self::MissingTrack,
        Self::DecoderFailed,
        Self::DecodingBehind,
        Self::HeaderChange,
    ];

    /// Returns the name of the kind in metrics and events: lower case with underscores.
    pub const fn label(self) -> &'static str {
        match self {
            Self::SplitAccessUnit => "split_access_unit",
            Self::StartCodes => "start_codes",
            Self::AdtsHeaders => "adts_headers",
            Self::TrackLeftOut => "track_left_out",
            Self::DamagedFrames => "damaged_frames",
            Self::WrongHeaders => "wrong_headers",
            Self::FramesBeforeKeyFrame => "frames_before_key_frame",
            Self::StalledTimestamps => "stalled_timestamps",
            Self::TimestampJump => "timestamp_jump",
            Self::TracksApart => "tracks_apart",
            Self::BacklogDropped => "backlog_dropped",
            Self::MissingMedia => "missing_media",
            Self::MissingTrack => "missing_track",
            Self::DecoderFailed => "decoder_failed",
            Self::DecodingBehind => "decoding_behind",
            Self::HeaderChange => "header_change",
        }
    }

    /// Returns what happened, what Weir did about it, and what the streamer can do.
    pub const fn message(self) -> &'static str {
        match self {
            Self::SplitAccessUnit => {
                "The encoder sends one frame as several messages: they were joined. Each message should hold a whole \
                 frame."
            }
            Self::StartCodes => {
                "The encoder sends NAL units with start codes instead of lengths: they were converted. FLV needs \
                 lengths."
            }
            Self::AdtsHeaders => {
                "The encoder sends AAC with ADTS headers: they were removed. FLV needs raw AAC frames."
            }
            Self::TrackLeftOut => {
                "A track was left out because viewers could not play it. The server's log names the track and the \
                 reason."
            }
            Self::DamagedFrames => {
                "Frames were dropped because they are damaged or cannot be decoded. Check the encoder and the network."
            }
            Self::WrongHeaders => {
                "The encoder's headers contradict what it sends: the headers were ignored. Update the encoder or its \
                 muxer."
            }
            Self::FramesBeforeKeyFrame => {
                "Frames were dropped because nothing can be decoded before the first key frame. Set a key frame \
                 interval of 2 s."
            }
            Self::StalledTimestamps => {
                "The encoder's timestamps do not advance, or repeat: frames were spaced at their usual rate. Check \
                 the encoder's clock."
            }
            Self::TimestampJump => {
                "The encoder's timestamps jumped: the programme continued at the live edge. Check the encoder's clock."
            }
            Self::TracksApart => {
                "Audio and video that arrive together have timestamps seconds apart: they were aligned by their \
                 arrival. Check the encoder's clock and the delay of its audio."
            }
            Self::BacklogDropped => {
                "Media arrived too late to be played and was dropped, so that viewers stay near live. Check the \
                 encoder's network."
            }
            Self::MissingMedia => "Media is missing from the stream. Check the encoder and its network.",
            Self::MissingTrack => {
                "The encoder reconnected without a track that the broadcast has: silence or a freeze frame replaces it."
            }
            Self::DecoderFailed => {
                "A track was left out because its decoder fails repeatedly. Check the encoder's settings."
            }
            Self::DecodingBehind => {
                "Frames were dropped because the server cannot decode them as fast as they arrive. Lower the \
                 resolution, or give the server more CPU."
            }
            Self::HeaderChange => {
                "The encoder changed its codec parameters between key frames: the change takes effect at the next \
                 key frame."
            }
        }
    }
}

/// Report of a [`Fault`] that was repaired, or because of which something was dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultReport {
    /// Kind of the fault.
    pub fault: Fault,
    /// The track, if the fault concerns one track.
    pub track: Option<TrackId>,
    /// Number of occurrences since the last report: frames, messages or jumps, depending on the kind.
    pub count: u64,
    /// Details for the log: which codec, which numbers. Contains no secret and no unescaped bytes from outside.
    pub detail: Option<Box<str>>,
}

impl FaultReport {
    /// Creates a report of one occurrence.
    pub const fn new(fault: Fault, track: Option<TrackId>) -> Self {
        Self { fault, track, count: 1, detail: None }
    }

    /// Adds details for the log.
    pub fn with_detail(self, detail: impl Into<Box<str>>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// Sets the number of occurrences.
    pub fn times(self, count: u64) -> Self {
        Self { count, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_distinct_and_fit_prometheus() {
        let mut labels: Vec<_> = Fault::ALL.iter().map(|fault| fault.label()).collect();
        assert!(labels.iter().all(|label| label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Fault::ALL.len());
    }
}
