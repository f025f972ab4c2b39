//! Closed captions inside pictures (CTA-708 `cc_data`): decoders find them beside each picture, encoders write them again.

use gstreamer as gst;
use gstreamer_video as video;

/// Bytes of one `cc_data` packet: whether it holds anything, and two bytes of captions.
const PACKET: usize = 3;
/// `cc_valid` in the first of them; the rest are padding.
const VALID: u8 = 0b100;
/// `cc_count` has five bits.
const MAX_AT_A_TIME: usize = 31 * PACKET;
/// More than a rung that shows every other picture ever has waiting; what comes on top is left out.
const MAX_WAITING: usize = 8 * MAX_AT_A_TIME;

/// Captions that wait for the next picture of a rung: not every rung shows every picture.
#[derive(Debug, Default)]
pub(crate) struct Captions(Vec<u8>);

impl Captions {
    /// Those beside a picture.
    pub(crate) fn of(buffer: &gst::BufferRef) -> Self {
        let raw = buffer.iter_meta::<video::VideoCaptionMeta>();
        let raw = raw.filter(|meta| meta.caption_type() == video::VideoCaptionType::Cea708Raw);
        let packets = raw.flat_map(|meta| meta.data().as_chunks::<PACKET>().0.to_vec());
        Self(packets.filter(|[head, ..]| head & VALID != 0).flatten().collect())
    }

    /// Adds what comes with the next picture.
    pub(crate) fn add(&mut self, news: &Self) {
        let room = MAX_WAITING.saturating_sub(self.0.len());
        self.0.extend(news.0.iter().take(room / PACKET * PACKET));
    }

    /// What one picture can have.
    pub(crate) fn take(&mut self) -> Self {
        Self(self.0.drain(..self.0.len().min(MAX_AT_A_TIME)).collect())
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Puts these in the place of those that the buffer has.
    pub(crate) fn write(&self, buffer: &mut gst::BufferRef) {
        while let Some(meta) = buffer.meta_mut::<video::VideoCaptionMeta>() {
            if meta.remove().is_err() {
                return;
            }
        }
        if !self.0.is_empty() {
            video::VideoCaptionMeta::add(buffer, video::VideoCaptionType::Cea708Raw, &self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(count: usize) -> Captions {
        Captions([0xfc, b'A', b'B'].repeat(count))
    }

    #[test]
    fn those_of_pictures_that_are_left_out_come_with_the_next() {
        let mut waiting = Captions::default();
        (0..2).for_each(|_| waiting.add(&packets(20)));
        assert_eq!([waiting.take().0.len(), waiting.take().0.len(), waiting.take().0.len()], [93, 27, 0]);
    }

    #[test]
    fn no_more_wait_than_the_bound() {
        let mut waiting = Captions::default();
        (0..100).for_each(|_| waiting.add(&packets(31)));
        assert_eq!(waiting.0.len(), MAX_WAITING);
    }

    #[test]
    fn a_buffer_has_what_was_written_last() {
        gst::init().unwrap();
        let mut buffer = gst::Buffer::new();
        let buffer = buffer.make_mut();
        packets(2).write(buffer);
        packets(1).write(buffer);
        // Padding, and less than a packet.
        video::VideoCaptionMeta::add(buffer, video::VideoCaptionType::Cea708Raw, &[0xf8, 0, 0, 0xfd, 1]);
        assert_eq!(Captions::of(buffer).0, packets(1).0);
        Captions::default().write(buffer);
        assert!(buffer.meta::<video::VideoCaptionMeta>().is_none());
    }
}
