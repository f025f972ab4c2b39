//! ADTS headers (ISO/IEC 14496-3 §1.A.3.2).

use super::Config;
use crate::bits::BitReader;
use crate::codec::HeaderError;

/// Bytes of a header without a checksum.
const HEAD: usize = 7;
/// Most bytes of a frame with its header: a field of 13 bits.
const MAX_FRAME: usize = 0x1fff;

/// The header of an ADTS frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Adts {
    /// Audio object type of the core: 1 to 4.
    pub object_type: u8,
    /// Sampling frequency of the core decoder, in hertz.
    pub sample_rate: u32,
    /// `channel_configuration`; 0 if a program config element in the frame defines the channels.
    pub channel_configuration: u8,
    /// Bytes of the header, including a checksum.
    pub head: usize,
    /// Bytes of the whole frame.
    pub size: usize,
    /// Raw data blocks of 1 024 samples in the frame.
    pub blocks: u8,
}

impl Adts {
    /// Parses the header at the beginning of `frame`, which may be incomplete.
    pub fn parse(frame: &[u8]) -> Result<Self, HeaderError> {
        let mut r = BitReader::new(frame);
        let sync = r.bits(12, "adts > syncword")?;
        if sync != 0xfff {
            return Err(HeaderError::Range { place: "adts > syncword", value: sync.into() });
        }
        r.skip(1, "adts > ID")?;
        let layer = r.bits(2, "adts > layer")?;
        if layer != 0 {
            // MPEG audio layers begin the same way.
            return Err(HeaderError::Range { place: "adts > layer", value: layer.into() });
        }
        let head = if r.flag("adts > protection_absent")? { HEAD } else { HEAD + 2 };
        let object_type = r.bits(2, "adts > profile_ObjectType")? as u8 + 1;
        let place = "adts > sampling_frequency_index";
        let index = r.bits(4, place)?;
        let sample_rate = *super::RATES.get(index as usize).ok_or(HeaderError::Range { place, value: index.into() })?;
        r.skip(1, "adts > private_bit")?;
        let channel_configuration = r.bits(3, "adts > channel_configuration")? as u8;
        r.skip(4, "adts > original_copy")?;
        let place = "adts > aac_frame_length";
        let size = r.bits(13, place)? as usize;
        if size <= head {
            return Err(HeaderError::Range { place, value: size as u64 });
        }
        r.skip(11, "adts > adts_buffer_fullness")?;
        let blocks = r.bits(2, "adts > number_of_raw_data_blocks_in_frame")? as u8 + 1;
        Ok(Self { object_type, sample_rate, channel_configuration, head, size, blocks })
    }
}

impl Config {
    /// Returns the [`Adts`] header, without a checksum, of a frame with `payload` bytes.
    ///
    /// `None` if the header has no form for it: frames of 960 samples, a sampling frequency without an index, an unknown
    /// channel layout, or more than 8 184 bytes. With SBR or parametric stereo, the core is taken for AAC-LC.
    pub fn adts_header(&self, payload: usize) -> Option<[u8; HEAD]> {
        let core = if matches!(self.object_type, 1..=4) { self.object_type } else { 2 };
        let index = super::RATES.iter().position(|rate| *rate == self.sample_rate)?;
        let layout = match self.channels {
            1..=6 => self.channels,
            8 => 7,
            _ => return None,
        };
        let size = payload.checked_add(HEAD).filter(|size| *size <= MAX_FRAME && self.samples_per_frame == 1_024)?;
        Some([
            0xff,
            0xf1,
            (core - 1) << 6 | (index as u8) << 2 | layout >> 2,
            layout << 6 | (size >> 11) as u8,
            (size >> 3) as u8,
            // A buffer fullness of all ones means a variable bit rate.
            (size << 5) as u8 | 0x1f,
            0xfc,
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_written() {
        for (rate, channels, payload) in [(48_000, 2, 371), (7_350, 1, 1), (96_000, 8, MAX_FRAME - HEAD)] {
            let config = Config::new(2, rate, channels).unwrap();
            let head = config.adts_header(payload).unwrap();
            let adts = Adts::parse(&head).unwrap();
            assert_eq!((adts.head, adts.size, adts.blocks), (HEAD, HEAD + payload, 1));
            assert_eq!(Config::from_adts(&head), Ok(config));
        }
    }

    #[test]
    fn what_no_header_expresses_has_none() {
        let config = Config::new(2, 48_000, 2).unwrap();
        assert_eq!(config.adts_header(MAX_FRAME - HEAD + 1), None);
        assert_eq!(Config { samples_per_frame: 960, ..config.clone() }.adts_header(9), None);
        assert_eq!(Config { sample_rate: 47_000, ..config.clone() }.adts_header(9), None);
        assert_eq!(Config { channels: 7, ..config.clone() }.adts_header(9), None);
        let sbr = Config { object_type: 5, sample_rate: 24_000, ..config };
        assert_eq!(Adts::parse(&sbr.adts_header(9).unwrap()).unwrap().object_type, 2);
    }
}
