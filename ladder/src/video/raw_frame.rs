//! Decoded pictures, and fitting them into another size.

use std::fmt;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as video;
use gstreamer_video::prelude::*;
use media::Timestamp;

use crate::error::Error;
use crate::pipeline::timestamp;
use crate::video::captions::Captions;
use crate::video::resampler::Resampler;
use crate::video::tone_map::{self as tone, Tone};

/// A decoded picture. Cloning counts references; the samples are shared.
#[derive(Clone)]
pub struct RawFrame {
    buffer: gst::Buffer,
    info: video::VideoInfo,
}

impl RawFrame {
    pub(crate) const fn new(buffer: gst::Buffer, info: video::VideoInfo) -> Self {
        Self { buffer, info }
    }

    /// Samples across.
    pub fn width(&self) -> u32 {
        self.info.width()
    }

    /// Samples down.
    pub fn height(&self) -> u32 {
        self.info.height()
    }

    /// The size with square pixels: the height stays.
    pub fn display_size(&self) -> (u32, u32) {
        let (h, v) = (i64::from(self.info.par().numer().max(1)), i64::from(self.info.par().denom().max(1)));
        let width = (i64::from(self.width()) * h + v / 2) / v;
        (u32::try_from(width).unwrap_or(u32::MAX), self.height())
    }

    /// The same samples, each of them wider or narrower by a ratio.
    pub(crate) fn stretched(&self, width: u16, height: u16) -> Result<Self, Error> {
        if width == height {
            return Ok(self.clone());
        }
        let par = self.info.par() * gst::Fraction::new(width.into(), height.into());
        let info = video::VideoInfo::builder(self.info.format(), self.width(), self.height())
            .par(par)
            .colorimetry(&self.info.colorimetry())
            .build()
            .map_err(Error::refused("picture > shape"))?;
        Ok(Self { buffer: self.buffer.clone(), info })
    }

    /// When it is shown, as the decoder dated it.
    pub(crate) fn pts(&self) -> Option<Timestamp> {
        self.buffer.pts().and_then(|pts| i64::try_from(pts.nseconds()).ok()).map(timestamp)
    }

    /// Frames a second as the decoder tells them.
    pub(crate) fn claimed_rate(&self) -> Option<crate::rate::Rate> {
        let (frames, seconds) = (self.info.fps().numer(), self.info.fps().denom());
        let rate = crate::rate::Rate::new(u32::try_from(frames).ok()?, u32::try_from(seconds).ok()?);
        (frames > 0).then_some(rate)
    }

    /// Whether it is the very same picture.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.buffer.as_ptr() == other.buffer.as_ptr()
    }

    pub(crate) const fn info(&self) -> &video::VideoInfo {
        &self.info
    }

    /// The captions that came with it.
    pub(crate) fn captions(&self) -> Captions {
        Captions::of(&self.buffer)
    }

    /// A buffer of the same samples with a time and captions of its own.
    pub(crate) fn dated(&self, pts: gst::ClockTime, duration: gst::ClockTime, captions: &Captions) -> gst::Buffer {
        let mut copy = self.buffer.copy();
        let buffer = copy.make_mut();
        buffer.set_pts(pts);
        buffer.set_dts(gst::ClockTime::NONE);
        buffer.set_duration(duration);
        buffer.unset_flags(gst::BufferFlags::DISCONT);
        captions.write(buffer);
        // The memory goes back to its pool with the original.
        gst::ParentBufferMeta::add(buffer, &self.buffer);
        copy
    }
}

impl fmt::Debug for RawFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawFrame({}x{})", self.width(), self.height())
    }
}

/// Fits pictures of any size and format into one size of I420, with black borders where the shapes differ.
pub(crate) struct Scaler {
    info: video::VideoInfo,
    pool: video::VideoBufferPool,
    /// The converter for pictures like these.
    converter: Option<(video::VideoInfo, Converter)>,
    toner: Option<Box<Toner>>,
}

/// What turns pictures of other colours into those of every player, in two steps.
struct Toner {
    /// Makes them fit, with ten bits, in their own colours.
    scaler: Scaler,
    tone: Tone,
}

/// Turns pictures of one size and format into those of another.
enum Converter {
    /// Of the same format and colours, without borders: plane by plane.
    Planes(Vec<Resampler>),
    /// Of all else.
    General(video::VideoConverter),
}

/// Borders of fewer samples than this on both sides together are not worth seeing: the picture is stretched.
const LEAST_BORDER: u32 = 4;
type Readable<'a> = video::VideoFrameRef<&'a gst::BufferRef>;
type Writable<'a> = video::VideoFrameRef<&'a mut gst::BufferRef>;

