//! Channel layouts: the program config element (ISO/IEC 14496-3 §4.4.1.1) and the channel configurations (table 1.19).
//!
//! Browsers and hardware decoders know only the channel configurations. Most program config elements of encoders are
//! equivalent to one of them, because their elements come in the same order.

use bytes::Bytes;

use crate::bits::BitReader;
use crate::codec::HeaderError;

/// `id_syn_ele` of a program config element.
const ID_PCE: u32 = 5;

/// Channel elements in the order of a frame: single channels and pairs.
#[derive(Default)]
struct Layout {
    /// Front elements; true for a pair of channels.
    front: Vec<bool>,
    /// Elements at the sides and at the back; true for a pair of channels.
    surround: Vec<bool>,
    low_frequency: u32,
    /// Number of channels that are mixed into others.
    coupled: u32,
}

/// Reads a program config element after the three bits that identify it in a frame; returns the channel configuration
/// with the same channels in the same order.
pub(super) fn channel_configuration(r: &mut BitReader<'_>) -> Result<u8, HeaderError> {
    let place = "program_config_element";
    r.skip(4 + 2 + 4, place)?;
    let mut counts = [0; 6];
    for (count, bits) in counts.iter_mut().zip([4, 4, 4, 2, 3, 4]) {
        *count = r.bits(bits, place)?;
    }
    let [front, side, back, low_frequency, data, coupled] = counts;
    for bits in [4, 4, 3] {
        // Mixdowns to one and two channels, and a matrix for them.
        if r.flag(place)? {
            r.skip(bits, place)?;
        }
    }
    let mut elements = |count: u32| -> Result<Vec<bool>, HeaderError> {
        let element = |_| {
            let pair = r.flag(place)?;
            r.skip(4, place)?;
            Ok(pair)
        };
        (0..count).map(element).collect()
    };
    let front = elements(front)?;
    let surround = [elements(side)?, elements(back)?].concat();
    r.skip((4 * low_frequency + 4 * data + 5 * coupled) as usize, place)?;
    let layout = Layout { front, surround, low_frequency, coupled };
    configuration(&layout)
        .ok_or(HeaderError::Unsupported { place: "program_config_element > channels", value: layout.channels() })
}

/// Returns the channel configuration of a frame that begins with a program config element.
pub(super) fn leading_configuration(frame: &[u8]) -> Result<u8, HeaderError> {
    let mut r = BitReader::new(frame);
    let place = "raw_data_block > id_syn_ele";
    match r.bits(3, place)? {
        ID_PCE => channel_configuration(&mut r),
        // The element is in another frame.
        other => Err(HeaderError::Range { place, value: other.into() }),
    }
}

/// Removes a program config element from the front of a raw frame, because the sample entry declares the channels. The
/// element ends at a whole byte.
pub fn without_program_config(frame: Bytes) -> Bytes {
    let body = || -> Result<usize, HeaderError> {
        let place = "program_config_element > comment_field_bytes";
        let mut r = BitReader::new(&frame);
        r.skip(3, place)?;
        channel_configuration(&mut r)?;
        let comment = r.position().div_ceil(8);
        let len = *frame.get(comment).ok_or(HeaderError::Short { place, bit: comment * 8 })?;
        Ok(comment + 1 + usize::from(len))
    };
    if frame.first().map(|byte| u32::from(byte >> 5)) != Some(ID_PCE) {
        return frame;
    }
    match body() {
        Ok(at) if at < frame.len() => frame.slice(at..),
        _ => frame,
    }
}

impl Layout {
    fn channels(&self) -> u64 {
        let count = |elements: &[bool]| elements.iter().map(|pair| if *pair { 2 } else { 1 }).sum::<u64>();
        count(&self.front) + count(&self.surround) + u64::from(self.low_frequency)
    }
}

fn configuration(layout: &Layout) -> Option<u8> {
    let Layout { front, surround, low_frequency, coupled } = layout;
    match (&front[..], &surround[..], low_frequency, coupled) {
        ([false], [], 0, 0) => Some(1),
        ([true], [], 0, 0) => Some(2),
        ([false, true], [], 0, 0) => Some(3),
        ([false, true], [false], 0, 0) => Some(4),
        ([false, true], [true], 0, 0) => Some(5),
        ([false, true], [true], 1, 0) => Some(6),
        ([false, true, true], [true], 1, 0) => Some(7),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(front: &[bool], surround: &[bool], low_frequency: u32) -> Option<u8> {
        configuration(&Layout { front: front.to_vec(), surround: surround.to_vec(), low_frequency, coupled: 0 })
    }

    #[test]
    fn usual_layouts_have_a_configuration_and_others_have_none() {
        assert_eq!(of(&[false], &[], 0), Some(1));
        assert_eq!(of(&[false, true], &[true], 1), Some(6));
        assert_eq!(of(&[true], &[true], 0), None, "quadraphonic");
        assert_eq!(of(&[true], &[], 1), None, "2.1");
        assert_eq!(of(&[false, false], &[], 0), None, "two single channels");
        assert_eq!(of(&[false, true], &[true, true], 1), None, "7.1 with side channels");
    }

    #[test]
    fn a_broken_element_changes_nothing() {
        for len in 0..6 {
            let frame = Bytes::from(vec![0xa0; len]);
            assert_eq!(without_program_config(frame.clone()), frame);
        }
    }
}
