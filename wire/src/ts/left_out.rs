//! What of a transport stream is not carried, and what stands in the way where nothing is: words for people.

use std::fmt;

use media::codec::HeaderError;

use super::Stats;

/// A stream of the programme that is not carried; the rest of the programme is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream with PID {pid} ({codec}) is left out: {reason}")]
pub struct LeftOut {
    /// Its packets' identifier.
    pub pid: u16,
    /// How it is coded, as the programme's map says.
    pub codec: StreamType,
    /// Why it is left out.
    pub reason: Reason,
}

/// Why a stream is not carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Nothing in Weir knows the codec.
    #[error("this codec is not carried; video may be H.264 or HEVC, audio AAC, AC-3, E-AC-3 or Opus")]
    NotCarried,
    /// A live stream has one video track.
    #[error("a live stream has one video track, and another one came first")]
    SecondVideo,
    /// More streams than a live stream has tracks, or one that the tables cannot mean.
    #[error("a live stream has no place for it")]
    NoPlace,
}

/// The type of a stream in a programme's map, with its registration where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamType {
    /// The number of ISO/IEC 13818-1, table 2-34.
    pub number: u8,
    /// The format identifier of its registration descriptor.
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
                // Bytes from outside go into logs as plain characters only.
                return write!(f, "type {number:#04x}, `{}`", registration.escape_ascii());
            }
            (0x06, None) => "private data, as subtitles or teletext",
            (number, None) => return write!(f, "type {number:#04x}"),
        };
        f.write_str(name)
    }
}

/// Why no frame has come out of a transport stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// No packets can be made out.
    #[error("what it sends is no MPEG transport stream")]
    NoPackets,
    /// There is no programme association table, or none in force.
    #[error("its transport stream has no programme: there is no PAT")]
    NoProgramme,
    /// There is no programme map.
    #[error("its transport stream has no programme: there is no PMT")]
    NoMap,
    /// The programme has no pictures and no sound at all.
    #[error("its programme names neither video nor audio")]
    NoStreams,
    /// The programme has only streams that are not carried; one of them.
    #[error("{0}")]
    NotCarried(LeftOut),
    /// The payloads are encrypted in the transport stream.
    #[error("its transport stream is scrambled: send it in the clear, SRT encrypts by itself")]
    Scrambled,
    /// Access units come, but no parameter sets.
    #[error("its video comes without parameter sets: let the encoder repeat them at each keyframe")]
    NoParameterSets,
    /// Audio comes in a form that cannot be carried.
    #[error("its audio cannot be carried: {0}")]
    Unusable(HeaderError),
    /// Access units come, but they are damaged or have no time.
    #[error("its frames are damaged or have no timestamps")]
    Damaged,
    /// Nothing comes for the streams that the programme names.
    #[error("its programme names video or audio, but no frame of it comes")]
    NoFrames,
}

/// What is known of the tables.
pub(super) struct Tables {
    pub(super) association: bool,
    pub(super) map: bool,
    /// A stream with pictures or sound is followed.
    pub(super) followed: bool,
    pub(super) left_out: Option<LeftOut>,
    /// Why a stream that is followed is of no use.
    pub(super) unusable: Option<HeaderError>,
}

impl Obstacle {
    /// Goes from the outside in; asked when no frame has come.
    pub(super) fn find(stats: &Stats, tables: &Tables) -> Self {
        match (tables, stats) {
            (_, Stats { packets: 0, .. }) => Self::NoPackets,
            (Tables { association: false, .. }, _) => Self::NoProgramme,
            (Tables { map: false, .. }, _) => Self::NoMap,
            (Tables { followed: false, left_out: Some(left_out), .. }, _) => Self::NotCarried(*left_out),
            (Tables { followed: false, left_out: None, .. }, _) => Self::NoStreams,
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
    fn the_outermost_obstacle_is_the_one_told() {
        let stats = Stats { packets: 9, early: 1, dropped: 1, ..Stats::default() };
        let codec = StreamType { number: 2, registration: None };
        let left_out = LeftOut { pid: 256, codec, reason: Reason::NotCarried };
        let tables = |association, map, followed| Tables {
            association,
            map,
            followed,
            left_out: Some(left_out),
            unusable: None,
        };
        assert_eq!(Obstacle::find(&Stats::default(), &tables(true, true, true)), Obstacle::NoPackets);
        assert_eq!(Obstacle::find(&stats, &tables(false, false, false)), Obstacle::NoProgramme);
        assert_eq!(Obstacle::find(&stats, &tables(true, false, false)), Obstacle::NoMap);
        assert_eq!(Obstacle::find(&stats, &tables(true, true, false)), Obstacle::NotCarried(left_out));
        assert_eq!(Obstacle::find(&stats, &tables(true, true, true)), Obstacle::NoParameterSets);
        let damaged = Stats { early: 0, ..stats };
        assert_eq!(Obstacle::find(&damaged, &tables(true, true, true)), Obstacle::Damaged);
    }
}
