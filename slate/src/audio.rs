//! Puts audio on its sample grid, and makes good what is missing with silence.

use bytes::Bytes;
use media::{CodecConfig, TimeDelta, Timescale, Timestamp};

/// A frame may be this many frame lengths off the grid before the grid gives way: jitter of the transport is far
/// smaller, and ears notice sound that is out of step with the picture only beyond it.
const TOLERANCE_FRAMES: i64 = 2;
/// Short frames may be off by as much as this all the same: transports count in milliseconds.
const LEAST_TOLERANCE: TimeDelta = TimeDelta::from_millis(25);
/// Where the coding of silence is not known, a frame is repeated over holes of so many; longer ones stay holes.
const MAX_REPEATED: i64 = 3;
/// Ticks a second for halving lengths: fine enough for every sample rate.
const HALVING: u32 = 1_000_000;
/// Samples in a frame where neither the codec nor the frame tells.
const USUAL_SAMPLES: u32 = 1_024;

/// Raw data blocks of silence in AAC-LC, as an encoder makes them of zeros; they hold at every sample rate.
const AAC_MONO: &[u8] = &[0x01, 0x18, 0x20, 0x07];
const AAC_STEREO: &[u8] = &[0x21, 0x10, 0x04, 0x60, 0x8c, 0x1c];
/// Opus packets of 20 ms of silence: CELT, full band.
const OPUS_MONO: &[u8] = &[0xf8, 0xff, 0xfe];
const OPUS_STEREO: &[u8] = &[0xfc, 0xff, 0xfe];
const OPUS_SAMPLES: i64 = 960;

/// The next free place of an audio track on the programme's timeline, counted in samples so that nothing drifts.
#[derive(Debug)]
pub(crate) struct Grid {
    codec: CodecConfig,
    scale: Timescale,
    origin: Timestamp,
    samples: i64,
    /// What was laid last was made up, so what comes next is not bound to go on where that ends.
    loose: bool,
}

/// What to do with a frame that arrives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Put it in the next place.
    Next,
    /// So much is missing before it.
    After(TimeDelta),
    /// It tells of a time that is already filled.
    Drop,
}

/// What stands in for frames that are missing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Filling {
    /// So many frames like this.
    Frames(i64, Bytes),
    /// Nothing fits: the hole stays.
    Hole,
}

/// A frame of silence of a codec, and the samples in it.
struct Silence {
    payload: &'static [u8],
    samples: i64,
}

impl Grid {
    /// A grid for a track of sound that begins at `origin`.
    pub(crate) fn new(codec: &CodecConfig, origin: Timestamp) -> Self {
        Self { scale: codec.timescale(), codec: codec.clone(), origin, samples: 0, loose: false }
    }

    /// The same grid, beginning at the first place that is not before `at`, if it can be filled from there on.
    pub(crate) fn reaching_back_to(self, at: Timestamp) -> Self {
        let Some(silence) = self.silence() else { return self };
        let length = self.scale.delta(silence.samples);
        let origin = self.origin - length.times((self.origin - at).whole(length).max(0));
        Self { origin, ..self }
    }

    /// Where the next frame goes.
    pub(crate) fn next(&self) -> Timestamp {
        self.origin + self.scale.delta(self.samples)
    }

    /// Fills the next place with a frame that came, or one that was made up.
    pub(crate) fn advance(&mut self, payload: &[u8], made_up: bool) -> Timestamp {
        let at = self.next();
        self.loose = made_up;
        self.samples = self.samples.saturating_add(self.samples_in(payload));
        at
    }

    /// Decides on a frame that the contribution dates at `dts`.
    pub(crate) fn place(&self, dts: Timestamp, payload: &[u8]) -> Place {
        let length = self.scale.delta(self.samples_in(payload));
        let usual = length.times(TOLERANCE_FRAMES).max(LEAST_TOLERANCE);
        let tolerance = if self.loose { half(length) } else { usual };
        let off = dts - self.next();
        if off.abs() <= tolerance {
            Place::Next
        } else if off.flicks() < 0 {
            Place::Drop
        } else {
            Place::After(off)
        }
    }

    /// What to put into `missing` before a frame.
    pub(crate) fn filling(&self, missing: TimeDelta, payload: &Bytes) -> Filling {
        if let Some(silence) = self.silence() {
            let count = nearest(missing, self.scale.delta(silence.samples));
            return Filling::Frames(count, Bytes::from_static(silence.payload));
        }
        let count = nearest(missing, self.scale.delta(self.samples_in(payload)));
        if count <= MAX_REPEATED { Filling::Frames(count, payload.clone()) } else { Filling::Hole }
    }

    /// Silence as long as fits before `until`; none where its coding is not known.
    pub(crate) fn silence_until(&self, until: Timestamp) -> Option<(i64, Bytes)> {
        let silence = self.silence()?;
        let count = (until - self.next()).whole(self.scale.delta(silence.samples));
        Some((count, Bytes::from_static(silence.payload)))
    }

