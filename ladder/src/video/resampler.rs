//! Scales planes of eight bits. Each sample is made of the two nearest ones in each direction.
//!
//! GStreamer's converter gives the same result, but takes the samples of a row one by one, which was two thirds of the
//! time of scaling. Here two rows are first mixed into one, which compilers turn into vector code by themselves.
//! [`Pick`] is for the step that they cannot: it takes sixteen samples of that row at once, with the byte shuffle of
//! x86-64. Other processors take them one by one, with the same result.

/// Samples that are picked at once.
const BLOCK: usize = 16;
/// Samples of a row that contain those of a block and their neighbours on the right.
const WINDOW: usize = 2 * BLOCK + 1;
/// Sum of the two weights of a sample.
const WHOLE: usize = 256;

/// The two neighbouring samples that a scaled one is made of.
#[derive(Clone, Copy, Debug)]
struct Tap {
    first: usize,
    /// Weight of the second sample, of [`WHOLE`].
    weight: u8,
}

/// Left samples of [`BLOCK`] taps: their place in the row, and indices into the first and into the last [`BLOCK`]
/// samples from there. An index of 128 and above selects none.
#[derive(Clone, Copy, Debug)]
struct Pick {
    base: usize,
    near: [u8; BLOCK],
    far: [u8; BLOCK],
}

/// Scales planes of one size to another.
#[derive(Debug)]
pub(crate) struct Resampler {
    width: usize,
    rows: Vec<Tap>,
    picks: Vec<Pick>,
    weights: Vec<u8>,
    /// Two rows of the plane, mixed. The row is longer than the plane is wide, so that each [`WINDOW`] lies within it.
    row: Vec<u8>,
    left: Vec<u8>,
    right: Vec<u8>,
    shuffles: bool,
}

impl Resampler {
    /// Returns whether planes of this width or height can be scaled to `to` with two samples for each. Planes more than
    /// twice as large cannot, because samples in between would be ignored.
    pub(crate) const fn suits(from: u32, to: u32) -> bool {
        from > 0 && to > 0 && from <= 2 * to
    }

    /// Returns a resampler from one width and height to another, each of which [`Resampler::suits`].
    pub(crate) fn new(from: (u32, u32), to: (u32, u32)) -> Self {
        let columns = taps(from.0 as usize, to.0 as usize);
        let picks: Vec<_> = columns.chunks(BLOCK).map(Pick::new).collect();
        let length = picks.len() * BLOCK;
        Self {
            width: from.0 as usize,
            rows: taps(from.1 as usize, to.1 as usize),
            weights: columns.iter().map(|tap| tap.weight).collect(),
            row: vec![0; from.0 as usize + WINDOW],
            left: vec![0; length],
            right: vec![0; length],
            picks,
            shuffles: shuffles(),
        }
    }

