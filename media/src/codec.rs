//! Codec headers: what decoders and players need to know before the first frame.

pub mod aac;
pub mod ac3;
pub mod av1;
pub mod avc;
mod config;
pub mod flac;
#[doc(hidden)]
pub mod fuzz;
pub mod hevc;
pub mod nal;
pub mod opus;
pub mod vp9;

pub use config::CodecConfig;

/// A codec header that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The header ended before a field that it must have.
    #[error("{place}: ends at bit {bit}, before the field is whole")]
    Short {
        /// Grammar path of the field, as in `sps > pic_width_in_mbs_minus1`.
        place: &'static str,
        /// Bit offset where the bytes ran out.
        bit: usize,
    },
    /// A field holds a value that the standard forbids or no decoder takes.
    #[error("{place}: {value} is out of range")]
    Range {
        /// Grammar path of the field.
        place: &'static str,
        /// The value found.
        value: u64,
    },
    /// The header is sound but asks for something Weir does not carry.
    #[error("{place}: {value} is not supported")]
    Unsupported {
        /// Grammar path of the field.
        place: &'static str,
        /// The value found.
        value: u64,
    },
}

/// How numbers become light, in the code points of ITU-T H.273.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Colour {
    /// `ColourPrimaries`.
    pub primaries: u8,
    /// `TransferCharacteristics`.
    pub transfer: u8,
    /// `MatrixCoefficients`.
    pub matrix: u8,
    /// True where all code values are used, not the studio range.
    pub full_range: bool,
}

impl Colour {
    /// Nothing is known of the colours.
    pub const UNSPECIFIED: Self = Self { primaries: 2, transfer: 2, matrix: 2, full_range: false };

    /// True where any of the three code points says something.
    pub const fn is_specified(&self) -> bool {
        self.primaries != 2 || self.transfer != 2 || self.matrix != 2
    }

    /// The dynamic range that the transfer characteristics stand for.
    pub const fn video_range(&self) -> VideoRange {
        match self.transfer {
            16 => VideoRange::Pq,
            18 => VideoRange::Hlg,
            _ => VideoRange::Sdr,
        }
    }
}

/// `VIDEO-RANGE` of a multivariant playlist (RFC 8216bis §4.4.6.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum VideoRange {
    /// Standard dynamic range.
    #[default]
    Sdr,
    /// Hybrid log-gamma (ARIB STD-B67).
    Hlg,
    /// Perceptual quantizer (SMPTE ST 2084).
    Pq,
}

impl VideoRange {
    /// The value of the attribute.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sdr => "SDR",
            Self::Hlg => "HLG",
            Self::Pq => "PQ",
        }
    }
}

#[cfg(test)]
mod testing {
    //! Headers of real encoders are written down as they are dumped.

    use bytes::Bytes;

    /// Bytes written as hexadecimal digits.
    pub(super) fn hex(digits: &str) -> Bytes {
        let nibbles: Vec<_> = digits.chars().filter_map(|digit| digit.to_digit(16)).collect();
        nibbles.chunks(2).map(|pair| pair.iter().fold(0, |byte, nibble| byte << 4 | *nibble as u8)).collect()
    }

    /// NAL units behind lengths of four bytes.
    pub(super) fn sample(units: &[&[u8]]) -> Vec<u8> {
        units.iter().flat_map(|unit| [&(unit.len() as u32).to_be_bytes(), *unit].concat()).collect()
    }
}