    /// Leaves `missing` open, by whole frames like the one that follows.
    pub(crate) fn skip(&mut self, missing: TimeDelta, payload: &[u8]) {
        let frame = self.samples_in(payload);
        let count = nearest(missing, self.scale.delta(frame));
        self.samples = self.samples.saturating_add(count.saturating_mul(frame));
    }

    fn samples_in(&self, payload: &[u8]) -> i64 {
        let samples = self.codec.packet_samples(payload).or(self.codec.samples_per_frame());
        samples.filter(|samples| *samples > 0).unwrap_or(USUAL_SAMPLES).into()
    }

    fn silence(&self) -> Option<Silence> {
        Silence::of(&self.codec)
    }
}

impl Silence {
    fn of(codec: &CodecConfig) -> Option<Self> {
        let (payload, samples) = match codec {
            CodecConfig::Aac(aac) => {
                let payload = match (aac.object_type, aac.channels) {
                    (2, 1) => AAC_MONO,
                    (2, 2) => AAC_STEREO,
                    _ => return None,
                };
                (payload, aac.samples_per_frame.into())
            }
            CodecConfig::Opus(opus) if opus.family == 0 => {
                (if opus.channels == 1 { OPUS_MONO } else { OPUS_STEREO }, OPUS_SAMPLES)
            }
            _ => return None,
        };
        Some(Self { payload, samples })
    }
}

/// A frame of silence where its coding is known, and the samples in it.
pub(crate) fn silence(codec: &CodecConfig) -> Option<(Bytes, u32)> {
    let silence = Silence::of(codec)?;
    Some((Bytes::from_static(silence.payload), u32::try_from(silence.samples).ok()?))
}

/// How many frames of `length` come closest to `time`.
fn nearest(time: TimeDelta, length: TimeDelta) -> i64 {
    (time + half(length)).whole(length)
}

fn half(length: TimeDelta) -> TimeDelta {
    let fine = Timescale::new(HALVING);
    fine.delta(fine.delta_ticks(length) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::codec::{aac, ac3, opus};

    fn grid() -> Grid {
        let config = aac::Config::parse(Bytes::from_static(&[0x12, 0x10])).unwrap();
        Grid::new(&CodecConfig::Aac(config), Timestamp::ZERO)
    }

    #[test]
    fn milliseconds_become_samples() {
        let mut grid = grid();
        let scale = Timescale::new(44_100);
        for n in 0..100_000 {
            let exact = scale.timestamp(n * 1_024);
            let millis = Timescale::MILLIS.timestamp(Timescale::MILLIS.ticks(exact));
            assert_eq!(grid.place(millis, b"x"), Place::Next);
            assert_eq!(grid.advance(b"x", false), exact);
        }
    }

    #[test]
    fn a_hole_is_measured_and_an_overlap_dropped() {
        let mut grid = grid();
        let length = Timescale::new(44_100).delta(1_024);
        grid.advance(b"x", false);
        assert_eq!(grid.place(grid.next() + length.times(5), b"x"), Place::After(length.times(5)));
        assert_eq!(grid.place(grid.next() - length.times(5), b"x"), Place::Drop);
        assert_eq!(grid.place(grid.next() + length.times(2), b"x"), Place::Next);
        let silence = Bytes::from_static(AAC_STEREO);
        assert_eq!(grid.filling(length.times(5), &Bytes::from_static(b"x")), Filling::Frames(5, silence));
    }

    #[test]
    fn opus_packets_tell_their_own_length() {
        let mut head = b"OpusHead".to_vec();
        head.extend_from_slice(&[1, 2, 0x38, 1, 0x80, 0xbb, 0, 0, 0, 0, 0]);
        let mut grid = Grid::new(&CodecConfig::Opus(opus::Config::parse(&head).unwrap()), Timestamp::ZERO);
        let millis = |ms| Timestamp::ZERO + TimeDelta::from_millis(ms);
        // 20 ms, 60 ms in one frame, and 2.5 ms.
        for (packet, ends) in [([0xfc, 1], 20), ([0x1c, 1], 80), ([0xe4, 1], 82)] {
            grid.advance(&packet, false);
            assert_eq!((grid.next() - Timestamp::ZERO).as_millis(), ends);
        }
        assert_eq!(grid.silence_until(millis(1_000)).map(|(count, _)| count), Some(45));
    }

    #[test]
    fn what_has_no_known_silence_is_repeated_for_a_moment_only() {
        let sync = [0x0b, 0x77, 0, 0, 0x14, 0x40, 0x43, 0xe1];
        let config = ac3::Config::from_frame(&sync).unwrap();
        let mut grid = Grid::new(&CodecConfig::Ac3(config), Timestamp::ZERO);
        let frame = Bytes::from_static(b"x");
        let length = grid.scale.delta(1_536);
        assert_eq!(grid.filling(length.times(3), &frame), Filling::Frames(3, frame.clone()));
        assert_eq!(grid.filling(length.times(4), &frame), Filling::Hole);
        grid.skip(length.times(4) + TimeDelta::from_millis(1), &frame);
        assert_eq!(grid.next() - Timestamp::ZERO, length.times(4));
        assert_eq!(grid.silence_until(Timestamp::ZERO + TimeDelta::from_secs(9)), None);
    }
}
