//! The one place that knows all codecs: the properties of a track, whatever its codec.

use bytes::Bytes;

use super::{Colour, HeaderError, VideoRange, aac, ac3, av1, avc, flac, hevc, opus, vp9};
use crate::frame::Access;
use crate::time::{TimeDelta, Timescale};
use crate::track::Kind;

/// Beginning of a message with captions: ITU-T T.35 of the United States, ATSC, `GA94`, `cc_data` (ATSC A/53 part 4
/// §6.2.3).
const CAPTIONS: &[u8] = b"\xb5\x00\x31GA94\x03";

/// Samples of an audio frame that does not declare its length: those of an AAC frame.
const USUAL_SAMPLES: u32 = 1_024;

/// The codec of a track with its out-of-band header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CodecConfig {
    /// H.264.
    Avc(avc::Config),
    /// HEVC, H.265.
    Hevc(hevc::Config),
    /// AV1.
    Av1(av1::Config),
    /// VP9.
    Vp9(vp9::Config),
    /// MPEG-4 AAC.
    Aac(aac::Config),
    /// Opus.
    Opus(opus::Config),
    /// AC-3.
    Ac3(ac3::Config),
    /// Enhanced AC-3.
    Eac3(ac3::EnhancedConfig),
    /// FLAC.
    Flac(flac::Config),
}