/// Buffers that a pool begins with.
const POOLED: u32 = 2;

impl Scaler {
    /// A scaler to `width` by `height`, in colours as `colours` are.
    pub(crate) fn new(width: u32, height: u32, colours: &video::VideoColorimetry) -> Result<Self, Error> {
        let info = video::VideoInfo::builder(video::VideoFormat::I420, width, height)
            .par(gst::Fraction::new(1, 1))
            .colorimetry(colours)
            .build()
            .map_err(Error::refused("scaler > size"))?;
        Self::to(info)
    }

    fn to(info: video::VideoInfo) -> Result<Self, Error> {
        let caps = info.to_caps().map_err(Error::refused("scaler > caps"))?;
        let pool = video::VideoBufferPool::new();
        let mut config = pool.config();
        let size = u32::try_from(info.size()).unwrap_or(u32::MAX);
        // No upper bound here: the queues of the encoders bound how many are in use.
        config.set_params(Some(&caps), size, POOLED, 0);
        config.add_option(video::BUFFER_POOL_OPTION_VIDEO_META.as_ref());
        pool.set_config(config).map_err(Error::refused("scaler > pool"))?;
        pool.set_active(true).map_err(Error::refused("scaler > pool"))?;
        Ok(Self { info, pool, converter: None, toner: None })
    }

    /// What its pictures are like.
    pub(crate) const fn info(&self) -> &video::VideoInfo {
        &self.info
    }

    /// The same picture in the scaler's size; the picture itself where it fits as it is.
    pub(crate) fn scale(&mut self, picture: &RawFrame) -> Result<RawFrame, Error> {
        if self.fits(&picture.info) {
            return Ok(picture.clone());
        }
        if tone::is_needed(&picture.info.colorimetry()) && !tone::is_needed(&self.info.colorimetry()) {
            return self.tone(picture);
        }
        let (known, mut converter) = match self.converter.take().filter(|(known, _)| *known == picture.info) {
            Some(found) => found,
            None => (picture.info.clone(), Converter::new(&picture.info, &self.info, picture.display_size())?),
        };
        let scaled = self.draw(picture, |from, to| converter.draw(from, to))?;
        self.converter = Some((known, converter));
        Ok(scaled)
    }

    /// The same for a picture whose colours have to change.
    fn tone(&mut self, picture: &RawFrame) -> Result<RawFrame, Error> {
        let colours = picture.info.colorimetry();
        let known = self.toner.take().filter(|toner| toner.scaler.info.colorimetry() == colours);
        let mut toner = known.map_or_else(|| Toner::new(&self.info, &colours).map(Box::new), Ok)?;
        let fitted = toner.scaler.scale(picture)?;
        let toned = self.draw(&fitted, |from, to| toner.tone.draw(from, to))?;
        self.toner = Some(toner);
        Ok(toned)
    }

    /// A new picture of the scaler's size, drawn by `how`.
    fn draw(
        &self,
        picture: &RawFrame,
        how: impl FnOnce(&Readable<'_>, &mut Writable<'_>) -> Result<(), Error>,
    ) -> Result<RawFrame, Error> {
        let refused = |error: gst::FlowError| Error::Refused { place: "scaler > pool", reason: error.to_string() };
        let mut buffer = self.pool.acquire_buffer(None).map_err(refused)?;
        {
            let from = video::VideoFrameRef::from_buffer_ref_readable(&picture.buffer, &picture.info)
                .map_err(Error::refused("scaler > source"))?;
            let mut to = video::VideoFrameRef::from_buffer_ref_writable(buffer.make_mut(), &self.info)
                .map_err(Error::refused("scaler > target"))?;
            how(&from, &mut to)?;
        }
        Ok(RawFrame::new(buffer, self.info.clone()))
    }

    /// Whether pictures like this are in its size and colours as they are.
    pub(crate) fn fits(&self, info: &video::VideoInfo) -> bool {
        let same = |a: &video::VideoInfo, b: &video::VideoInfo| {
            (a.format(), a.width(), a.height(), a.colorimetry()) == (b.format(), b.width(), b.height(), b.colorimetry())
        };
        same(info, &self.info) && info.par() == self.info.par()
    }
}

impl Toner {
    /// For pictures of `colours`, in the size of `target`.
    fn new(target: &video::VideoInfo, colours: &video::VideoColorimetry) -> Result<Self, Error> {
        let info = video::VideoInfo::builder(video::VideoFormat::I42010le, target.width(), target.height())
            .par(gst::Fraction::new(1, 1))
            .colorimetry(colours)
            .build()
            .map_err(Error::refused("tone > size"))?;
        Ok(Self { scaler: Scaler::to(info)?, tone: Tone::new(colours) })
    }
}

