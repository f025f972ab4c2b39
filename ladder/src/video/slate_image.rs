//! The picture of the slate.

use std::time::{Duration, Instant};

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;
use gstreamer_video as video;

use crate::error::Error;
use crate::ladder::SlateImages;
use crate::plan::Rung;
use crate::video::raw_frame::{RawFrame, Scaler};

/// The widest and highest picture that is decoded.
const MAX_SIDE: u32 = 8_192;
/// A picture that takes longer than this is refused.
const PATIENCE: Duration = Duration::from_secs(10);
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG: &[u8] = &[0xff, 0xd8, 0xff];

/// Where the slate is drawn: a picture of one size and colours.
pub(crate) struct Canvas {
    scaler: Scaler,
    upright: bool,
    /// Shape of its pixels: width to height.
    aspect: (u16, u16),
}

impl Canvas {
    /// A canvas of the leader's size and colours.
    pub(crate) fn new(leader: &Rung, colours: &video::VideoColorimetry) -> Result<Self, Error> {
        Self::with_pixels((leader.width, leader.height), (1, 1), colours)
    }

    /// A canvas whose pixels are not square.
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

    /// The picture of the slate whose shape fits.
    pub(crate) fn draw(&mut self, slate: &SlateImages) -> Result<RawFrame, Error> {
        let picture = decode(if self.upright { &slate.portrait } else { &slate.landscape })?;
        // The scaler thinks in square pixels: seen on this canvas the picture is narrower where those are wider.
        self.scaler.scale(&picture.stretched(self.aspect.1, self.aspect.0)?)
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
    while sample.is_none() && !sink.is_eos() && !broken() && began.elapsed() < PATIENCE {
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

/// Width and height of a PNG's header.
fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let side = |at: usize| bytes.get(at..at + 4).and_then(|side| side.try_into().ok()).map(u32::from_be_bytes);
    Some((side(16)?, side(20)?))
}

/// Width and height of a JPEG's frame header.
fn jpeg_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut rest = bytes.get(2..)?;
    while let [0xff, marker, high, low, body @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        // Frame headers are C0 to CF, but for the tables of Huffman and arithmetic coding.
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
    fn what_is_no_picture_is_refused() {
        for bytes in [&b""[..], b"GIF89a", PNG, JPEG, &[0xff, 0xd8, 0xff, 0xe0, 0, 0]] {
            assert!(matches!(decode(&Bytes::copy_from_slice(bytes)), Err(Error::Slate(_))), "{bytes:?}");
        }
    }

    #[test]
    fn a_giant_is_refused_by_its_header() {
        let png = [PNG, &[0, 0, 0, 13], b"IHDR", &[0, 1, 0, 0, 0, 1, 0, 0]].concat();
        assert!(matches!(decode(&png.into()), Err(Error::Slate("too large"))));
        let jpeg = [0xff, 0xd8, 0xff, 0xe0, 0, 3, 0, 0xff, 0xc2, 0, 11, 8, 0xff, 0xff, 0, 1];
        assert_eq!(jpeg_size(&jpeg), Some((1, 65_535)));
    }
}
