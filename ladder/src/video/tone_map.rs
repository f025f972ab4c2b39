//! Maps video of high dynamic range or wide gamut to BT.709 in eight bits, which every player supports.
//!
//! The mapping is computed once, for a grid of colours: to the light of the display that a colour was made for, with
//! highlights compressed to SDR white as in ITU-R BT.2390, and with primaries converted to those of BT.709. A frame
//! then looks colours up: each chroma sample by interpolation between the points of the grid, and each luma sample in a
//! row of greys, plus the difference that the colour makes there.

use gstreamer_video as video;
use gstreamer_video::prelude::*;
use gstreamer_video::{
    VideoColorMatrix, VideoColorPrimaries, VideoColorRange, VideoColorimetry, VideoTransferFunction,
};

use crate::error::Error;

/// Values of a sample of ten bits.
const VALUES: usize = 1_024;
/// Points of the grid for luma, and the distance between two of them.
const LUMA: usize = 33;
const LUMA_APART: u16 = 32;
/// The same for chroma, which stays near grey in HDR. Colours further away are taken for the last ones of the grid.
const CHROMA: usize = 41;
const CHROMA_APART: u16 = 16;
const CHROMA_FIRST: u16 = 512 - (CHROMA as u16 / 2) * CHROMA_APART;
/// Unit of light, in cd/m²: white of text or a face in HDR (ITU-R BT.2408), and white of SDR.
const WHITE: f64 = 203.0;
/// Brightest light of the display that HDR is made for, in cd/m². Brighter light becomes white.
const PEAK: f64 = 1_000.0;
/// Gamma of displays for SDR (BT.1886) and for HLG (BT.2100).
const GAMMA: f64 = 2.4;
const HLG_GAMMA: f64 = 1.2;
/// Matrix from linear light of BT.2020 to that of BT.709 (ITU-R BT.2087).
const TO_709: [[f64; 3]; 3] =
    [[1.660_5, -0.587_6, -0.072_8], [-0.124_6, 1.132_9, -0.008_3], [-0.018_2, -0.100_6, 1.118_7]];
/// Rounding of the four luma samples of a chroma sample, so that smooth gradients have no steps.
const DITHER: [[f32; 2]; 2] = [[0.125, 0.625], [0.875, 0.375]];

type Colour = [f64; 3];

/// Returns whether video of these colours looks wrong in a player that takes them for BT.709.
pub(crate) fn is_needed(colours: &VideoColorimetry) -> bool {
    is_hdr(colours) || colours.primaries() == VideoColorPrimaries::Bt2020
}

fn is_hdr(colours: &VideoColorimetry) -> bool {
    matches!(colours.transfer(), VideoTransferFunction::Smpte2084 | VideoTransferFunction::AribStdB67)
}

/// Mapping from one colour space to BT.709.
pub(crate) struct ToneMap {
    /// Luma of each grey.
    greys: Vec<f32>,
    /// For each point of the grid: the difference of its luma to that of its grey, and its chroma.
    grid: Vec<[f32; 4]>,
}

impl ToneMap {
    /// Returns the mapping for video of these colours.
    pub(crate) fn new(colours: &VideoColorimetry) -> Self {
        let space = Space::new(colours);
        let middle = VALUES as f64 / 2.0;
        let grey = |luma: f64| space.convert([luma, middle, middle])[0];
        let greys: Vec<_> = (0..VALUES).map(|luma| grey(luma as f64) as f32).collect();
        let mut grid = Vec::with_capacity(LUMA * CHROMA * CHROMA);
        let chroma = |point: u16| f64::from(CHROMA_FIRST + point * CHROMA_APART);
        for red in 0..CHROMA as u16 {
            for blue in 0..CHROMA as u16 {
                grid.extend((0..LUMA as u16).map(|luma| {
                    let luma = f64::from(luma * LUMA_APART);
                    let [y, cb, cr] = space.convert([luma, chroma(blue), chroma(red)]);
                    [(y - grey(luma)) as f32, cb as f32, cr as f32, 0.0]
                }));
            }
        }
        Self { greys, grid }
    }

