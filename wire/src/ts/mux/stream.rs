//! Streams of a programme, as its map lists them.

use media::{CodecConfig, Language, MetadataKind, Track};

use super::error::MuxError;
use super::packets::Pid;
use super::pes;
use super::wrapping::Wrapping;

/// A track with what its frames need.
#[derive(Clone, Debug)]
pub(super) struct TrackStream {
    /// The track as it was added, with changes of its header since.
    pub(super) track: Track,
    /// Form of its frames.
    pub(super) wrapping: Wrapping,
}

/// Content of a [`Stream`].
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Video or audio.
    Track(Box<TrackStream>),
    /// Timed metadata.
    Metadata(MetadataKind),
}

/// A stream of the programme.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    /// PID with its counter.
    pub(super) pid: Pid,
    /// Content of the stream.
    pub(super) source: Source,
    /// Whether the next packet is the first after a discontinuity.
    pub(super) discontinuity: bool,
}

impl TrackStream {
    /// Creates the stream of a track; an error if its codec has no form.
    pub(super) fn new(track: &Track) -> Result<Self, MuxError> {
        Ok(Self { wrapping: Wrapping::new(&track.codec)?, track: track.clone() })
    }

    /// Returns the `stream_id` of its PES packets.
    pub(super) const fn stream_id(&self) -> u8 {
        match self.track.codec {
            CodecConfig::Avc(_) | CodecConfig::Hevc(_) => pes::VIDEO,
            CodecConfig::Aac(_) => pes::AUDIO,
            _ => pes::PRIVATE,
        }
    }

    /// Adopts the header that the parameter sets of a frame make, so that they are repeated at random access points.
    /// Returns whether it changed.
    pub(super) fn adopt(&mut self, sample: &[u8]) -> bool {
        // Invalid parameter sets are written as they are, and do not last.
        let Ok(Some(config)) = self.track.codec.changed_by(sample) else { return false };
        let Ok(wrapping) = Wrapping::new(&config) else { return false };
        (self.track.codec, self.wrapping) = (config, wrapping);
        true
    }
}

impl Stream {
    /// Creates a stream of which nothing has been written.
    pub(super) const fn new(pid: Pid, source: Source) -> Self {
        Self { pid, source, discontinuity: false }
    }

    /// Returns whether the stream is timed metadata of `kind`.
    pub(super) fn is_metadata(&self, kind: MetadataKind) -> bool {
        matches!(self.source, Source::Metadata(other) if other == kind)
    }

    /// Returns the track, if the stream is one.
    pub(super) const fn track(&self) -> Option<&TrackStream> {
        match &self.source {
            Source::Track(track) => Some(track),
            Source::Metadata(_) => None,
        }
    }

    /// Returns the `stream_type` (ISO/IEC 13818-1 table 2-34, ATSC A/52 annex A, SCTE 35 §8).
    pub(super) const fn stream_type(&self) -> u8 {
        match &self.source {
            Source::Track(stream) => match stream.track.codec {
                CodecConfig::Avc(_) => 0x1b,
                CodecConfig::Hevc(_) => 0x24,
                CodecConfig::Aac(_) => 0x0f,
                CodecConfig::Ac3(_) => 0x81,
                CodecConfig::Eac3(_) => 0x87,
                // Private data in PES packets, which the descriptors identify.
                _ => 0x06,
            },
            Source::Metadata(MetadataKind::Id3) => 0x15,
            Source::Metadata(MetadataKind::Scte35) => 0x86,
        }
    }

    /// Appends the descriptors of the stream.
    pub(super) fn put_descriptors(&self, out: &mut Vec<u8>) {
        match &self.source {
            Source::Track(stream) => {
                match &stream.track.codec {
                    CodecConfig::Ac3(_) => put_registration(b"AC-3", out),
                    CodecConfig::Eac3(_) => put_registration(b"EAC3", out),
                    CodecConfig::Opus(opus) => {
                        put_registration(b"Opus", out);
                        // An extension descriptor with the channel_config_code (the opus-in-ts draft).
                        out.extend([0x7f, 2, 0x80, opus.channels]);
                    }
                    _ => {}
                }
                if let Some(language) = stream.track.language {
                    put_language(language, out);
                }
            }
            // A metadata_descriptor (ISO/IEC 13818-1 §2.6.60): both formats are ID3, service 0, no configuration.
            Source::Metadata(MetadataKind::Id3) => {
                out.extend([0x26, 13, 0xff, 0xff]);
                out.extend_from_slice(b"ID3 \xffID3 ");
                out.extend([0, 0x0f]);
            }
            Source::Metadata(MetadataKind::Scte35) => {}
        }
    }

    /// Appends the descriptors that the stream's presence adds to its programme.
    pub(super) fn put_programme_descriptors(&self, programme: u16, out: &mut Vec<u8>) {
        match self.source {
            Source::Track(_) => {}
            // A metadata_pointer_descriptor (ISO/IEC 13818-1 §2.6.58): in this transport stream, in that programme.
            Source::Metadata(MetadataKind::Id3) => {
                out.extend([0x25, 15, 0xff, 0xff]);
                out.extend_from_slice(b"ID3 \xffID3 ");
                out.extend([0, 0x1f]);
                out.extend(programme.to_be_bytes());
            }
            Source::Metadata(MetadataKind::Scte35) => put_registration(b"CUEI", out),
        }
    }
}

/// Appends a registration_descriptor (ISO/IEC 13818-1 §2.6.8).
fn put_registration(format: &[u8; 4], out: &mut Vec<u8>) {
    out.extend([0x05, 4]);
    out.extend_from_slice(format);
}

/// Appends an ISO_639_language_descriptor (ISO/IEC 13818-1 §2.6.18), with an undefined audio type.
fn put_language(language: Language, out: &mut Vec<u8>) {
    out.extend([0x0a, 4]);
    out.extend_from_slice(language.as_str().as_bytes());
    out.push(0);
}
