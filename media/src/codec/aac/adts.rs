//! ADTS headers (ISO/IEC 14496-3 §1.A.3.2).

use crate::bits::BitReader;
use crate::codec::HeaderError;

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
        let head = if r.flag("adts > protection_absent")? { 7 } else { 9 };
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