    /// Maps a frame of ten bits to one of eight. Both are planar, 4:2:0 and of the same even size.
    pub(crate) fn draw(
        &self,
        from: &video::VideoFrameRef<&gstreamer::BufferRef>,
        to: &mut video::VideoFrameRef<&mut gstreamer::BufferRef>,
    ) -> Result<(), Error> {
        let stride = |strides: &[i32], plane: usize| {
            strides.get(plane).and_then(|stride| usize::try_from(*stride).ok()).unwrap_or(0).max(1)
        };
        let source = |plane: u32| from.plane_data(plane).map_err(Error::refused("tone > source"));
        let (luma, blue, red) = (source(0)?, source(1)?, source(2)?);
        let from_strides = [0, 1, 2].map(|plane| stride(from.plane_stride(), plane));
        let to_strides = [0, 1, 2].map(|plane| stride(to.plane_stride(), plane));
        let width = to.width() as usize / 2;
        let [out_luma, out_blue, out_red, _] = to.planes_data_mut();
        let chroma = blue.chunks(from_strides[1]).zip(red.chunks(from_strides[2]));
        let out_chroma = out_blue.chunks_mut(to_strides[1]).zip(out_red.chunks_mut(to_strides[2]));
        let rows = luma.chunks(2 * from_strides[0]).zip(out_luma.chunks_mut(2 * to_strides[0]));
        for ((rows, chroma), out_chroma) in rows.zip(chroma).zip(out_chroma) {
            let (luma, out_luma) = rows;
            let (luma, out_luma) =
                (luma.split_at_checked(from_strides[0]), out_luma.split_at_mut_checked(to_strides[0]));
            if let (Some((upper, lower)), Some((out_upper, out_lower))) = (luma, out_luma) {
                let source = [upper, lower, chroma.0, chroma.1];
                self.rows(width, source, [out_upper, out_lower, out_chroma.0, out_chroma.1]);
            }
        }
        Ok(())
    }

    /// Maps two rows of luma, and the row of chroma between them.
    fn rows(&self, width: usize, source: [&[u8]; 4], out: [&mut [u8]; 4]) {
        let [upper, lower, blue, red] = source.map(|row| row.as_chunks::<2>().0);
        let (upper, lower) = (upper.as_chunks::<2>().0, lower.as_chunks::<2>().0);
        let [out_upper, out_lower, out_blue, out_red] = out;
        let (out_upper, out_lower) = (out_upper.as_chunks_mut::<2>().0, out_lower.as_chunks_mut::<2>().0);
        let pairs = upper.iter().zip(lower).zip(blue.iter().zip(red)).take(width);
        let outs = out_upper.iter_mut().zip(out_lower).zip(out_blue.iter_mut().zip(out_red));
        for (((upper, lower), (blue, red)), ((out_upper, out_lower), (out_blue, out_red))) in pairs.zip(outs) {
            let value = |bytes: &[u8; 2]| u16::from_le_bytes(*bytes) & (VALUES as u16 - 1);
            let (upper, lower) = (upper.each_ref().map(value), lower.each_ref().map(value));
            let mean = (upper[0] + upper[1] + lower[0] + lower[1] + 2) / 4;
            let [off, cb, cr, _] = self.between(mean.min(VALUES as u16 - 1), value(blue), value(red));
            let luma =
                |value: u16, dither: f32| (self.greys.get(usize::from(value)).unwrap_or(&0.0) + off + dither) as u8;
            *out_upper = [luma(upper[0], DITHER[0][0]), luma(upper[1], DITHER[0][1])];
            *out_lower = [luma(lower[0], DITHER[1][0]), luma(lower[1], DITHER[1][1])];
            (*out_blue, *out_red) = ((cb + 0.5) as u8, (cr + 0.5) as u8);
        }
    }

    /// Returns the mapping of a colour, interpolated from the eight points around it.
    fn between(&self, luma: u16, blue: u16, red: u16) -> [f32; 4] {
        let part = |value: u16, apart: u16| (usize::from(value / apart), f32::from(value % apart) / f32::from(apart));
        let last = (CHROMA as u16 - 1) * CHROMA_APART - 1;
        let chroma = |value: u16| part(value.saturating_sub(CHROMA_FIRST).min(last), CHROMA_APART);
        let ((y, y_part), (b, b_part), (r, r_part)) = (part(luma, LUMA_APART), chroma(blue), chroma(red));
        let mix = |one: [f32; 4], other: [f32; 4], part: f32| -> [f32; 4] {
            std::array::from_fn(|n| one[n] + (other[n] - one[n]) * part)
        };
        let line = |r: usize, b: usize| {
            let at = (r * CHROMA + b) * LUMA + y;
            match self.grid.get(at..at + 2) {
                Some(&[one, other]) => mix(one, other, y_part),
                _ => [0.0; 4],
            }
        };
        let plane = |r: usize| mix(line(r, b), line(r, b + 1), b_part);
        mix(plane(r), plane(r + 1), r_part)
    }
}

