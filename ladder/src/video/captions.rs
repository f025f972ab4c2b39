//! Closed captions inside video (CTA-708 `cc_data`). Decoders put them beside each frame, and encoders write them
//! again.

use gstreamer as gst;
use gstreamer_video as video;

/// Bytes of one `cc_data` packet: a byte of flags, and two bytes of captions.
const PACKET: usize = 3;
/// `cc_valid` in the byte of flags. Packets without it are padding.
const VALID: u8 = 0b100;
/// Largest `cc_count`, which has five bits, in bytes.
const MAX_PER_FRAME: usize = 31 * PACKET;
/// Bound on waiting captions, above what a rung that presents every other frame ever has. Captions beyond it are
/// discarded.
const MAX_WAITING: usize = 8 * MAX_PER_FRAME;

/// Captions that wait for the next frame of a rung, because not every rung presents every frame.
#[derive(Debug, Default)]
pub(crate) struct Captions(Vec<u8>);

impl Captions {
    /// Returns the captions of a decoded frame.
    pub(crate) fn of(buffer: &gst::BufferRef) -> Self {
        let raw = buffer.iter_meta::<video::VideoCaptionMeta>();
        let raw = raw.filter(|meta| meta.caption_type() == video::VideoCaptionType::Cea708Raw);
        let packets = raw.flat_map(|meta| meta.data().as_chunks::<PACKET>().0.to_vec());
        Self(packets.filter(|[head, ..]| head & VALID != 0).flatten().collect())
    }

    /// Adds the captions of another frame.
    pub(crate) fn add(&mut self, captions: &Self) {
        let room = MAX_WAITING.saturating_sub(self.0.len());
        self.0.extend(captions.0.iter().take(room / PACKET * PACKET));
    }

    /// Takes as many captions as one frame can have.
    pub(crate) fn take(&mut self) -> Self {
        Self(self.0.drain(..self.0.len().min(MAX_PER_FRAME)).collect())
    }

    /// Discards waiting captions.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Writes these captions to a buffer, in place of those that it has.
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
    fn captions_of_skipped_frames_come_with_the_next_frame() {
        let mut waiting = Captions::default();
        (0..2).for_each(|_| waiting.add(&packets(20)));
        assert_eq!([waiting.take().0.len(), waiting.take().0.len(), waiting.take().0.len()], [93, 27, 0]);
    }

    #[test]
    fn waiting_captions_are_bounded() {
        let mut waiting = Captions::default();
        (0..100).for_each(|_| waiting.add(&packets(31)));
        assert_eq!(waiting.0.len(), MAX_WAITING);
    }

    #[test]
    fn buffer_has_the_captions_written_last() {
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