    /// Scales a plane whose rows begin `stride` samples apart. Missing rows are left out.
    pub(crate) fn draw(&mut self, from: (&[u8], usize), to: (&mut [u8], usize)) {
        #[cfg(target_arch = "x86_64")]
        if self.shuffles {
            // SAFETY: `shuffles` is only true where the processor has AVX2.
            #[allow(unsafe_code, reason = "the one way to call what is compiled for some processors only")]
            return unsafe { self.draw_by_shuffling(from, to) };
        }
        self.draw_rows(from, to, pick);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn draw_by_shuffling(&mut self, from: (&[u8], usize), to: (&mut [u8], usize)) {
        self.draw_rows(from, to, |row, picks, left, right| shuffle::pick(row, picks, left, right));
    }

    #[inline(always)]
    fn draw_rows(
        &mut self,
        (from, stride): (&[u8], usize),
        (to, to_stride): (&mut [u8], usize),
        pick: impl Fn(&[u8], &[Pick], &mut [u8], &mut [u8]),
    ) {
        let source = |n: usize| from.get(n * stride..)?.get(..self.width);
        for (tap, out) in self.rows.iter().zip(to.chunks_mut(to_stride.max(1))) {
            let Some(upper) = source(tap.first) else { return };
            let lower = source(tap.first + 1).unwrap_or(upper);
            let weight = u16::from(tap.weight);
            for ((out, upper), lower) in self.row.iter_mut().zip(upper).zip(lower) {
                *out = between(*upper, *lower, weight);
            }
            pick(&self.row, &self.picks, &mut self.left, &mut self.right);
            let pairs = self.left.iter().zip(&self.right).zip(&self.weights);
            for (out, ((left, right), weight)) in out.iter_mut().zip(pairs) {
                *out = between(*left, *right, u16::from(*weight));
            }
        }
    }
}

impl Pick {
    /// Returns a pick for at most [`BLOCK`] taps.
    fn new(taps: &[Tap]) -> Self {
        let base = taps.first().map_or(0, |tap| tap.first);
        let mut pick = Self { base, near: [u8::MAX; BLOCK], far: [u8::MAX; BLOCK] };
        for (n, tap) in taps.iter().enumerate() {
            let place = tap.first - base;
            let (half, place) = if place < BLOCK { (&mut pick.near, place) } else { (&mut pick.far, place - BLOCK) };
            if let Some(slot) = half.get_mut(n) {
                *slot = place as u8;
            }
        }
        pick
    }
}

/// Returns the taps from one length to another: with the centres of both aligned, and the samples at the ends repeated.
fn taps(from: usize, to: usize) -> Vec<Tap> {
    let tap = |n: usize| {
        let place = ((2 * n + 1) * from * WHOLE / 2 + to / 2) / to.max(1);
        let place = place.saturating_sub(WHOLE / 2).min((from - 1) * WHOLE);
        Tap { first: place / WHOLE, weight: (place % WHOLE) as u8 }
    };
    (0..to).map(tap).collect()
}

#[inline(always)]
const fn between(a: u8, b: u8, weight: u16) -> u8 {
    const WHOLE: u16 = 256;
    ((a as u16 * (WHOLE - weight) + b as u16 * weight + WHOLE / 2) >> 8) as u8
}

/// Picks samples one by one.
fn pick(row: &[u8], picks: &[Pick], left: &mut [u8], right: &mut [u8]) {
    let blocks = left.chunks_exact_mut(BLOCK).zip(right.chunks_exact_mut(BLOCK));
    for (pick, (left, right)) in picks.iter().zip(blocks) {
        let Some(window) = row.get(pick.base..).and_then(<[u8]>::first_chunk::<WINDOW>) else { return };
        for (n, (left, right)) in left.iter_mut().zip(right).enumerate() {
            let (near, far) = (usize::from(pick.near[n % BLOCK]), usize::from(pick.far[n % BLOCK]));
            let place = if near < BLOCK { near } else { BLOCK + far % BLOCK };
            (*left, *right) = (window[place], window[place + 1]);
        }
    }
}

/// Returns whether this processor has the byte shuffle, and registers of 32 bytes.
fn shuffles() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[cfg(target_arch = "x86_64")]
mod shuffle {
    //! Picks sixteen samples at once.

    use std::arch::x86_64::{
        __m128i, _mm_cvtsi128_si64, _mm_or_si128, _mm_set_epi64x, _mm_shuffle_epi8, _mm_unpackhi_epi64,
    };