impl Drop for Scaler {
    fn drop(&mut self) {
        // Buffers in use go when the last encoder lets go of them.
        let _stopped = self.pool.set_active(false);
    }
}

/// The colours that a broadcast keeps: those of its first picture if they are of standard range, else those of HD.
pub(crate) fn colours(info: Option<&video::VideoInfo>) -> video::VideoColorimetry {
    let own = info.map_or_else(bt709, video::VideoInfo::colorimetry);
    let plain = matches!(own.matrix(), video::VideoColorMatrix::Bt601 | video::VideoColorMatrix::Bt709);
    let narrow = own.range() == video::VideoColorRange::Range16_235;
    if plain && narrow && !tone::is_needed(&own) { own } else { bt709() }
}

fn bt709() -> video::VideoColorimetry {
    video::VideoColorimetry::new(
        video::VideoColorRange::Range16_235,
        video::VideoColorMatrix::Bt709,
        video::VideoTransferFunction::Bt709,
        video::VideoColorPrimaries::Bt709,
    )
}

impl Converter {
    fn new(from: &video::VideoInfo, to: &video::VideoInfo, display: (u32, u32)) -> Result<Self, Error> {
        let target = place(display, (to.width(), to.height()));
        let same = |a: &video::VideoInfo, b: &video::VideoInfo| {
            (a.format(), a.colorimetry()) == (b.format(), b.colorimetry()) && a.format() == video::VideoFormat::I420
        };
        let plane = |plane: u8| {
            let size = |info: &video::VideoInfo| (info.comp_width(plane), info.comp_height(plane));
            let ((width, height), wanted) = (size(from), size(to));
            let suits = Resampler::suits(width, wanted.0) && Resampler::suits(height, wanted.1);
            suits.then(|| Resampler::new((width, height), wanted))
        };
        // Other formats may have fewer planes.
        let simple = same(from, to) && target == (0, 0, to.width(), to.height());
        match simple.then(|| (0..3).map(plane).collect::<Option<_>>()).flatten() {
            Some(planes) => Ok(Self::Planes(planes)),
            None => general(from, to, target).map(Self::General),
        }
    }

    fn draw(&mut self, from: &Readable<'_>, to: &mut Writable<'_>) -> Result<(), Error> {
        match self {
            Self::General(converter) => converter.frame_ref(from, to),
            Self::Planes(planes) => {
                let stride = |strides: &[i32], plane: u32| {
                    strides.get(plane as usize).and_then(|stride| usize::try_from(*stride).ok()).unwrap_or(0)
                };
                for (plane, resampler) in (0..).zip(planes) {
                    let from_stride = stride(from.plane_stride(), plane);
                    let to_stride = stride(to.plane_stride(), plane);
                    let source = from.plane_data(plane).map_err(Error::refused("scaler > source"))?;
                    let target = to.plane_data_mut(plane).map_err(Error::refused("scaler > target"))?;
                    resampler.draw((source, from_stride), (target, to_stride));
                }
            }
        }
        Ok(())
    }
}

fn general(
    from: &video::VideoInfo,
    to: &video::VideoInfo,
    (x, y, width, height): (u32, u32, u32, u32),
) -> Result<video::VideoConverter, Error> {
    let mut config = video::VideoConverterConfig::new();
    config.set_resampler_method(video::VideoResamplerMethod::Linear);
    config.set_chroma_resampler_method(video::VideoResamplerMethod::Linear);
    if Resampler::suits(from.width(), width) && Resampler::suits(from.height(), height) {
        config.set_resampler_taps(2);
    }
    config.set_dest_x(x as i32);
    config.set_dest_y(y as i32);
    config.set_dest_width(Some(width as i32));
    config.set_dest_height(Some(height as i32));
    config.set_fill_border(true);
    config.set_border_argb(0xff00_0000);
    config.set_dither_method(video::VideoDitherMethod::None);
    video::VideoConverter::new(&still(from)?, to, Some(config)).map_err(Error::refused("scaler"))
}

/// The same without a frame rate, which a converter refuses to change, and without fields, which it would scale apart:
/// they are woven by now.
fn still(info: &video::VideoInfo) -> Result<video::VideoInfo, Error> {
    video::VideoInfo::builder(info.format(), info.width(), info.height())
        .par(info.par())
        .colorimetry(&info.colorimetry())
        .chroma_site(info.chroma_site())
        .build()
        .map_err(Error::refused("scaler > source"))
}

