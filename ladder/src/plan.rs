//! Which renditions an input gets: a pure function of the input and the quality level.

use media::CodecConfig;

use crate::rate::Rate;

/// How much is spent on a broadcast.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Level {
    /// The standard ladder: at most four rungs, a fast preset.
    Plus,
    /// More rungs at higher rates and a better preset: at most six.
    Premium,
}

/// What comes in.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Input {
    /// Width of the picture with square pixels.
    pub width: u32,
    /// Height of the picture.
    pub height: u32,
    /// Frames a second.
    pub rate: Rate,
    /// Bits a second, where they are known: a rung never gets more than the input is worth.
    pub bitrate: Option<u32>,
    /// Bits of H.264 that one bit of the input's codec is worth; see [`worth`].
    pub worth: f64,
}

/// One rendition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rung {
    /// Its name: the short side, as in `720p`.
    pub name: String,
    /// Even.
    pub width: u32,
    /// Even.
    pub height: u32,
    /// Frames a second.
    pub rate: Rate,
    /// It shows one in so many of the leader's frames.
    pub divisor: u32,
    /// Bits a second on average.
    pub bitrate: u32,
}

/// Encodings of sound at the most, all rates of all sounds together.
pub const MAX_AUDIO_TRACKS: usize = 8;

/// The highest rate that is encoded; above it one frame in two is.
const FASTEST: f64 = 60.5;
/// A rung that is not to be smoother than film: above this it takes one frame in two.
const SMOOTH: f64 = 32.0;
/// Premium rungs of this height and above keep the full rate.
const PREMIUM_SMOOTH: u32 = 720;
/// A rung is at most this much of the one above it, in each direction: closer ones are worth nothing to a viewer.
const STEP: f64 = 0.85;
/// A rung has at most this much of the bit rate above it.
const RATE_STEP: f64 = 0.75;
/// The widest picture, against its short side: 21:9. A wider one becomes smaller.
const WIDEST: f64 = 21.4 / 9.0;
/// x264 takes no smaller side.
const SMALLEST: u32 = 16;
/// The least that is worth encoding.
const LEAST_RATE: f64 = 100_000.0;
/// Pixels of 16:9 for which a bit rate of the tables is meant, as a ratio to the square of the height.
const TABLE_ASPECT: f64 = 16.0 / 9.0;
/// Bits grow less than pixels and frames do.
const PIXEL_POWER: f64 = 0.8;
const FRAME_POWER: f64 = 0.6;

/// Short sides and kilobits a second of 16:9 pictures at 30 frames a second.
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

/// Bits of H.264 that one bit of a codec is worth.
pub const fn worth(codec: &CodecConfig) -> f64 {
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

    /// Bits a second of each encoding of a sound, the best first.
    pub const fn sounds(self) -> &'static [u32] {
        match self {
            Self::Plus => &[128_000],
            Self::Premium => &[160_000, 80_000],
        }
    }

    /// The most rungs of a ladder.
    pub const fn most_rungs(self) -> usize {
        match self {
            Self::Plus => 4,
            Self::Premium => 6,
        }
    }
}

