//! Decodes the slate's image and fits it to the video.

use std::time::{Duration, Instant};

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;
use gstreamer_video as video;

use crate::api::SlateImages;
use crate::error::Error;
use crate::plan::Rung;
use crate::video::raw_frame::RawFrame;
use crate::video::scaler::Scaler;

/// Largest width and height of an image that is decoded.
const MAX_SIDE: u32 = 8_192;
/// Longest time for decoding an image.
const TIMEOUT: Duration = Duration::from_secs(10);
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG: &[u8] = &[0xff, 0xd8, 0xff];

/// Canvas for [`SlateImages`]: a size, a pixel shape and colours.
pub(crate) struct Canvas {
    scaler: Scaler,
    upright: bool,
    /// Shape of a pixel: width to height.
    aspect: (u16, u16),
}

impl Canvas {
    /// Returns a canvas with the size of the reference rendition.
    pub(crate) fn new(reference: &Rung, colours: &video::VideoColorimetry) -> Result<Self, Error> {
        Self::with_pixels((reference.width, reference.height), (1, 1), colours)
    }

    /// Returns a canvas whose pixels need not be square.
    pub(crate) fn with_pixels(
        (width, height): (u32, u32),
        aspect: (u16, u16),
        colours: &video::VideoColorimetry,
    ) -> Result<Self, Error> {
        let aspect = (aspect.0.max(1), aspect.1.max(1));
        let scaler = Scaler::new(width, height, colours)?;
        let upright = u64::from(height) * u64::from(aspect.1) > u64::from(width) * u64::from(aspect.0);
        Ok(Self { scaler, upright, aspect })
    }

    /// Returns the slate's image whose shape fits, in the size of the canvas.
    pub(crate) fn draw(&mut self, slate: &SlateImages) -> Result<RawFrame, Error> {
        let image = decode(if self.upright { &slate.portrait } else { &slate.landscape })?;
        // The scaler takes the canvas for square pixels. On wider pixels the image has to be narrower to look right.
        self.scaler.scale(&image.stretched(self.aspect.1, self.aspect.0)?)
    }
}

/// Decodes a PNG or a JPEG.
fn decode(bytes: &Bytes) -> Result<RawFrame, Error> {
    let (decoder, kind, size) = if bytes.starts_with(PNG) {
        ("pngdec", "image/png", png_size(bytes))
    } else if bytes.starts_with(JPEG) {
        ("jpegdec", "image/jpeg", jpeg_size(bytes))
    } else {
        return Err(Error::Slate("neither PNG nor JPEG"));
    };
    let (width, height) = size.ok_or(Error::Slate("no size in it"))?;
    if width.max(height) > MAX_SIDE || width.min(height) == 0 {
        return Err(Error::Slate("too large"));
    }
    let from = gst::Caps::builder(kind)
        .field("width", width as i32)
        .field("height", height as i32)
        .field("framerate", gst::Fraction::new(1, 1))
        .field("parsed", true)
        .build();
    pull(&from, decoder, bytes)
}

fn pull(from: &gst::Caps, decoder: &str, bytes: &Bytes) -> Result<RawFrame, Error> {
    let pipeline = gst::Pipeline::new();
    let source = app::AppSrc::builder().caps(from).format(gst::Format::Time).build();
    let sink = app::AppSink::builder().sync(false).build();
    let chain: [gst::Element; 3] =
        [source.clone().upcast(), crate::pipeline::element(decoder, &[])?, sink.clone().upcast()];
    pipeline.add_many(&chain).map_err(Error::refused("slate"))?;
    gst::Element::link_many(&chain).map_err(Error::refused("slate"))?;
    let mut buffer = gst::Buffer::from_slice(bytes.clone());
    if let Some(writable) = buffer.get_mut() {
        writable.set_pts(gst::ClockTime::ZERO);
    }
    let _playing = pipeline.set_state(gst::State::Playing);
    let _pushed = source.push_buffer(buffer).and_then(|_| source.end_of_stream());
    let began = Instant::now();
    let mut sample = None;
    let broken = || {
        pipeline.bus().is_some_and(|bus| bus.have_pending() && bus.pop_filtered(&[gst::MessageType::Error]).is_some())
    };
    while sample.is_none() && !sink.is_eos() && !broken() && began.elapsed() < TIMEOUT {
        sample = sink.try_pull_sample(gst::ClockTime::from_mseconds(100));
    }
    let _stopped = pipeline.set_state(gst::State::Null);
    let sample = sample.ok_or(Error::Slate("it cannot be decoded"))?;
    let info = sample.caps().and_then(|caps| video::VideoInfo::from_caps(caps).ok());
    match (sample.buffer_owned(), info) {
        (Some(buffer), Some(info)) => Ok(RawFrame::new(buffer, info)),
        _ => Err(Error::Slate("it cannot be decoded")),
    }
}

/// Returns the width and height in a PNG's header.
fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let side = |at: usize| bytes.get(at..at + 4).and_then(|side| side.try_into().ok()).map(u32::from_be_bytes);
    Some((side(16)?, side(20)?))
}

/// Returns the width and height in a JPEG's frame header.
fn jpeg_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut rest = bytes.get(2..)?;
    while let [0xff, marker, high, low, body @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        // Frame headers are C0 to CF, without the tables of Huffman and arithmetic coding.
        if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
            let side = |at: usize| body.get(at..at + 2).map(|side| u32::from(side[0]) << 8 | u32::from(side[1]));
            return Some((side(3)?, side(1)?));
        }
        rest = body.get(length.checked_sub(2)?..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_that_is_no_image_is_refused() {
        for bytes in [&b""[..], b"GIF89a", PNG, JPEG, &[0xff, 0xd8, 0xff, 0xe0, 0, 0]] {
            assert!(matches!(decode(&Bytes::copy_from_slice(bytes)), Err(Error::Slate(_))), "{bytes:?}");
        }
    }

    #[test]
    fn oversized_image_is_refused_by_its_header() {
        let png = [PNG, &[0, 0, 0, 13], b"IHDR", &[0, 1, 0, 0, 0, 1, 0, 0]].concat();
        assert!(matches!(decode(&png.into()), Err(Error::Slate("too large"))));
        let jpeg = [0xff, 0xd8, 0xff, 0xe0, 0, 3, 0, 0xff, 0xc2, 0, 11, 8, 0xff, 0xff, 0, 1];
        assert_eq!(jpeg_size(&jpeg), Some((1, 65_535)));
    }
}
