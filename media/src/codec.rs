//! Codec headers: what decoders and players need to know before the first frame.

pub mod aac;
pub mod avc;

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
