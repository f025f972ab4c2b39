//! Plans the rungs for an input: a pure function of the input and the quality level.

use media::{CodecConfig, FrameRate, LatencyMode, TickGrid, TrackId};

/// Effort that is spent on a broadcast.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Level {
    /// Standard ladder: at most four rungs, and a fast preset.
    Plus,
    /// More rungs at higher bit rates, at most six, and a better preset.
    Premium,
}

/// Input of a ladder.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Input {
    /// Width of the video, with square pixels.
    pub width: u32,
    /// Height of the video.
    pub height: u32,
    /// Frame rate.
    pub rate: FrameRate,
    /// Bits per second, if they are known. No rung is given a better quality than the input has.
    pub bitrate: Option<u32>,
    /// Bits of H.264 that one bit of the input's codec corresponds to; see [`codec_efficiency`].
    pub codec_efficiency: f64,
}

/// One rendition of a ladder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rung {
    /// Name: the short side, as in `720p`.
    pub name: String,
    /// Width, an even number.
    pub width: u32,
    /// Height, an even number.
    pub height: u32,
    /// Frame rate.
    pub rate: FrameRate,
    /// Frames of the reference rendition for each frame of this rung.
    pub divisor: u32,
    /// Bits per second on average.
    pub bitrate: u32,
}

/// Track of the first audio output. The tracks of the other outputs follow it, and those of their lower bit rates
/// follow after [`MAX_AUDIO_TRACKS`] ids in the same order. Rung `n` is track `n`.
pub const FIRST_AUDIO_TRACK: TrackId = TrackId(64);
/// Track of the reference rendition.
pub(crate) const REFERENCE_TRACK: TrackId = TrackId(0);

/// Most encodings of audio, all outputs and bit rates together.
pub const MAX_AUDIO_TRACKS: usize = 8;

/// Highest frame rate that is encoded. Above it only every second frame is, or fewer.
const MAX_FRAME_RATE: f64 = 60.5;
/// Frame rate above which a rung that need not be smooth has one frame in two.
const MAX_COARSE_RATE: f64 = 32.0;
/// Short side from which premium rungs keep the full frame rate.
const MIN_SMOOTH_PREMIUM: u32 = 720;
/// Largest ratio of a rung to the one above it, in each direction. Rungs closer to each other give viewers nothing.
const MAX_SIZE_STEP: f64 = 0.85;
/// Largest ratio of [`Rung::bitrate`] to that of the rung above it.
const MAX_BITRATE_STEP: f64 = 0.75;
/// Largest ratio of the long side to the short side that keeps its height, 21:9 and a little. Wider video becomes
/// smaller.
const MAX_ASPECT: f64 = 21.4 / 9.0;
/// Smallest side that x264 accepts.
const MIN_SIDE: u32 = 16;
/// Lowest bit rate that is worth encoding.
const MIN_BITRATE: f64 = 100_000.0;
/// Aspect ratio that the bit rates of the tables are for.
const TABLE_ASPECT: f64 = 16.0 / 9.0;
/// Exponents by which bits grow with pixels and with frames: less than either.
const PIXEL_POWER: f64 = 0.8;
const FRAME_POWER: f64 = 0.6;

/// Parameters common to all encoders of a ladder, whatever their [`Rung`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct EncoderParams {
    pub(crate) level: Level,
    pub(crate) mode: LatencyMode,
    /// Ticks of the reference rendition.
    pub(crate) ticks: TickGrid,
    /// Frames of the reference rendition from one key frame to the next.
    pub(crate) gop: u32,
    /// The same at most, where the source decides on key frames.
    pub(crate) max_gop: u32,
}

/// Short sides, and kilobits per second of 16:9 video at 30 frames per second.
const PLUS: &[(u32, f64)] =
    &[(2_160, 13_000.0), (1_440, 7_500.0), (1_080, 4_500.0), (720, 2_500.0), (480, 1_200.0), (270, 450.0)];
const PREMIUM: &[(u32, f64)] = &[
    (2_160, 18_000.0),
    (1_440, 10_500.0),
    (1_080, 6_500.0),
    (720, 3_800.0),
    (540, 2_400.0),
    (432, 1_500.0),
    (324, 850.0),
    (216, 350.0),
];

/// Returns the bits of H.264 that one bit of a codec corresponds to.
pub const fn codec_efficiency(codec: &CodecConfig) -> f64 {
    match codec {
        CodecConfig::Hevc(_) | CodecConfig::Vp9(_) => 1.6,
        CodecConfig::Av1(_) => 2.0,
        _ => 1.0,
    }
}

impl Level {
    const fn table(self) -> &'static [(u32, f64)] {
        match self {
            Self::Plus => PLUS,
            Self::Premium => PREMIUM,
        }
    }

    /// Returns the bits per second of each encoding of an audio output, the best first.
    pub const fn audio_bitrates(self) -> &'static [u32] {
        match self {
            Self::Plus => &[128_000],
            Self::Premium => &[160_000, 80_000],
        }
    }

    /// Returns the most rungs of a ladder.
    pub const fn max_rungs(self) -> usize {
        match self {
            Self::Plus => 4,
            Self::Premium => 6,
        }
    }
}

