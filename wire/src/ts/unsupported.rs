//! Unsupported streams of a transport stream, and reasons why it yields no frames, in words for people.

use std::fmt;

use media::codec::HeaderError;

use super::Stats;

/// A stream of the programme that is not supported. The rest of the programme is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream with PID {pid} ({codec}) is left out: {reason}")]
pub struct Unsupported {
    /// PID of the stream.
    pub pid: u16,
    /// Codec as declared in the programme map.
    pub codec: StreamType,
    /// Reason why the stream is unsupported.
    pub reason: Reason,
}

/// Reason why a stream is unsupported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Weir does not know the codec.
    #[error("this codec is not carried; video may be H.264 or HEVC, audio AAC, AC-3, E-AC-3 or Opus")]
    NotCarried,
    /// A live stream has only one video track.
    #[error("a live stream has one video track, and another one came first")]
    SecondVideo,
    /// The stream exceeds the number of tracks, or its PID is invalid.
    #[error("a live stream has no place for it")]
    NoPlace,
}

/// Type of a stream in a programme map, with its registration if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamType {
    /// Number of ISO/IEC 13818-1, table 2-34.
    pub number: u8,
    /// Format identifier of the registration descriptor.
    pub registration: Option<[u8; 4]>,
}

impl fmt::Display for StreamType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match (self.number, self.registration.as_ref()) {
            (0x01, _) => "MPEG-1 video",
            (0x02, _) => "MPEG-2 video",
            (0x03, _) => "MPEG-1 audio, as MP2 or MP3",
            (0x04, _) => "MPEG-2 audio",
            (0x0f, _) => "AAC",
            (0x10, _) => "MPEG-4 Part 2 video",
            (0x11, _) => "AAC in LATM",
            (0x15, _) => "metadata",
            (0x1b, _) => "H.264",
            (0x21, _) => "JPEG 2000",
            (0x24, _) => "HEVC",
            (0x33, _) => "VVC",
            (0x82 | 0x85 | 0x8a, _) => "DTS",
            (0x86, _) => "SCTE-35",
            (0xd1, _) => "Dirac",
            (0xea, _) => "VC-1",
            (0x06, Some(b"AV01")) => "AV1",
            (0x06, Some(b"BSSD")) => "SMPTE 302M audio",
            (0x06, Some(b"Opus")) => "Opus with its own channel mapping",
            (0x06, Some(b"KLVA")) => "KLV metadata",
            (number, Some(registration)) => {
                // Bytes from outside are escaped before they go into logs.
                return write!(f, "type {number:#04x}, `{}`", registration.escape_ascii());
            }
            (0x06, None) => "private data, as subtitles or teletext",
            (number, None) => return write!(f, "type {number:#04x}"),
        };
        f.write_str(name)
    }
}

/// Reason why a transport stream yields no frames.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoFramesReason {
    /// No packets were found.
    #[error("what it sends is no MPEG transport stream")]
    NoPackets,
    /// There is no programme association table, or none in force.
    #[error("its transport stream has no programme: there is no PAT")]
    NoProgramme,
    /// There is no programme map.
    #[error("its transport stream has no programme: there is no PMT")]
    NoMap,
    /// The programme has neither video nor audio.
    #[error("its programme names neither video nor audio")]
    NoStreams,
    /// All streams of the programme are unsupported; this is one of them.
    #[error("{0}")]
    NotCarried(Unsupported),
    /// The payloads are encrypted in the transport stream.
    #[error("its transport stream is scrambled: send it in the clear, SRT encrypts by itself")]
    Scrambled,
    /// There are access units, but no parameter sets.
    #[error("its video comes without parameter sets: let the encoder repeat them at each keyframe")]
    NoParameterSets,
    /// The audio is in an unsupported form.
    #[error("its audio cannot be carried: {0}")]
    Unusable(HeaderError),
    /// There are access units, but they are damaged or have no timestamps.
    #[error("its frames are damaged or have no timestamps")]
    Damaged,
    /// The streams of the programme carry no data.
    #[error("its programme names video or audio, but no frame of it comes")]
    NoFrames,
}

/// State of the tables.
pub(super) struct Tables {
    pub(super) association: bool,
    pub(super) map: bool,
    /// Whether a stream of video or audio is followed.
    pub(super) followed: bool,
    pub(super) unsupported: Option<Unsupported>,
    /// Reason why a followed stream cannot be used.
    pub(super) unusable: Option<HeaderError>,
}

impl NoFramesReason {
    /// Returns the outermost reason. Called when no frame has been output.
    pub(super) fn find(stats: &Stats, tables: &Tables) -> Self {
        match (tables, stats) {
            (_, Stats { packets: 0, .. }) => Self::NoPackets,
            (Tables { association: false, .. }, _) => Self::NoProgramme,
            (Tables { map: false, .. }, _) => Self::NoMap,
            (Tables { followed: false, unsupported: Some(unsupported), .. }, _) => Self::NotCarried(*unsupported),
            (Tables { followed: false, unsupported: None, .. }, _) => Self::NoStreams,
            (_, Stats { scrambled_packets: 1.., .. }) => Self::Scrambled,
            (_, Stats { early: 1.., .. }) => Self::NoParameterSets,
            (Tables { unusable: Some(error), .. }, _) => Self::Unusable(error.clone()),
            (_, Stats { dropped: 1.., .. }) => Self::Damaged,
            _ => Self::NoFrames,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_names_and_hostile_ones_stay_printable() {
        let name = |number, registration| StreamType { number, registration }.to_string();
        assert_eq!(name(2, None), "MPEG-2 video");
        assert_eq!(name(6, Some(*b"BSSD")), "SMPTE 302M audio");
        assert_eq!(name(6, Some(*b"a\n\x1b\xff")), "type 0x06, `a\\n\\x1b\\xff`");
        assert_eq!(name(0xfe, None), "type 0xfe");
    }

    #[test]
    fn the_outermost_reason_is_returned() {
        let stats = Stats { packets: 9, early: 1, dropped: 1, ..Stats::default() };
        let codec = StreamType { number: 2, registration: None };
        let unsupported = Unsupported { pid: 256, codec, reason: Reason::NotCarried };
        let tables = |association, map, followed| Tables {
            association,
            map,
            followed,
            unsupported: Some(unsupported),
            unusable: None,
        };
        assert_eq!(NoFramesReason::find(&Stats::default(), &tables(true, true, true)), NoFramesReason::NoPackets);
        assert_eq!(NoFramesReason::find(&stats, &tables(false, false, false)), NoFramesReason::NoProgramme);
        assert_eq!(NoFramesReason::find(&stats, &tables(true, false, false)), NoFramesReason::NoMap);
        assert_eq!(NoFramesReason::find(&stats, &tables(true, true, false)), NoFramesReason::NotCarried(unsupported));
        assert_eq!(NoFramesReason::find(&stats, &tables(true, true, true)), NoFramesReason::NoParameterSets);
        let damaged = Stats { early: 0, ..stats };
        assert_eq!(NoFramesReason::find(&damaged, &tables(true, true, true)), NoFramesReason::Damaged);
    }
}
