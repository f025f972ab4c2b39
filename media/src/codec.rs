//! Codec headers: the configuration that decoders and players need before the first frame.

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

/// Error of a codec header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The header ends before a required field.
    #[error("{place}: ends at bit {bit}, before the field is complete")]
    Short {
        /// Grammar path of the field, as in `sps > pic_width_in_mbs_minus1`.
        place: &'static str,
        /// Bit offset of the end.
        bit: usize,
    },
    /// A field holds a value that the standard forbids or no decoder supports.
    #[error("{place}: {value} is out of range")]
    Range {
        /// Grammar path of the field.
        place: &'static str,
        /// The value found.
        value: u64,
    },
    /// The header is valid, but uses a feature that Weir does not support.
    #[error("{place}: {value} is not supported")]
    Unsupported {
        /// Grammar path of the field.
        place: &'static str,
        /// The value found.
        value: u64,
    },
}

/// Colour description: the code points of ITU-T H.273.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Colour {
    /// `ColourPrimaries`.
    pub primaries: u8,
    /// `TransferCharacteristics`.
    pub transfer: u8,
    /// `MatrixCoefficients`.
    pub matrix: u8,
    /// Whether all code values are used, instead of the limited range.
    pub full_range: bool,
}

impl Colour {
    /// Unknown colours.
    pub const UNSPECIFIED: Self = Self { primaries: 2, transfer: 2, matrix: 2, full_range: false };

    /// Returns whether any of the three code points is specified.
    pub const fn is_specified(&self) -> bool {
        self.primaries != 2 || self.transfer != 2 || self.matrix != 2
    }

    /// Returns the [`VideoRange`] of the transfer characteristics.
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
    /// Returns the value of the attribute.
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
    //! Helpers for tests with headers of real encoders, written as hexadecimal dumps.

    use bytes::Bytes;

    /// Returns the bytes of hexadecimal digits.
    pub(super) fn hex(digits: &str) -> Bytes {
        let nibbles: Vec<_> = digits.chars().filter_map(|digit| digit.to_digit(16)).collect();
        nibbles.chunks(2).map(|pair| pair.iter().fold(0, |byte, nibble| byte << 4 | *nibble as u8)).collect()
    }

    /// Returns NAL units with length prefixes of four bytes.
    pub(super) fn sample(units: &[&[u8]]) -> Vec<u8> {
        units.iter().flat_map(|unit| [&(unit.len() as u32).to_be_bytes(), *unit].concat()).collect()
    }
}