/// Returns the rungs for `input`, the largest (the reference rendition) first. None is larger than the input, or than
/// `max_height` on its short side.
pub fn plan(input: &Input, level: Level, max_height: u32) -> Vec<Rung> {
    let (width, height) = (input.width.max(1), input.height.max(1));
    let (short, long) = (width.min(height), width.max(height));
    let aspect = f64::from(long) / f64::from(short);
    // Very wide video has to fit by its long side.
    let fits = f64::from(max_height.max(MIN_SIDE)) * (MAX_ASPECT / aspect).min(1.0);
    let top = (fits as u32).min(short);
    let rate = input.rate.divided(if input.rate.per_second() > MAX_FRAME_RATE {
        (input.rate.per_second() / MAX_FRAME_RATE).ceil() as u32
    } else {
        1
    });
    let mut ceiling = input.bitrate.map_or(f64::INFINITY, |bits| f64::from(bits) * input.codec_efficiency.max(1.0));
    let mut rungs = Vec::new();
    for side in sides(top, level) {
        let divisor = divisor(rate, level, side, rungs.is_empty());
        let (short, long) = (even(f64::from(side)), even(f64::from(side) * aspect));
        let bits = bits(level, short, long, rate.divided(divisor)).min(ceiling).max(MIN_BITRATE);
        ceiling = bits * MAX_BITRATE_STEP;
        let (width, height) = if width > height { (long, short) } else { (short, long) };
        rungs.push(Rung {
            name: format!("{short}p"),
            width,
            height,
            rate: rate.divided(divisor),
            divisor,
            bitrate: bits as u32,
        });
    }
    rungs
}

/// Returns [`EncoderParams::gop`] for key frames about `seconds` apart, where all rungs have a frame.
pub(crate) fn gop_frames(plan: &[Rung], rate: FrameRate, seconds: u32) -> u32 {
    let divisor = plan.iter().map(|rung| rung.divisor).max().unwrap_or(1).max(1);
    (rate.frames_in(seconds) / divisor).max(1) * divisor
}

/// Returns the order in which rungs are dropped when the machine cannot keep up.
///
/// The reference rendition is never dropped, because the segment boundaries of all others follow it. The smallest one
/// is dropped last, because its viewers have nothing else. Between them the most expensive one is dropped first.
pub fn shedding_order(rungs: usize) -> impl Iterator<Item = usize> {
    1..rungs
}

/// Returns short sides from `top` downwards, as many as the level has, each far enough from the next.
fn sides(top: u32, level: Level) -> Vec<u32> {
    let mut last = top;
    let mut below = Vec::new();
    for (side, _) in level.table() {
        if f64::from(*side) <= f64::from(last) * MAX_SIZE_STEP {
            below.push(*side);
            last = *side;
        }
    }
    // Spread evenly if there are too many, with the smallest always among them.
    let all = below.len();
    let most = (level.max_rungs() - 1).min(all);
    let picked = (1..=most).filter_map(|n| below.get((2 * n * all + most) / (2 * most) - 1));
    std::iter::once(top).chain(picked.copied()).collect()
}

/// Returns how many frames of the reference rendition there are for each frame of a rung.
fn divisor(rate: FrameRate, level: Level, side: u32, is_reference: bool) -> u32 {
    let full = is_reference || level == Level::Premium && side >= MIN_SMOOTH_PREMIUM;
    if full || rate.per_second() <= MAX_COARSE_RATE { 1 } else { 2 }
}

/// Returns the bits per second for a size, scaled from the nearest line of the level's table.
fn bits(level: Level, short: u32, long: u32, rate: FrameRate) -> f64 {
    let pixels = f64::from(short) * f64::from(long);
    let entry = |(side, kilobits): &(u32, f64)| (f64::from(*side).powi(2) * TABLE_ASPECT, kilobits * 1_000.0);
    let nearest = level.table().iter().map(entry).min_by(|(a, _), (b, _)| {
        let far = |table: &f64| (table / pixels).ln().abs();
        far(a).total_cmp(&far(b))
    });
    let (table, bits) = nearest.unwrap_or((pixels, MIN_BITRATE));
    bits * (pixels / table).powf(PIXEL_POWER) * (rate.per_second() / 30.0).powf(FRAME_POWER)
}