impl CodecConfig {
    /// Returns the kind of the track.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Avc(_) | Self::Hevc(_) | Self::Av1(_) | Self::Vp9(_) => Kind::Video,
            Self::Aac(_) | Self::Opus(_) | Self::Ac3(_) | Self::Eac3(_) | Self::Flac(_) => Kind::Audio,
        }
    }

    /// Returns the usual name of the codec, for people.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Avc(_) => "H.264",
            Self::Hevc(_) => "HEVC",
            Self::Av1(_) => "AV1",
            Self::Vp9(_) => "VP9",
            Self::Aac(_) => "AAC",
            Self::Opus(_) => "Opus",
            Self::Ac3(_) => "AC-3",
            Self::Eac3(_) => "E-AC-3",
            Self::Flac(_) => "FLAC",
        }
    }

    /// Returns the codec parameter of RFC 6381: `avc1.64001F`, `hvc1.1.6.L93.B0`, `mp4a.40.2`.
    pub fn codec_string(&self) -> String {
        match self {
            Self::Avc(avc) => avc.codec_string(),
            Self::Hevc(hevc) => hevc.codec_string(),
            Self::Av1(av1) => av1.codec_string(),
            Self::Vp9(vp9) => vp9.codec_string(),
            Self::Aac(aac) => aac.codec_string(),
            Self::Opus(_) => "Opus".to_owned(),
            Self::Ac3(_) => "ac-3".to_owned(),
            Self::Eac3(_) => "ec-3".to_owned(),
            Self::Flac(_) => "fLaC".to_owned(),
        }
    }

    /// Returns the decoder's configuration for the codec's own box, without the version and flags of a full box:
    /// `avcC`, `hvcC`, `av1C`, `vpcC`, `dOps`, `dac3`, `dec3`, `dfLa`; for AAC the AudioSpecificConfig of `esds`.
    pub const fn record(&self) -> &Bytes {
        match self {
            Self::Avc(avc) => &avc.record,
            Self::Hevc(hevc) => &hevc.record,
            Self::Av1(av1) => &av1.record,
            Self::Vp9(vp9) => &vp9.record,
            Self::Aac(aac) => &aac.raw,
            Self::Opus(opus) => &opus.record,
            Self::Ac3(ac3) => &ac3.record,
            Self::Eac3(eac3) => &eac3.record,
            Self::Flac(flac) => &flac.record,
        }
    }

    /// Returns the timescale of the track in MP4: [`Timescale::NINETY_KHZ`] for video, the sample rate for audio.
    pub const fn timescale(&self) -> Timescale {
        match self.sample_rate() {
            Some(rate) => Timescale::new(rate),
            None => Timescale::NINETY_KHZ,
        }
    }

    /// Returns width and height of the decoded frames. VP9 declares them in key frames only, see [`vp9::Config::size`].
    pub const fn resolution(&self) -> Option<(u32, u32)> {
        match self {
            Self::Avc(avc) => Some((avc.sps.width, avc.sps.height)),
            Self::Hevc(hevc) => Some((hevc.sps.width, hevc.sps.height)),
            Self::Av1(av1) => Some((av1.sequence.width, av1.sequence.height)),
            Self::Vp9(vp9) => vp9.size,
            _ => None,
        }
    }

    /// Returns the aspect ratio of a pixel as (width, height), if the header declares one.
    pub const fn pixel_aspect(&self) -> Option<(u16, u16)> {
        match self {
            Self::Avc(avc) => avc.sps.pixel_aspect,
            Self::Hevc(hevc) => hevc.sps.pixel_aspect,
            _ => None,
        }
    }

    /// Returns the frame size with square pixels, at the height of [`CodecConfig::resolution`].
    pub fn display_size(&self) -> Option<(u32, u32)> {
        let (width, height) = self.resolution()?;
        let (h, v) = self.pixel_aspect().unwrap_or((1, 1));
        let (h, v) = (u64::from(h.max(1)), u64::from(v.max(1)));
        let width = (u64::from(width) * h + v / 2) / v;
        Some((u32::try_from(width).unwrap_or(u32::MAX), height))
    }

    /// Returns the frame rate as (frames, seconds), if the header declares one. Encoders get it wrong, so it is only a
    /// hint.
    pub const fn frame_rate(&self) -> Option<(u32, u32)> {
        match self {
            Self::Avc(avc) => avc.sps.frame_rate,
            Self::Hevc(hevc) => hevc.sps.frame_rate,
            Self::Av1(av1) => av1.sequence.frame_rate,
            _ => None,
        }
    }

    /// Returns the duration of a frame by the claimed [`CodecConfig::frame_rate`]; `None` if the header claims none.
    pub fn frame_duration(&self) -> Option<TimeDelta> {
        let (frames, seconds) = self.frame_rate().filter(|(frames, _)| *frames > 0)?;
        Some(Timescale::new(frames).delta(seconds.into()))
    }

    /// Returns the [`Colour`] description of video, if the header has one.
    pub const fn colour(&self) -> Option<Colour> {
        match self {
            Self::Avc(avc) => avc.sps.colour,
            Self::Hevc(hevc) => hevc.sps.colour,
            Self::Av1(av1) => av1.sequence.colour,
            Self::Vp9(vp9) => Some(vp9.colour),
            _ => None,
        }
    }

    /// Returns the [`VideoRange`] of video; `None` for audio.
    pub fn video_range(&self) -> Option<VideoRange> {
        (self.kind() == Kind::Video).then(|| self.colour().unwrap_or(Colour::UNSPECIFIED).video_range())
    }

    /// Returns the samples per second of audio ([`CodecConfig::timescale`]), which is also the rate of its timestamps.
    pub const fn sample_rate(&self) -> Option<u32> {
        match self {
            Self::Aac(aac) => Some(aac.sample_rate),
            Self::Opus(_) => Some(opus::SAMPLE_RATE),
            Self::Ac3(ac3) => Some(ac3.sample_rate),
            Self::Eac3(eac3) => Some(eac3.sample_rate),
            Self::Flac(flac) => Some(flac.sample_rate),
            _ => None,
        }
    }

    /// Returns the number of audio channels, the low-frequency one included; `None` if only the frames declare it.
    pub fn channels(&self) -> Option<u8> {
        let channels = match self {
            Self::Aac(aac) => aac.channels,
            Self::Opus(opus) => opus.channels,
            Self::Ac3(ac3) => ac3.channels,
            Self::Eac3(eac3) => eac3.channels,
            Self::Flac(flac) => flac.channels,
            _ => 0,
        };
        (channels > 0).then_some(channels)
    }

    /// Returns the samples per channel in each frame, if all frames have the same number; see
    /// [`CodecConfig::packet_samples`].
    pub const fn samples_per_frame(&self) -> Option<u32> {
        match self {
            Self::Aac(aac) => Some(aac.samples_per_frame),
            Self::Ac3(_) => Some(ac3::SAMPLES_PER_FRAME),
            Self::Eac3(eac3) => Some(eac3.samples_per_frame),
            Self::Flac(flac) => flac.samples_per_frame,
            _ => None,
        }
    }

    /// Returns the samples per channel in a packet of audio; read from the packet if the codec lets them vary.
    pub fn packet_samples(&self, packet: &[u8]) -> Option<u32> {
        match self {
            Self::Opus(_) => opus::packet_samples(packet),
            Self::Eac3(_) => ac3::packet_samples(packet),
            Self::Flac(flac) => flac.samples_per_frame.or_else(|| flac::packet_samples(packet)),
            _ => self.samples_per_frame(),
        }
    }

    /// Returns [`CodecConfig::packet_samples`], or [`CodecConfig::samples_per_frame`], or 1 024 if neither is known.
    pub fn packet_samples_or_usual(&self, packet: &[u8]) -> u32 {
        let samples = self.packet_samples(packet).or(self.samples_per_frame());
        samples.filter(|samples| *samples > 0).unwrap_or(USUAL_SAMPLES)
    }

    /// Returns false for a sample that yields no output: an empty one, or parameter sets without a slice.
    pub fn has_content(&self, sample: &[u8]) -> bool {
        match self {
            Self::Avc(avc) => avc.nal_units(sample).filter_map(avc::nal_type).any(avc::is_vcl),
            Self::Hevc(hevc) => hevc.nal_units(sample).filter_map(hevc::nal_type).any(hevc::is_vcl),
            _ => !sample.is_empty(),
        }
    }

    /// Returns whether a sample has closed captions, CEA-608 or CEA-708, in the form of ATSC A/53 part 4.
    pub fn carries_captions(&self, sample: &[u8]) -> bool {
        let has_captions = |message: &[u8]| message.windows(CAPTIONS.len()).any(|bytes| bytes == CAPTIONS);
        match self {
            Self::Avc(avc) => {
                let ahead = avc.nal_units(sample).take_while(|nal| !avc::nal_type(nal).is_some_and(avc::is_vcl));
                ahead.filter(|nal| avc::nal_type(nal) == Some(avc::NAL_SEI)).any(has_captions)
            }
            Self::Hevc(hevc) => {
                let ahead = hevc.nal_units(sample).take_while(|nal| !hevc::nal_type(nal).is_some_and(hevc::is_vcl));
                ahead.filter(|nal| hevc::nal_type(nal) == Some(hevc::NAL_PREFIX_SEI)).any(has_captions)
            }
            Self::Av1(_) => {
                av1::obus(sample).filter(|obu| obu.kind == av1::OBU_METADATA).any(|obu| has_captions(obu.body))
            }
            _ => false,
        }
    }

    /// Returns whether decoding may start at `sample`, by its content, regardless of the transport's flags.
    pub fn access(&self, sample: &[u8]) -> Access {
        match self {
            Self::Avc(avc) => avc.access(sample),
            Self::Hevc(hevc) => hevc.access(sample),
            Self::Av1(av1) => av1.access(sample),
            Self::Vp9(_) => Access::independent_if(vp9::FrameHeader::parse(sample).is_ok_and(|frame| frame.key)),
            _ => Access::Independent,
        }
    }

    /// Returns the parameter sets of the header as NAL units of a sample; empty if the codec has none.
    pub fn parameter_set_units(&self) -> Vec<u8> {
        let (sets, size) = match self {
            Self::Avc(avc) => {
                let (sps, pps) = avc.parameter_sets();
                ([sps, pps].concat(), avc.length_size)
            }
            Self::Hevc(hevc) => {
                let hevc::ParameterSets { vps, sps, pps, .. } = hevc.parameter_sets();
                ([vps, sps, pps].concat(), hevc.length_size)
            }
            _ => (Vec::new(), 0),
        };
        let mut units = Vec::new();
        for set in sets {
            // A record has lengths of 16 bits. If the samples have 8, sets that do not fit are omitted.
            let length = (set.len() as u32).to_be_bytes();
            let (high, low) = length.split_at(length.len() - usize::from(size.min(4)));
            if high.iter().all(|byte| *byte == 0) {
                units.extend_from_slice(low);
                units.extend_from_slice(&set);
            }
        }
        units
    }

    /// Returns the header with the changes in `sample` (parameter sets, a sequence header, the size of a key frame);
    /// `None` if there are none.
    pub fn changed_by(&self, sample: &[u8]) -> Result<Option<Self>, HeaderError> {
        Ok(match self {
            Self::Avc(avc) => avc.changed_by(sample)?.map(Self::Avc),
            Self::Hevc(hevc) => hevc.changed_by(sample)?.map(Self::Hevc),
            Self::Av1(av1) => av1.changed_by(sample)?.map(Self::Av1),
            Self::Vp9(vp9) => vp9.changed_by(sample).map(Self::Vp9),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::testing::{hex, sample};

    fn hevc() -> CodecConfig {
        let set = |digits| [hex(digits)];
        let vps = set("40010c01ffff2408000003009d08000003000096959809");
        let sps = set("42010124080000 03009d08000003000096b002d08010e596566924e578735091209040000003004000000642");
        CodecConfig::Hevc(hevc::Config::from_parameter_sets(&vps, &sps, &set("4401c172b46240")).unwrap())
    }

    #[test]
    fn video_has_a_size_and_a_range() {
        let video = hevc();
        assert_eq!((video.kind(), video.timescale()), (Kind::Video, Timescale::NINETY_KHZ));
        assert_eq!((video.resolution(), video.display_size()), (Some((1_440, 1_080)), Some((1_920, 1_080))));
        assert_eq!((video.frame_rate(), video.video_range()), (Some((25, 1)), Some(VideoRange::Hlg)));
        assert_eq!((video.channels(), video.samples_per_frame(), video.sample_rate()), (None, None, None));
        assert_eq!(video.codec_string(), "hvc1.4.10.H150.9D.8");
        assert_eq!(video.access(&sample(&[&[0x28, 1, 0xaf]])), Access::Independent);
    }

    #[test]
    fn captions_are_found_before_the_slices() {
        let video = hevc();
        let message = [&[78, 1, 4, 12][..], CAPTIONS, &[0x41, 0xff, 0x80]].concat();
        let (slice, other) = ([0x28, 1, 0xaf], [78, 1, 4, 5, 0xb5, 0, 0x31, 0x47, 0x80]);
        assert!(video.carries_captions(&sample(&[&other, &message, &slice])));
        assert!(!video.carries_captions(&sample(&[&other, &slice, &message])));
        assert!(!video.carries_captions(&sample(&[&slice])) && !video.carries_captions(&[]));
        // The same in AV1, as a metadata OBU with its size.
        let obu = [&[0x2a, 12, 4][..], CAPTIONS, &[0x41, 0xff, 0x80]].concat();
        let av1 = CodecConfig::Av1(av1::Config::parse(hex("81010c000a0c0200000d2627fb3805f00080")).unwrap());
        assert!(av1.carries_captions(&obu) && !av1.carries_captions(&obu[..10]));
    }

    #[test]
    fn audio_has_channels_and_a_rate() {
        let opus = CodecConfig::Opus(opus::Config::new(6).unwrap());
        assert_eq!((opus.kind(), opus.timescale().ticks_per_second(), opus.channels()), (Kind::Audio, 48_000, Some(6)));
        assert_eq!((opus.samples_per_frame(), opus.packet_samples(&[0xfc])), (None, Some(960)));
        assert_eq!((opus.codec_string().as_str(), opus.video_range(), opus.display_size()), ("Opus", None, None));
        let aac = CodecConfig::Aac(aac::Config::new(2, 44_100, 2).unwrap());
        assert_eq!((aac.samples_per_frame(), aac.packet_samples(&[])), (Some(1_024), Some(1_024)));
        assert_eq!((aac.timescale().ticks_per_second(), aac.access(&[])), (44_100, Access::Independent));
        assert_eq!(aac.changed_by(&[]), Ok(None));
        let ac3 = CodecConfig::Ac3(ac3::Config::from_frame(&hex("0b771e8b1c40ebf8403e")).unwrap());
        assert_eq!(
            (ac3.codec_string().as_str(), ac3.channels(), ac3.packet_samples(&[])),
            ("ac-3", Some(6), Some(1_536))
        );
    }
}
