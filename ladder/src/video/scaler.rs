//! Scales decoded frames to another size.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as video;
use gstreamer_video::prelude::*;

use crate::error::Error;
use crate::video::raw_frame::RawFrame;
use crate::video::resampler::Resampler;
use crate::video::tone_map::{self, ToneMap};

/// Scales frames of any size and format to one size of I420, with black borders where the shapes differ.
pub(crate) struct Scaler {
    info: video::VideoInfo,
    pool: video::VideoBufferPool,
    /// Converter for the last input format.
    converter: Option<(video::VideoInfo, Converter)>,
    tone_mapper: Option<Box<ToneMapper>>,
}

/// Converts frames of high dynamic range or wide gamut: a [`Scaler`] first, and then a [`ToneMap`].
struct ToneMapper {
    /// Scales the frame in ten bits and in its own colours.
    scaler: Scaler,
    map: ToneMap,
}

/// Converts frames of one size and format to another.
enum Converter {
    /// A [`Resampler`] for each plane, for input of the same format and colours, and without borders.
    Planes(Vec<Resampler>),
    /// [`VideoConverter`](video::VideoConverter) of GStreamer, for all other input.
    General(video::VideoConverter),
}

/// Narrowest borders, both sides together. Below it the frame is stretched.
const MIN_BORDER: u32 = 4;
type Readable<'a> = video::VideoFrameRef<&'a gst::BufferRef>;
type Writable<'a> = video::VideoFrameRef<&'a mut gst::BufferRef>;

/// Buffers that the pool starts with.
const POOLED: u32 = 2;

impl Scaler {
    /// Returns a scaler to `width` by `height`, with these colours.
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
        // No upper bound, because the queues of the encoders bound how many are in use.
        config.set_params(Some(&caps), size, POOLED, 0);
        config.add_option(video::BUFFER_POOL_OPTION_VIDEO_META.as_ref());
        pool.set_config(config).map_err(Error::refused("scaler > pool"))?;
        pool.set_active(true).map_err(Error::refused("scaler > pool"))?;
        Ok(Self { info, pool, converter: None, tone_mapper: None })
    }

    /// Returns the format of the scaled frames.
    pub(crate) const fn info(&self) -> &video::VideoInfo {
        &self.info
    }

    /// Returns the frame in the scaler's size: a clone if the frame fits already.
    pub(crate) fn scale(&mut self, frame: &RawFrame) -> Result<RawFrame, Error> {
        if self.fits(frame.info()) {
            return Ok(frame.clone());
        }
        if tone_map::is_needed(&frame.info().colorimetry()) && !tone_map::is_needed(&self.info.colorimetry()) {
            return self.map_tone(frame);
        }
        let (known, mut converter) = match self.converter.take().filter(|(known, _)| *known == *frame.info()) {
            Some(found) => found,
            None => (frame.info().clone(), Converter::new(frame.info(), &self.info, frame.display_size())?),
        };
        let scaled = self.draw(frame, |from, to| converter.draw(from, to))?;
        self.converter = Some((known, converter));
        Ok(scaled)
    }

    /// Scales a frame whose colours have to be mapped, with a [`ToneMapper`].
    fn map_tone(&mut self, frame: &RawFrame) -> Result<RawFrame, Error> {
        let colours = frame.info().colorimetry();
        let current = self.tone_mapper.take().filter(|tone_mapper| tone_mapper.scaler.info.colorimetry() == colours);
        let mut tone_mapper = current.map_or_else(|| ToneMapper::new(&self.info, &colours).map(Box::new), Ok)?;
        let fitted = tone_mapper.scaler.scale(frame)?;
        let toned = self.draw(&fitted, |from, to| tone_mapper.map.draw(from, to))?;
        self.tone_mapper = Some(tone_mapper);
        Ok(toned)
    }

    /// Returns a new frame of the scaler's size, drawn by `how`.
    fn draw(
        &self,
        frame: &RawFrame,
        how: impl FnOnce(&Readable<'_>, &mut Writable<'_>) -> Result<(), Error>,
    ) -> Result<RawFrame, Error> {
        let refused = |error: gst::FlowError| Error::Refused { place: "scaler > pool", reason: error.to_string() };
        let mut buffer = self.pool.acquire_buffer(None).map_err(refused)?;
        {
            let from = video::VideoFrameRef::from_buffer_ref_readable(frame.buffer(), frame.info())
                .map_err(Error::refused("scaler > source"))?;
            let mut to = video::VideoFrameRef::from_buffer_ref_writable(buffer.make_mut(), &self.info)
                .map_err(Error::refused("scaler > target"))?;
            how(&from, &mut to)?;
        }
        Ok(RawFrame::new(buffer, self.info.clone()))
    }

    /// Returns whether frames of this format need no scaling.
    pub(crate) fn fits(&self, info: &video::VideoInfo) -> bool {
        let same = |a: &video::VideoInfo, b: &video::VideoInfo| {
            (a.format(), a.width(), a.height(), a.colorimetry()) == (b.format(), b.width(), b.height(), b.colorimetry())
        };
        same(info, &self.info) && info.par() == self.info.par()
    }
}