/// Colour space of the input.
struct Space {
    /// Weights of red and blue in the luma.
    weights: (f64, f64),
    full: bool,
    transfer: VideoTransferFunction,
    hdr: bool,
    wide: bool,
}

impl Space {
    fn new(colours: &VideoColorimetry) -> Self {
        let weights = match colours.matrix() {
            VideoColorMatrix::Bt709 => (0.212_6, 0.072_2),
            VideoColorMatrix::Bt601 | VideoColorMatrix::Fcc => (0.299, 0.114),
            _ => (0.262_7, 0.059_3),
        };
        Self {
            weights,
            full: colours.range() == VideoColorRange::Range0_255,
            transfer: colours.transfer(),
            hdr: is_hdr(colours),
            wide: matches!(colours.primaries(), VideoColorPrimaries::Bt2020 | VideoColorPrimaries::Unknown),
        }
    }

    /// Converts luma and chroma in ten bits to those of BT.709 in eight.
    fn convert(&self, values: Colour) -> Colour {
        let mut light = self.light(self.signals(values));
        if self.hdr {
            let most = light.iter().copied().fold(0.0, f64::max);
            let factor = if most > 0.0 { compress(most) / most } else { 1.0 };
            light = light.map(|light| light * factor);
        }
        if self.wide {
            light = TO_709.map(|row| row.iter().zip(light).map(|(part, light)| part * light).sum());
        }
        let [red, green, blue] = light.map(|light| light.clamp(0.0, 1.0).powf(1.0 / GAMMA));
        let luma = 0.212_6 * red + 0.715_2 * green + 0.072_2 * blue;
        [16.0 + 219.0 * luma, 128.0 + 224.0 * (blue - luma) / 1.855_6, 128.0 + 224.0 * (red - luma) / 1.574_8]
    }

    /// Returns the signals for red, green and blue, 0 to 1.
    fn signals(&self, [luma, blue, red]: Colour) -> Colour {
        let (black, range, chroma) = if self.full { (0.0, 1_023.0, 1_023.0) } else { (64.0, 876.0, 896.0) };
        let (luma, blue, red) = ((luma - black) / range, (blue - 512.0) / chroma, (red - 512.0) / chroma);
        let (kr, kb) = self.weights;
        let (r, b) = (luma + 2.0 * (1.0 - kr) * red, luma + 2.0 * (1.0 - kb) * blue);
        [r, (luma - kr * r - kb * b) / (1.0 - kr - kb), b].map(|signal| signal.clamp(0.0, 1.0))
    }

    /// Returns the light of the display for these signals, 1 being white.
    fn light(&self, signals: Colour) -> Colour {
        match self.transfer {
            VideoTransferFunction::Smpte2084 => signals.map(|signal| pq_light(signal) / WHITE),
            VideoTransferFunction::AribStdB67 => {
                let scene = signals.map(hlg_scene);
                let luminance = 0.262_7 * scene[0] + 0.678 * scene[1] + 0.059_3 * scene[2];
                let system = PEAK / WHITE * luminance.powf(HLG_GAMMA - 1.0);
                scene.map(|light| light * system)
            }
            _ => signals.map(|signal| signal.powf(GAMMA)),
        }
    }
}

const PQ_M: (f64, f64) = (2_610.0 / 16_384.0, 2_523.0 / 32.0);
const PQ_C: [f64; 3] = [3_424.0 / 4_096.0, 2_413.0 / 128.0, 2_392.0 / 128.0];

/// Returns the light for a signal of PQ, in cd/m² (SMPTE ST 2084).
fn pq_light(signal: f64) -> f64 {
    let root = signal.powf(1.0 / PQ_M.1);
    10_000.0 * ((root - PQ_C[0]).max(0.0) / (PQ_C[1] - PQ_C[2] * root)).powf(1.0 / PQ_M.0)
}

fn pq_signal(light: f64) -> f64 {
    let root = (light / 10_000.0).powf(PQ_M.0);
    ((PQ_C[0] + PQ_C[1] * root) / (1.0 + PQ_C[2] * root)).powf(PQ_M.1)
}

/// Returns the light of the scene for a signal of HLG, 0 to 1 (ARIB STD-B67).
fn hlg_scene(signal: f64) -> f64 {
    const A: f64 = 0.178_832_77;
    const B: f64 = 0.284_668_92;
    const C: f64 = 0.559_910_73;
    if signal <= 0.5 { signal * signal / 3.0 } else { (((signal - C) / A).exp() + B) / 12.0 }
}

