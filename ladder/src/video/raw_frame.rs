//! Decoded video frames.

use std::fmt;

use gstreamer as gst;
use gstreamer_video as video;
use media::{FrameRate, Timestamp};

use crate::error::Error;
use crate::pipeline::timestamp;
use crate::video::captions::Captions;

/// A decoded video frame. Clones share the samples.
#[derive(Clone)]
pub struct RawFrame {
    buffer: gst::Buffer,
    info: video::VideoInfo,
}

impl RawFrame {
    /// Returns the frame of a buffer with this format.
    pub(crate) const fn new(buffer: gst::Buffer, info: video::VideoInfo) -> Self {
        Self { buffer, info }
    }

    /// Returns the number of samples across.
    pub fn width(&self) -> u32 {
        self.info.width()
    }

    /// Returns the number of samples down.
    pub fn height(&self) -> u32 {
        self.info.height()
    }

    /// Returns the size with square pixels, of the same height.
    pub fn display_size(&self) -> (u32, u32) {
        let (h, v) = (i64::from(self.info.par().numer().max(1)), i64::from(self.info.par().denom().max(1)));
        let width = (i64::from(self.width()) * h + v / 2) / v;
        (u32::try_from(width).unwrap_or(u32::MAX), self.height())
    }

    /// Returns the same samples with wider or narrower pixels, by this ratio.
    pub(crate) fn stretched(&self, width: u16, height: u16) -> Result<Self, Error> {
        if width == height {
            return Ok(self.clone());
        }
        let par = self.info.par() * gst::Fraction::new(width.into(), height.into());
        let info = video::VideoInfo::builder(self.info.format(), self.width(), self.height())
            .par(par)
            .colorimetry(&self.info.colorimetry())
            .build()
            .map_err(Error::refused("frame > shape"))?;
        Ok(Self { buffer: self.buffer.clone(), info })
    }

    /// Returns the presentation time, as the decoder gave it.
    pub(crate) fn pts(&self) -> Option<Timestamp> {
        self.buffer.pts().and_then(|pts| i64::try_from(pts.nseconds()).ok()).map(timestamp)
    }

    /// Returns the frame rate that the decoder declares.
    pub(crate) fn declared_rate(&self) -> Option<FrameRate> {
        let (frames, seconds) = (self.info.fps().numer(), self.info.fps().denom());
        let rate = FrameRate::new(u32::try_from(frames).ok()?, u32::try_from(seconds).ok()?);
        (frames > 0).then_some(rate)
    }

    /// Returns whether both are clones of one frame.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.buffer.as_ptr() == other.buffer.as_ptr()
    }

    /// Returns the format.
    pub(crate) const fn info(&self) -> &video::VideoInfo {
        &self.info
    }

    /// Returns the samples.
    pub(crate) fn buffer(&self) -> &gst::BufferRef {
        &self.buffer
    }

    /// Returns the captions of the frame.
    pub(crate) fn captions(&self) -> Captions {
        Captions::of(&self.buffer)
    }

    /// Returns a buffer of the same samples, with another time and other captions.
    pub(crate) fn timed_buffer(
        &self,
        pts: gst::ClockTime,
        duration: gst::ClockTime,
        captions: &Captions,
    ) -> gst::Buffer {
        let mut copy = self.buffer.copy();
        let buffer = copy.make_mut();
        buffer.set_pts(pts);
        buffer.set_dts(gst::ClockTime::NONE);
        buffer.set_duration(duration);
        buffer.unset_flags(gst::BufferFlags::DISCONT);
        captions.write(buffer);
        // The memory returns to its pool with the original.
        gst::ParentBufferMeta::add(buffer, &self.buffer);
        copy
    }
}

impl fmt::Debug for RawFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawFrame({}x{})", self.width(), self.height())
    }
}