/// The rungs for `input`, the largest (the leader) first; never larger than the input, nor than `max_height` on the short
/// side.
pub fn plan(input: &Input, level: Level, max_height: u32) -> Vec<Rung> {
    let (width, height) = (input.width.max(1), input.height.max(1));
    let (short, long) = (width.min(height), width.max(height));
    let aspect = f64::from(long) / f64::from(short);
    // A very wide picture fits by its long side.
    let fits = f64::from(max_height.max(SMALLEST)) * (WIDEST / aspect).min(1.0);
    let top = (fits as u32).min(short);
    let rate = input.rate.divided(if input.rate.per_second() > FASTEST {
        (input.rate.per_second() / FASTEST).ceil() as u32
    } else {
        1
    });
    let mut ceiling = input.bitrate.map_or(f64::INFINITY, |bits| f64::from(bits) * input.worth.max(1.0));
    let mut rungs = Vec::new();
    for side in sides(top, level) {
        let divisor = divisor(rate, level, side, rungs.is_empty());
        let (short, long) = (even(f64::from(side)), even(f64::from(side) * aspect));
        let bits = bits(level, short, long, rate.divided(divisor)).min(ceiling).max(LEAST_RATE);
        ceiling = bits * RATE_STEP;
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

/// The order in which rungs are given up when the machine cannot keep up. The leader stays, as it says where all others
/// are cut; the smallest goes last, as who needs it has nothing else; between them the dearest goes first.
pub fn shedding(rungs: usize) -> impl Iterator<Item = usize> {
    1..rungs
}

/// Short sides from `top` downwards, as many as the level has, far enough from one another.
fn sides(top: u32, level: Level) -> Vec<u32> {
    let mut last = top;
    let mut below = Vec::new();
    for (side, _) in level.table() {
        if f64::from(*side) <= f64::from(last) * STEP {
            below.push(*side);
            last = *side;
        }
    }
    // Too many: as evenly as it goes, the smallest always among them.
    let all = below.len();
    let most = (level.most_rungs() - 1).min(all);
    let picked = (1..=most).filter_map(|n| below.get((2 * n * all + most) / (2 * most) - 1));
    std::iter::once(top).chain(picked.copied()).collect()
}

/// One in how many of the leader's frames a rung shows.
fn divisor(rate: Rate, level: Level, side: u32, leader: bool) -> u32 {
    let full = leader || level == Level::Premium && side >= PREMIUM_SMOOTH;
    if full || rate.per_second() <= SMOOTH { 1 } else { 2 }
}

/// Bits a second for a picture, between the lines of the level's table.
fn bits(level: Level, short: u32, long: u32, rate: Rate) -> f64 {
    let pixels = f64::from(short) * f64::from(long);
    let entry = |(side, kilobits): &(u32, f64)| (f64::from(*side).powi(2) * TABLE_ASPECT, kilobits * 1_000.0);
    let nearest = level.table().iter().map(entry).min_by(|(a, _), (b, _)| {
        let far = |table: &f64| (table / pixels).ln().abs();
        far(a).total_cmp(&far(b))
    });
    let (table, bits) = nearest.unwrap_or((pixels, LEAST_RATE));
    bits * (pixels / table).powf(PIXEL_POWER) * (rate.per_second() / 30.0).powf(FRAME_POWER)
}

/// The next even number downwards that an encoder takes.
fn even(side: f64) -> u32 {
    ((side / 2.0).floor() as u32 * 2).max(SMALLEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn input(width: u32, height: u32, fps: u32) -> Input {
        Input { width, height, rate: Rate::new(fps, 1), bitrate: None, worth: 1.0 }
    }

    fn sizes(width: u32, height: u32, level: Level, most: u32) -> Vec<(u32, u32)> {
        plan(&input(width, height, 30), level, most).iter().map(|rung| (rung.width, rung.height)).collect()
    }

    #[test]
    fn the_standard_ladder() {
        let rungs = plan(&input(1_920, 1_080, 30), Level::Plus, 1_080);
        let told: Vec<_> = rungs.iter().map(|rung| (rung.name.as_str(), rung.width, rung.bitrate / 1_000)).collect();
        assert_eq!(told, [("1080p", 1_920, 4_500), ("720p", 1_280, 2_500), ("480p", 852, 1_198), ("270p", 480, 450)]);
        assert_eq!(sizes(1_280, 720, Level::Plus, 1_080), [(1_280, 720), (852, 480), (480, 270)]);
        assert_eq!(sizes(320, 240, Level::Plus, 1_080), [(320, 240)]);
    }

    #[test]
    fn premium_has_more() {
        let rungs = plan(&input(1_920, 1_080, 60), Level::Premium, 1_080);
        let told: Vec<_> = rungs.iter().map(|rung| (rung.height, rung.divisor)).collect();
        assert_eq!(told, [(1_080, 1), (720, 1), (540, 2), (432, 2), (324, 2), (216, 2)]);
        assert!(rungs[0].bitrate > 6_500_000);
    }

    #[test]
    fn between_the_lines_the_top_is_the_inputs_own() {
        assert_eq!(sizes(1_600, 900, Level::Plus, 1_080)[..2], [(1_600, 900), (1_280, 720)]);
        assert_eq!(sizes(1_365, 767, Level::Plus, 1_080)[..2], [(1_364, 766), (854, 480)]);
    }

    #[test]
    fn more_than_1080_only_where_it_is_allowed() {
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
    fn rates() {
        let rungs = plan(&input(1_920, 1_080, 60), Level::Plus, 1_080);
        assert_eq!(rungs.iter().map(|rung| rung.divisor).collect::<Vec<_>>(), [1, 2, 2, 2]);
        assert_eq!(plan(&input(1_280, 720, 120), Level::Plus, 1_080)[0].rate, Rate::new(120, 2));
        assert_eq!(plan(&input(1_280, 720, 25), Level::Plus, 1_080)[1].rate, Rate::new(25, 1));
    }

    #[test]
    fn a_poor_input_gets_no_rich_rungs() {
        let poor = Input { bitrate: Some(1_000_000), ..input(1_920, 1_080, 30) };
        let rungs = plan(&poor, Level::Plus, 1_080);
        assert_eq!(rungs.iter().map(|rung| rung.bitrate).collect::<Vec<_>>(), [1_000_000, 750_000, 562_500, 421_875]);
        assert_eq!(plan(&Input { worth: 1.6, ..poor }, Level::Plus, 1_080)[0].bitrate, 1_600_000);
    }

    #[test]
    fn the_leader_is_never_shed_and_the_smallest_goes_last() {
        assert_eq!(shedding(4).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(shedding(1).count() + shedding(0).count(), 0);
    }

    proptest! {
        #[test]
        fn any_input_has_a_sound_ladder(
            width in 1u32..20_000, height in 1u32..20_000, fps in 1u32..300, most in 1u32..5_000,
            bitrate in proptest::option::of(1u32..100_000_000), premium: bool,
        ) {
            let level = if premium { Level::Premium } else { Level::Plus };
            let rungs = plan(&Input { bitrate, ..input(width, height, fps) }, level, most);
            prop_assert!((1..=level.most_rungs()).contains(&rungs.len()));
            for rung in &rungs {
                prop_assert!(rung.width % 2 == 0 && rung.height % 2 == 0);
                prop_assert!(rung.width <= width.max(SMALLEST) && rung.height <= height.max(SMALLEST));
                prop_assert!(rung.width.min(rung.height) <= most.max(SMALLEST));
                prop_assert!(rung.rate.per_second() <= FASTEST && rung.bitrate >= 100_000);
                prop_assert!((width > height) == (rung.width > rung.height) || rung.width == rung.height);
            }
            for pair in rungs.windows(2) {
                prop_assert!(pair[1].width <= pair[0].width && pair[1].height < pair[0].height.max(SMALLEST + 1));
                prop_assert!(pair[1].bitrate < pair[0].bitrate || pair[1].bitrate == 100_000);
            }
        }
    }
}