/// Compresses light up to [`PEAK`] to light up to white, which is 1: unchanged below a knee, by a curve above (ITU-R
/// BT.2390, EETF).
fn compress(light: f64) -> f64 {
    let peak = pq_signal(PEAK);
    let most = pq_signal(WHITE) / peak;
    let knee = 1.5 * most - 0.5;
    let signal = (pq_signal(light * WHITE) / peak).min(1.0);
    if signal <= knee {
        return light;
    }
    let t = (signal - knee) / (1.0 - knee);
    let (t2, t3) = (t * t, t * t * t);
    let curve = (2.0 * t3 - 3.0 * t2 + 1.0) * knee + (t3 - 2.0 * t2 + t) * (1.0 - knee) + (3.0 * t2 - 2.0 * t3) * most;
    pq_light(curve * peak) / WHITE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn colours(transfer: VideoTransferFunction) -> VideoColorimetry {
        let (range, matrix) = (VideoColorRange::Range16_235, VideoColorMatrix::Bt2020);
        VideoColorimetry::new(range, matrix, transfer, VideoColorPrimaries::Bt2020)
    }

    /// A grey in ten bits that gives this signal.
    fn grey(signal: f64) -> Colour {
        [64.0 + 876.0 * signal, 512.0, 512.0]
    }

    #[test]
    fn hdr_white_is_nearly_white_and_highlights_are_not_clipped() {
        let pq = Space::new(&colours(VideoTransferFunction::Smpte2084));
        let luma = |nits: f64| pq.convert(grey(pq_signal(nits)))[0];
        assert!((luma(0.0) - 16.0).abs() < 0.01);
        assert!((205.0..220.0).contains(&luma(203.0)), "{}", luma(203.0));
        assert!((luma(1_000.0) - 235.0).abs() < 0.1 && luma(400.0) < 232.0);
        assert!((luma(50.0) - (16.0 + 219.0 * (50.0f64 / 203.0).powf(1.0 / 2.4))).abs() < 0.5);
        let hlg = Space::new(&colours(VideoTransferFunction::AribStdB67));
        assert!((205.0..220.0).contains(&hlg.convert(grey(0.75))[0]), "{:?}", hlg.convert(grey(0.75)));
        assert!((hlg.convert(grey(1.0))[0] - 235.0).abs() < 0.1);
    }

    #[test]
    fn greys_stay_grey_and_in_order() {
        for transfer in
            [VideoTransferFunction::Smpte2084, VideoTransferFunction::AribStdB67, VideoTransferFunction::Bt202010]
        {
            let tone = ToneMap::new(&colours(transfer));
            assert!(tone.greys.is_sorted());
            for luma in (64..940).step_by(7) {
                let [off, cb, cr, _] = tone.between(luma, 512, 512);
                assert!(
                    off.abs() < 0.01 && (cb - 128.0).abs() < 0.01 && (cr - 128.0).abs() < 0.01,
                    "{transfer:?} {luma}"
                );
            }
        }
    }

    #[test]
    fn interpolation_is_near_the_exact_colour() {
        let colours = colours(VideoTransferFunction::Smpte2084);
        let (tone, space) = (ToneMap::new(&colours), Space::new(&colours));
        for (luma, blue, red) in [(400, 500, 540), (300, 530, 495), (600, 500, 530), (700, 490, 520)] {
            let [off, cb, cr, _] = tone.between(luma, blue, red);
            let found = [f64::from(tone.greys[usize::from(luma)] + off), f64::from(cb), f64::from(cr)];
            let exact = space.convert([luma, blue, red].map(f64::from));
            let apart = found.iter().zip(exact).map(|(one, other)| (one - other).abs()).fold(0.0, f64::max);
            assert!(apart < 2.5, "{found:?}, {exact:?}");
        }
    }

    #[test]
    fn wide_gamut_of_standard_range_keeps_its_luma() {
        let space = Space::new(&colours(VideoTransferFunction::Bt202010));
        assert!((space.convert(grey(0.5))[0] - (16.0 + 219.0 * 0.5)).abs() < 0.1);
        // A red of BT.709 has small values in the larger gamut, and its own again after the conversion.
        let [_, _, red] = space.convert([500.0, 480.0, 620.0]);
        assert!(red > 128.0 + 108.0 / 4.0, "{red}");
    }
}
