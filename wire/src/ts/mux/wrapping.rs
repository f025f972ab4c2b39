//! What surrounds the payload of a frame in its PES packet: Annex B start codes and parameter sets, ADTS headers, control
//! headers of Opus.

use bytes::Bytes;
use media::codec::{aac, hevc, nal, opus};
use media::{CodecConfig, Frame};

use super::error::MuxError;
use crate::annexb::{Codec, Role};

/// Start code with the zero byte that the first NAL units of an access unit need (ITU-T H.264 and H.265 annex B).
const START_CODE: &[u8] = &[0, 0, 0, 1];
/// Access unit delimiters, with their start codes, for frames of any kind.
const AVC_DELIMITER: &[u8] = &[0, 0, 0, 1, 0x09, 0xf0];
const HEVC_DELIMITER: &[u8] = &[0, 0, 0, 1, 0x46, 0x01, 0x50];
/// Most bytes of a raw AAC frame: the length in its header has 13 bits and counts the 7 bytes of the header.
const MAX_AAC: usize = 0x1fff - 7;

/// Form in which a stream holds the payloads of its frames.
#[derive(Clone, Debug)]
pub(super) enum Wrapping {
    /// NAL units after start codes.
    AnnexB {
        /// Standard of the NAL units.
        codec: Codec,
        /// Bytes of a length prefix in the frames.
        length_size: u8,
        /// Parameter sets of the header, which precede each random access point.
        sets: Vec<Bytes>,
    },
    /// Raw AAC frames after ADTS headers.
    Adts(aac::Config),
    /// Opus packets after control headers.
    Opus,
    /// Frames as they are.
    Plain,
}

impl Wrapping {
    /// Creates the form for a codec; an error if MPEG-TS has none.
    pub(super) fn new(config: &CodecConfig) -> Result<Self, MuxError> {
        let codec = config.name();
        match config {
            CodecConfig::Avc(avc) => {
                let (sps, pps) = avc.parameter_sets();
                Ok(Self::AnnexB { codec: Codec::Avc, length_size: avc.length_size, sets: [sps, pps].concat() })
            }
            CodecConfig::Hevc(config) => {
                let hevc::ParameterSets { vps, sps, pps, .. } = config.parameter_sets();
                let sets = [vps, sps, pps].concat();
                Ok(Self::AnnexB { codec: Codec::Hevc, length_size: config.length_size, sets })
            }
            CodecConfig::Aac(aac) if aac.adts_header(0).is_some() => Ok(Self::Adts(aac.clone())),
            CodecConfig::Aac(_) => Err(MuxError::Form { codec, form: "a configuration that no ADTS header expresses" }),
            CodecConfig::Opus(opus) if has_usual_mapping(opus) => Ok(Self::Opus),
            CodecConfig::Opus(_) => Err(MuxError::Form { codec, form: "a custom channel mapping" }),
            CodecConfig::Ac3(_) | CodecConfig::Eac3(_) => Ok(Self::Plain),
            CodecConfig::Av1(_) | CodecConfig::Vp9(_) | CodecConfig::Flac(_) => Err(MuxError::Codec { codec }),
        }
    }

    /// Returns whether the stream is video.
    pub(super) const fn is_video(&self) -> bool {
        matches!(self, Self::AnnexB { .. })
    }

    /// Passes the bytes of a frame's PES payload to `put`, in pieces. With `sets`, the parameter sets of the header come
    /// before the frame's own NAL units, which may replace them.
    pub(super) fn pieces(&self, frame: &Frame, sets: bool, put: &mut impl FnMut(&[u8])) -> Result<(), MuxError> {
        match self {
            Self::AnnexB { codec, length_size, sets: known } => {
                let known = if sets { known.as_slice() } else { &[] };
                annex_b(*codec, nal::units(&frame.payload, *length_size), known, put);
            }
            Self::Adts(config) => {
                // `new` has checked the form, so only the length can be wrong.
                let too_long = MuxError::TooLong { len: frame.payload.len(), limit: MAX_AAC };
                put(&config.adts_header(frame.payload.len()).ok_or(too_long)?);
                put(&frame.payload);
            }
            Self::Opus => {
                opus_control(frame.payload.len(), put);
                put(&frame.payload);
            }
            Self::Plain => put(&frame.payload),
        }
        Ok(())
    }
}