/// Rounds a side down to an even number that an encoder accepts.
fn even(side: f64) -> u32 {
    ((side / 2.0).floor() as u32 * 2).max(MIN_SIDE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn input(width: u32, height: u32, fps: u32) -> Input {
        Input { width, height, rate: FrameRate::new(fps, 1), bitrate: None, codec_efficiency: 1.0 }
    }

    fn sizes(width: u32, height: u32, level: Level, most: u32) -> Vec<(u32, u32)> {
        plan(&input(width, height, 30), level, most).iter().map(|rung| (rung.width, rung.height)).collect()
    }

    #[test]
    fn standard_ladder() {
        let rungs = plan(&input(1_920, 1_080, 30), Level::Plus, 1_080);
        let planned: Vec<_> = rungs.iter().map(|rung| (rung.name.as_str(), rung.width, rung.bitrate / 1_000)).collect();
        assert_eq!(
            planned,
            [("1080p", 1_920, 4_500), ("720p", 1_280, 2_500), ("480p", 852, 1_198), ("270p", 480, 450)]
        );
        assert_eq!(sizes(1_280, 720, Level::Plus, 1_080), [(1_280, 720), (852, 480), (480, 270)]);
        assert_eq!(sizes(320, 240, Level::Plus, 1_080), [(320, 240)]);
    }

    #[test]
    fn premium_has_more_rungs() {
        let rungs = plan(&input(1_920, 1_080, 60), Level::Premium, 1_080);
        let planned: Vec<_> = rungs.iter().map(|rung| (rung.height, rung.divisor)).collect();
        assert_eq!(planned, [(1_080, 1), (720, 1), (540, 2), (432, 2), (324, 2), (216, 2)]);
        assert!(rungs[0].bitrate > 6_500_000);
    }

    #[test]
    fn top_rung_has_the_size_of_the_input() {
        assert_eq!(sizes(1_600, 900, Level::Plus, 1_080)[..2], [(1_600, 900), (1_280, 720)]);
        assert_eq!(sizes(1_365, 767, Level::Plus, 1_080)[..2], [(1_364, 766), (854, 480)]);
    }

    #[test]
    fn rungs_above_1080_only_where_allowed() {
        assert_eq!(sizes(3_840, 2_160, Level::Plus, 1_080)[0], (1_920, 1_080));
        let all = [(3_840, 2_160), (1_920, 1_080), (1_280, 720), (480, 270)];
        assert_eq!(sizes(3_840, 2_160, Level::Plus, 2_160), all);
    }

    #[test]
    fn portrait_and_odd_shapes() {
        assert_eq!(sizes(1_080, 1_920, Level::Plus, 1_080)[..2], [(1_080, 1_920), (720, 1_280)]);
        assert_eq!(sizes(1_440, 1_440, Level::Plus, 1_080)[0], (1_080, 1_080));
        assert_eq!(sizes(2_560, 1_080, Level::Plus, 1_080)[0], (2_560, 1_080));
        assert_eq!(sizes(3_840, 1_080, Level::Plus, 1_080)[0], (2_566, 722));
    }

    #[test]
    fn frame_rates() {
        let rungs = plan(&input(1_920, 1_080, 60), Level::Plus, 1_080);
        assert_eq!(rungs.iter().map(|rung| rung.divisor).collect::<Vec<_>>(), [1, 2, 2, 2]);
        assert_eq!(plan(&input(1_280, 720, 120), Level::Plus, 1_080)[0].rate, FrameRate::new(120, 2));
        assert_eq!(plan(&input(1_280, 720, 25), Level::Plus, 1_080)[1].rate, FrameRate::new(25, 1));
    }

    #[test]
    fn low_bitrate_input_bounds_the_rungs() {
        let poor = Input { bitrate: Some(1_000_000), ..input(1_920, 1_080, 30) };
        let rungs = plan(&poor, Level::Plus, 1_080);
        assert_eq!(rungs.iter().map(|rung| rung.bitrate).collect::<Vec<_>>(), [1_000_000, 750_000, 562_500, 421_875]);
        assert_eq!(plan(&Input { codec_efficiency: 1.6, ..poor }, Level::Plus, 1_080)[0].bitrate, 1_600_000);
    }

    #[test]
    fn reference_rendition_is_never_shed_and_the_smallest_is_last() {
        assert_eq!(shedding_order(4).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(shedding_order(1).count() + shedding_order(0).count(), 0);
    }

    proptest! {
        #[test]
        fn any_input_has_a_valid_ladder(
            width in 1u32..20_000, height in 1u32..20_000, fps in 1u32..300, most in 1u32..5_000,
            bitrate in proptest::option::of(1u32..100_000_000), premium: bool,
        ) {
            let level = if premium { Level::Premium } else { Level::Plus };
            let rungs = plan(&Input { bitrate, ..input(width, height, fps) }, level, most);
            prop_assert!((1..=level.max_rungs()).contains(&rungs.len()));
            for rung in &rungs {
                prop_assert!(rung.width % 2 == 0 && rung.height % 2 == 0);
                prop_assert!(rung.width <= width.max(MIN_SIDE) && rung.height <= height.max(MIN_SIDE));
                prop_assert!(rung.width.min(rung.height) <= most.max(MIN_SIDE));
                prop_assert!(rung.rate.per_second() <= MAX_FRAME_RATE && rung.bitrate >= 100_000);
                prop_assert!((width > height) == (rung.width > rung.height) || rung.width == rung.height);
            }
            for pair in rungs.windows(2) {
                prop_assert!(pair[1].width <= pair[0].width && pair[1].height < pair[0].height.max(MIN_SIDE + 1));
                prop_assert!(pair[1].bitrate < pair[0].bitrate || pair[1].bitrate == 100_000);
            }
        }
    }
}