impl ToneMapper {
    /// Returns a converter from these colours to `target`.
    fn new(target: &video::VideoInfo, colours: &video::VideoColorimetry) -> Result<Self, Error> {
        let info = video::VideoInfo::builder(video::VideoFormat::I42010le, target.width(), target.height())
            .par(gst::Fraction::new(1, 1))
            .colorimetry(colours)
            .build()
            .map_err(Error::refused("map_tone > size"))?;
        Ok(Self { scaler: Scaler::to(info)?, map: ToneMap::new(colours) })
    }
}

impl Drop for Scaler {
    fn drop(&mut self) {
        // Buffers in use are freed when the last encoder drops them.
        let _stopped = self.pool.set_active(false);
    }
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
        // Checked first, because other formats may have fewer planes.
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
    video::VideoConverter::new(&progressive(from)?, to, Some(config)).map_err(Error::refused("scaler"))
}

/// Returns the format without its frame rate, which a converter refuses to change, and without interlacing, because a
/// converter would scale each field alone and fields are woven by now.
fn progressive(info: &video::VideoInfo) -> Result<video::VideoInfo, Error> {
    video::VideoInfo::builder(info.format(), info.width(), info.height())
        .par(info.par())
        .colorimetry(&info.colorimetry())
        .chroma_site(info.chroma_site())
        .build()
        .map_err(Error::refused("scaler > source"))
}

/// Returns the place of a frame with the shape `display` in `target`: x, y, width, height, all even.
fn place(display: (u32, u32), target: (u32, u32)) -> (u32, u32, u32, u32) {
    let (dw, dh) = (u64::from(display.0.max(1)), u64::from(display.1.max(1)));
    let (tw, th) = (u64::from(target.0), u64::from(target.1));
    let (width, height) = if dw * th > dh * tw { (tw, dh * tw / dw) } else { (dw * th / dh, th) };
    let side = |inner: u64, outer: u32| {
        let inner = u32::try_from(inner).unwrap_or(outer).max(2).min(outer) / 2 * 2;
        if outer - inner < MIN_BORDER { outer } else { inner }
    };
    let (width, height) = (side(width, target.0), side(height, target.1));
    ((target.0 - width) / 4 * 2, (target.1 - height) / 4 * 2, width, height)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::video::colorimetry::bt709;

    /// A frame of I420 whose luma is `at` of each place.
    fn frame(width: u32, height: u32, at: impl Fn(usize, usize) -> u8) -> RawFrame {
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

    fn luma(frame: &RawFrame) -> Vec<Vec<u8>> {
        let frame = video::VideoFrameRef::from_buffer_ref_readable(frame.buffer(), frame.info()).unwrap();
        let (stride, width) = (frame.plane_stride()[0] as usize, frame.width() as usize);
        frame.plane_data(0).unwrap().chunks(stride).map(|row| row[..width].to_vec()).collect()
    }

    #[test]
    fn planes_are_scaled_like_the_general_converter() {
        gst::init().unwrap();
        let source = frame(320, 180, |x, y| ((x * 200 / 320 + y * 50 / 180) % 256) as u8);
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
    fn other_input_takes_the_general_converter() {
        gst::init().unwrap();
        let source = frame(320, 180, |_, _| 100);
        // Borders, more than halved, and grey.
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
    fn letterboxes_are_centred() {
        assert_eq!(place((1_920, 1_080), (1_280, 720)), (0, 0, 1_280, 720));
        assert_eq!(place((1_440, 1_080), (1_920, 1_080)), (240, 0, 1_440, 1_080));
        assert_eq!(place((720, 1_280), (1_920, 1_080)), (656, 0, 606, 1_080));
        assert_eq!(place((1_920, 800), (1_920, 1_080)), (0, 140, 1_920, 800));
        // 852 by 480 is 16:9 as closely as even numbers allow.
        assert_eq!(place((1_920, 1_080), (852, 480)), (0, 0, 852, 480));
        assert_eq!(place((0, u32::MAX), (852, 480)), (424, 0, 2, 480));
    }
}
