//! Puts audio on its sample grid, and makes good what is missing with silence.

use bytes::Bytes;
use media::codec::aac;
use media::{Timescale, Timestamp};

/// A frame may be this many frame lengths off the grid before the grid gives way: jitter of the transport is far
/// smaller, and ears notice sound that is out of step with the picture only beyond it.
const TOLERANCE_FRAMES: i64 = 2;

/// Raw data blocks of silence in AAC-LC, as an encoder makes them of zeros; they hold at every sample rate.
const SILENCE_MONO: &[u8] = &[0x01, 0x18, 0x20, 0x07];
const SILENCE_STEREO: &[u8] = &[0x21, 0x10, 0x04, 0x60, 0x8c, 0x1c];

/// The next free place of an audio track on the programme's timeline, counted in samples so that nothing drifts.
#[derive(Debug)]
pub(crate) struct Grid {
    scale: Timescale,
    frame: i64,
    origin: Timestamp,
    samples: i64,
    silence: Option<Bytes>,
}

/// What to do with a frame that arrives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Put it in the next place, after this many frames of silence.
    After(u32),
    /// It tells of a time that is already filled.
    Drop,
}

impl Grid {
    pub(crate) fn new(config: &aac::Config, origin: Timestamp) -> Self {
        let silence = match (config.object_type, config.channels) {
            (2, 1) => Some(SILENCE_MONO),
            (2, 2) => Some(SILENCE_STEREO),
            _ => None,
        };
        Self {
            scale: Timescale::new(config.sample_rate),
            frame: i64::from(config.samples_per_frame),
            origin,
            samples: 0,
            silence: silence.map(Bytes::from_static),
        }
    }

    /// Where the next frame goes.
    pub(crate) fn next(&self) -> Timestamp {
        self.origin + self.scale.delta(self.samples)
    }

    /// Fills the next place.
    pub(crate) fn advance(&mut self) -> Timestamp {
        let at = self.next();
        self.samples += self.frame;
        at
    }

    /// Silence for this track, where its coding is known; elsewhere the frame at hand is repeated.
    pub(crate) fn silence(&self) -> Option<Bytes> {
        self.silence.clone()
    }

    /// Decides on a frame that the contribution dates at `dts`.
    pub(crate) fn place(&self, dts: Timestamp) -> Place {
        let length = self.scale.delta(self.frame);
        let off = dts - self.next();
        if off.abs() <= length.times(TOLERANCE_FRAMES) {
            Place::After(0)
        } else if off.flicks() < 0 {
            Place::Drop
        } else {
            let missing = (off + length.times(1)).whole(length) - 1;
            Place::After(u32::try_from(missing).unwrap_or(u32::MAX))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let config = aac::Config::parse(Bytes::from_static(&[0x12, 0x10])).unwrap();
        Grid::new(&config, Timestamp::ZERO)
    }

    #[test]
    fn milliseconds_become_samples() {
        let mut grid = grid();
        let scale = Timescale::new(44_100);
        for n in 0..100_000 {
            let exact = scale.timestamp(n * 1_024);
            let millis = Timescale::MILLIS.timestamp(Timescale::MILLIS.ticks(exact));
            assert_eq!(grid.place(millis), Place::After(0));
            assert_eq!(grid.advance(), exact);
        }
    }

    #[test]
    fn a_hole_is_counted_and_an_overlap_dropped() {
        let mut grid = grid();
        let length = Timescale::new(44_100).delta(1_024);
        grid.advance();
        assert_eq!(grid.place(grid.next() + length.times(5)), Place::After(5));
        assert_eq!(grid.place(grid.next() - length.times(5)), Place::Drop);
        assert_eq!(grid.place(grid.next() + length.times(2)), Place::After(0));
    }
}