    use super::{BLOCK, Pick, WINDOW};

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn pick(row: &[u8], picks: &[Pick], left: &mut [u8], right: &mut [u8]) {
        let blocks = left.as_chunks_mut::<BLOCK>().0.iter_mut().zip(right.as_chunks_mut::<BLOCK>().0);
        for (pick, (left, right)) in picks.iter().zip(blocks) {
            let Some(window) = row.get(pick.base..).and_then(<[u8]>::first_chunk::<WINDOW>) else { return };
            let (near, far) = (load(&pick.near), load(&pick.far));
            *left = shuffled(window, 0, near, far);
            *right = shuffled(window, 1, near, far);
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn shuffled(window: &[u8; WINDOW], at: usize, near: __m128i, far: __m128i) -> [u8; BLOCK] {
        let half = |at: usize| window.get(at..).and_then(<[u8]>::first_chunk::<BLOCK>);
        let (Some(first), Some(last)) = (half(at), half(at + BLOCK)) else { return [0; BLOCK] };
        // An index of 128 and above gives 0.
        let both = _mm_or_si128(_mm_shuffle_epi8(load(first), near), _mm_shuffle_epi8(load(last), far));
        let mut out = [0; BLOCK];
        let (low, high) = out.split_at_mut(BLOCK / 2);
        low.copy_from_slice(&_mm_cvtsi128_si64(both).to_le_bytes());
        high.copy_from_slice(&_mm_cvtsi128_si64(_mm_unpackhi_epi64(both, both)).to_le_bytes());
        out
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(bytes: &[u8; BLOCK]) -> __m128i {
        let [low, high] =
            [0, 8].map(|at| bytes.get(at..).and_then(<[u8]>::first_chunk::<8>).map_or(0, |b| i64::from_le_bytes(*b)));
        _mm_set_epi64x(high, low)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The exact value of a sample.
    fn exact(plane: &[u8], from: (usize, usize), to: (usize, usize), (x, y): (usize, usize)) -> f64 {
        let place = |n: usize, from: usize, to: usize| {
            let place = ((n as f64 + 0.5) * from as f64 / to as f64 - 0.5).clamp(0.0, (from - 1) as f64);
            (place as usize, (place as usize + 1).min(from - 1), place.fract())
        };
        let ((left, right, h), (upper, lower, v)) = (place(x, from.0, to.0), place(y, from.1, to.1));
        let at = |x: usize, y: usize| f64::from(plane[y * from.0 + x]);
        let row = |y: usize| at(left, y) * (1.0 - h) + at(right, y) * h;
        row(upper) * (1.0 - v) + row(lower) * v
    }

    fn drawn(resampler: &mut Resampler, plane: &[u8], from: (usize, usize), to: (usize, usize)) -> Vec<u8> {
        // Rows of the target are further apart than they are long.
        let stride = to.0 + 5;
        let mut out = vec![7; stride * to.1];
        resampler.draw((plane, from.0), (&mut out, stride));
        assert!(out.chunks(stride).all(|row| row[to.0..] == [7; 5]), "nothing is drawn beside the plane");
        out.chunks(stride).flat_map(|row| row[..to.0].to_vec()).collect()
    }

    proptest! {
        #[test]
        fn samples_are_interpolated_from_their_neighbours(
            from in (1_usize..90, 1_usize..12),
            to in (1_usize..90, 1_usize..12),
            noise in proptest::collection::vec(any::<u8>(), 90 * 12),
        ) {
            let size = |(width, height): (usize, usize)| (width as u32, height as u32);
            prop_assume!(Resampler::suits(from.0 as u32, to.0 as u32) && Resampler::suits(from.1 as u32, to.1 as u32));
            let plane = &noise[..from.0 * from.1];
            let mut resampler = Resampler::new(size(from), size(to));
            let shuffled = drawn(&mut resampler, plane, from, to);
            resampler.shuffles = false;
            let picked = drawn(&mut resampler, plane, from, to);
            prop_assert_eq!(&shuffled, &picked);
            for (n, sample) in shuffled.iter().enumerate() {
                let exact = exact(plane, from, to, (n % to.0, n / to.0));
                prop_assert!((f64::from(*sample) - exact).abs() < 2.5, "{} of {:?}: {} for {}", n, to, sample, exact);
            }
        }
    }

    #[test]
    fn uniform_planes_stay_uniform() {
        for value in [0, 1, 127, 128, 254, 255] {
            let mut resampler = Resampler::new((1_280, 720), (852, 480));
            let out = drawn(&mut resampler, &vec![value; 1_280 * 720], (1_280, 720), (852, 480));
            assert!(out.iter().all(|sample| *sample == value));
        }
    }

    #[test]
    fn short_plane_is_drawn_as_far_as_it_goes() {
        let mut resampler = Resampler::new((64, 64), (32, 32));
        let mut out = vec![0; 32 * 32];
        resampler.draw((&vec![9; 64 * 10], 64), (&mut out, 32));
        assert_eq!((out[32 * 4], out[32 * 5]), (9, 0));
    }
}