/// Passes an access unit in Annex B to `put`. Delimiters of the frame are replaced by one of its own, and NAL units that
/// are among the `sets` do not follow a second time.
fn annex_b<'a>(codec: Codec, nals: impl Iterator<Item = &'a [u8]>, sets: &'a [Bytes], put: &mut impl FnMut(&[u8])) {
    put(match codec {
        Codec::Avc => AVC_DELIMITER,
        Codec::Hevc => HEVC_DELIMITER,
    });
    let frame = nals
        .filter(|nal| !nal.is_empty() && codec.role(nal) != Role::Delimiter && !sets.iter().any(|set| *set == **nal));
    for nal in sets.iter().map(|set| &set[..]).chain(frame) {
        put(START_CODE);
        put(nal);
    }
}

/// Passes the control header of an Opus packet of `len` bytes to `put` (the opus-in-ts draft): a prefix of 11 bits, flags
/// that are all zero because nothing is trimmed, and the size as a sum of bytes.
fn opus_control(len: usize, put: &mut impl FnMut(&[u8])) {
    put(&[0x7f, 0xe0]);
    (0..len / 255).for_each(|_| put(&[0xff]));
    put(&[(len % 255) as u8]);
}

/// Returns whether the channels are mapped as the `channel_config_code` with their number means.
fn has_usual_mapping(config: &opus::Config) -> bool {
    // Family and mapping, after the channels, the pre-skip, the rate and the gain.
    let mapping = |config: &opus::Config| config.record.get(10..).map(<[u8]>::to_vec);
    opus::Config::new(config.channels).is_ok_and(|usual| mapping(&usual) == mapping(config))
}

#[cfg(test)]
mod tests {
    use media::{Access, Timestamp, TrackId};

    use super::*;

    fn wrapped(wrapping: &Wrapping, sets: bool, payload: &[u8]) -> Vec<u8> {
        let (dts, payload) = (Timestamp::ZERO, Bytes::copy_from_slice(payload));
        let frame = Frame { track: TrackId(1), dts, pts: dts, access: Access::Independent, payload };
        let mut out = Vec::new();
        wrapping.pieces(&frame, sets, &mut |piece| out.extend_from_slice(piece)).expect("it fits");
        out
    }

    #[test]
    fn nal_units_get_start_codes_whatever_their_prefixes() {
        let set = Bytes::from_static(&[0x67, 1]);
        for (length_size, payload) in [
            (1, &[2, 9, 0xf0, 2, 0x67, 1, 0, 3, 0x65, 0x88, 5][..]),
            (2, &[0, 2, 9, 0xf0, 0, 2, 0x67, 1, 0, 0, 0, 3, 0x65, 0x88, 5]),
            (4, &[0, 0, 0, 2, 9, 0xf0, 0, 0, 0, 2, 0x67, 1, 0, 0, 0, 0, 0, 0, 0, 3, 0x65, 0x88, 5]),
        ] {
            let avc = Wrapping::AnnexB { codec: Codec::Avc, length_size, sets: vec![set.clone()] };
            let expected = [AVC_DELIMITER, START_CODE, &set, START_CODE, &[0x65, 0x88, 5]].concat();
            assert_eq!(wrapped(&avc, true, payload), expected);
            assert_eq!(wrapped(&avc, false, payload), expected, "a set of the frame itself stays");
        }
        let hevc = Wrapping::AnnexB { codec: Codec::Hevc, length_size: 1, sets: vec![set] };
        let expected = [HEVC_DELIMITER, START_CODE, &[0x02, 1, 0x80]].concat();
        assert_eq!(wrapped(&hevc, false, &[3, 0x46, 1, 0x50, 3, 0x02, 1, 0x80]), expected);
    }

    #[test]
    fn control_headers_of_opus_have_the_size() {
        for (len, head) in [(1, &[0x7f, 0xe0, 1][..]), (254, &[0x7f, 0xe0, 254]), (255, &[0x7f, 0xe0, 255, 0])] {
            let payload = vec![0xfc; len];
            assert_eq!(wrapped(&Wrapping::Opus, false, &payload), [head, &payload].concat());
        }
    }
}