/// Where a picture of the shape `display` goes in `target`: x, y, width, height, all even.
fn place(display: (u32, u32), target: (u32, u32)) -> (u32, u32, u32, u32) {
    let (dw, dh) = (u64::from(display.0.max(1)), u64::from(display.1.max(1)));
    let (tw, th) = (u64::from(target.0), u64::from(target.1));
    let (width, height) = if dw * th > dh * tw { (tw, dh * tw / dw) } else { (dw * th / dh, th) };
    let side = |inner: u64, outer: u32| {
        let inner = u32::try_from(inner).unwrap_or(outer).max(2).min(outer) / 2 * 2;
        if outer - inner < LEAST_BORDER { outer } else { inner }
    };
    let (width, height) = (side(width, target.0), side(height, target.1));
    ((target.0 - width) / 4 * 2, (target.1 - height) / 4 * 2, width, height)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of I420 whose luma is as `at` says for each place.
    fn picture(width: u32, height: u32, at: impl Fn(usize, usize) -> u8) -> RawFrame {
        let info = video::VideoInfo::builder(video::VideoFormat::I420, width, height)
            .par(gst::Fraction::new(1, 1))
            .colorimetry(&bt709())
            .build()
            .unwrap();
        let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
        {
            let mut frame = video::VideoFrameRef::from_buffer_ref_writable(buffer.get_mut().unwrap(), &info).unwrap();
            for plane in 0..3 {
                let stride = frame.plane_stride()[plane as usize] as usize;
                for (y, row) in frame.plane_data_mut(plane).unwrap().chunks_mut(stride).enumerate() {
                    row.iter_mut().enumerate().for_each(|(x, out)| *out = if plane == 0 { at(x, y) } else { 128 });
                }
            }
        }
        RawFrame::new(buffer, info)
    }

    fn luma(picture: &RawFrame) -> Vec<Vec<u8>> {
        let frame = video::VideoFrameRef::from_buffer_ref_readable(&picture.buffer, &picture.info).unwrap();
        let (stride, width) = (frame.plane_stride()[0] as usize, picture.width() as usize);
        frame.plane_data(0).unwrap().chunks(stride).map(|row| row[..width].to_vec()).collect()
    }

    #[test]
    fn planes_are_scaled_as_the_general_converter_does_it() {
        gst::init().unwrap();
        let source = picture(320, 180, |x, y| ((x * 200 / 320 + y * 50 / 180) % 256) as u8);
        for (width, height) in [(214, 120), (160, 90), (240, 136), (480, 270)] {
            let mut scaler = Scaler::new(width, height, &bt709()).unwrap();
            let scaled = luma(&scaler.scale(&source).unwrap());
            assert!(matches!(scaler.converter, Some((_, Converter::Planes(_)))));
            let mut converter =
                general(source.info(), scaler.info(), (0, 0, width, height)).map(Converter::General).unwrap();
            let general = luma(&scaler.draw(&source, |from, to| converter.draw(from, to)).unwrap());
            let pairs = scaled.iter().flatten().zip(general.iter().flatten());
            let worst = pairs.map(|(a, b)| a.abs_diff(*b)).max();
            assert!(worst <= Some(2), "{width}x{height}: {worst:?}");
        }
    }

    #[test]
    fn what_is_no_simple_plane_takes_the_general_converter() {
        gst::init().unwrap();
        let source = picture(320, 180, |_, _| 100);
        // With borders, more than halved, and grey.
        let info = video::VideoInfo::builder(video::VideoFormat::Gray8, 320, 180).build().unwrap();
        let grey = RawFrame::new(gst::Buffer::with_size(info.size()).unwrap(), info);
        for (source, width, height) in [(&source, 320, 240), (&source, 120, 68), (&grey, 160, 90)] {
            let mut scaler = Scaler::new(width, height, &bt709()).unwrap();
            let scaled = luma(&scaler.scale(source).unwrap());
            assert!(matches!(scaler.converter, Some((_, Converter::General(_)))));
            assert!(source.is(&grey) || scaled[height as usize / 2][width as usize / 2] == 100);
        }
    }

    #[test]
    fn letterboxes_are_in_the_middle() {
        assert_eq!(place((1_920, 1_080), (1_280, 720)), (0, 0, 1_280, 720));
        assert_eq!(place((1_440, 1_080), (1_920, 1_080)), (240, 0, 1_440, 1_080));
        assert_eq!(place((720, 1_280), (1_920, 1_080)), (656, 0, 606, 1_080));
        assert_eq!(place((1_920, 800), (1_920, 1_080)), (0, 140, 1_920, 800));
        // 852 by 480 is 16:9 as near as even numbers come.
        assert_eq!(place((1_920, 1_080), (852, 480)), (0, 0, 852, 480));
        assert_eq!(place((0, u32::MAX), (852, 480)), (424, 0, 2, 480));
    }
}
