//! Sample grid of an audio track: places frames on it, and fills gaps with silence.

use bytes::Bytes;
use media::{CodecConfig, TimeDelta, Timescale, Timestamp};

/// Tolerated distance of a frame from the grid, in frame lengths. Transport jitter is far smaller, and audio that is out of
/// sync with the video is noticed only beyond it.
const TOLERANCE_FRAMES: i64 = 2;
/// Minimum of that tolerance for short frames, because transports round to milliseconds.
const MIN_TOLERANCE: TimeDelta = TimeDelta::from_millis(25);
/// Maximum gap in frames that is filled by repeating a frame, if no silent frame of the codec is built in. Longer gaps stay.
const MAX_REPEATED: i64 = 3;
/// Ticks per second for halving lengths, fine enough for every sample rate.
const HALVING: u32 = 1_000_000;

/// Silent raw data blocks in AAC-LC, as an encoder makes them of zeros. They are valid at every sample rate.
const AAC_MONO: &[u8] = &[0x01, 0x18, 0x20, 0x07];
const AAC_STEREO: &[u8] = &[0x21, 0x10, 0x04, 0x60, 0x8c, 0x1c];
/// Opus packets of 20 ms of silence: CELT, full band.
const OPUS_MONO: &[u8] = &[0xf8, 0xff, 0xfe];
const OPUS_STEREO: &[u8] = &[0xfc, 0xff, 0xfe];
const OPUS_SAMPLES: i64 = 960;

/// Position of the next frame of an audio track on the programme's timeline, counted in samples so that nothing drifts.
#[derive(Debug)]
pub(crate) struct SampleGrid {
    codec: CodecConfig,
    scale: Timescale,
    origin: Timestamp,
    samples: i64,
    /// Whether the last frame was inserted by us, so that the next one need not continue exactly where that ends.
    after_filling: bool,
}

/// Decision on a frame that arrives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum GridPlacement {
    /// Place it at [`SampleGrid::next`].
    Next,
    /// Place it after a gap of this length.
    AfterGap(TimeDelta),
    /// Discard it, because its time is already filled.
    Discard,
}

/// Content for a gap before a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum GapFill {
    /// This many copies of a frame.
    Frames(i64, Bytes),
    /// No suitable frame: the gap stays.
    Open,
}

/// A silent frame of a codec, and the number of samples in it.
struct SilentFrame {
    payload: &'static [u8],
    samples: i64,
}

impl SampleGrid {
    /// Creates the grid of an audio track that begins at `origin`.
    pub(crate) fn new(codec: &CodecConfig, origin: Timestamp) -> Self {
        Self { scale: codec.timescale(), codec: codec.clone(), origin, samples: 0, after_filling: false }
    }

    /// Extends the grid back to its first position that is not before `at`, if it can be filled with silence from there on.
    pub(crate) fn reaching_back_to(self, at: Timestamp) -> Self {
        let Some(silence) = self.silence() else { return self };
        let length = self.scale.delta(silence.samples);
        let origin = self.origin - length.times((self.origin - at).whole(length).max(0));
        Self { origin, ..self }
    }

    /// Returns the time of the next frame.
    pub(crate) fn next(&self) -> Timestamp {
        self.origin + self.scale.delta(self.samples)
    }

    /// Takes the next position for a frame, and returns its time. `filling` says that the frame was inserted by us.
    pub(crate) fn advance(&mut self, payload: &[u8], filling: bool) -> Timestamp {
        let at = self.next();
        self.after_filling = filling;
        self.samples = self.samples.saturating_add(self.samples_in(payload));
        at
    }

    /// Decides where a frame belongs that the contribution dates `dts`.
    pub(crate) fn place(&self, dts: Timestamp, payload: &[u8]) -> GridPlacement {
        let length = self.scale.delta(self.samples_in(payload));
        let usual = length.times(TOLERANCE_FRAMES).max(MIN_TOLERANCE);
        let tolerance = if self.after_filling { half(length) } else { usual };
        let distance = dts - self.next();
        if distance.abs() <= tolerance {
            GridPlacement::Next
        } else if distance.flicks() < 0 {
            GridPlacement::Discard
        } else {
            GridPlacement::AfterGap(distance)
        }
    }

    /// Returns the content for a gap of length `missing` before a frame.
    pub(crate) fn fill_gap(&self, missing: TimeDelta, payload: &Bytes) -> GapFill {
        if let Some(silence) = self.silence() {
            let count = nearest(missing, self.scale.delta(silence.samples));
            return GapFill::Frames(count, Bytes::from_static(silence.payload));
        }
        let count = nearest(missing, self.scale.delta(self.samples_in(payload)));
        if count <= MAX_REPEATED { GapFill::Frames(count, payload.clone()) } else { GapFill::Open }
    }

    /// Returns as many silent frames as fit before `until`; `None` if no silent frame of the codec is built in.
    pub(crate) fn silence_until(&self, until: Timestamp) -> Option<(i64, Bytes)> {
        let silence = self.silence()?;
        let count = (until - self.next()).whole(self.scale.delta(silence.samples));
        Some((count, Bytes::from_static(silence.payload)))
    }

    /// Leaves a gap of `missing`, rounded to whole frames like the one that follows.
    pub(crate) fn skip(&mut self, missing: TimeDelta, payload: &[u8]) {
        let frame = self.samples_in(payload);
        let count = nearest(missing, self.scale.delta(frame));
        self.samples = self.samples.saturating_add(count.saturating_mul(frame));
    }

    fn samples_in(&self, payload: &[u8]) -> i64 {
        self.codec.packet_samples_or_usual(payload).into()
    }

    fn silence(&self) -> Option<SilentFrame> {
        SilentFrame::of(&self.codec)
    }
}

impl SilentFrame {
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

/// Returns the built-in silent frame of a codec and the number of samples in it; `None` if there is none.
pub(crate) fn silence(codec: &CodecConfig) -> Option<(Bytes, u32)> {
    let silence = SilentFrame::of(codec)?;
    Some((Bytes::from_static(silence.payload), u32::try_from(silence.samples).ok()?))
}

/// Returns how many frames of `length` come closest to `time`.
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

    fn grid() -> SampleGrid {
        let config = aac::Config::parse(Bytes::from_static(&[0x12, 0x10])).unwrap();
        SampleGrid::new(&CodecConfig::Aac(config), Timestamp::ZERO)
    }

    #[test]
    fn timestamps_in_milliseconds_become_samples() {
        let mut grid = grid();
        let scale = Timescale::new(44_100);
        for n in 0..100_000 {
            let exact = scale.timestamp(n * 1_024);
            let millis = Timescale::MILLIS.timestamp(Timescale::MILLIS.ticks(exact));
            assert_eq!(grid.place(millis, b"x"), GridPlacement::Next);
            assert_eq!(grid.advance(b"x", false), exact);
        }
    }

    #[test]
    fn a_gap_is_measured_and_an_overlap_discarded() {
        let mut grid = grid();
        let length = Timescale::new(44_100).delta(1_024);
        grid.advance(b"x", false);
        assert_eq!(grid.place(grid.next() + length.times(5), b"x"), GridPlacement::AfterGap(length.times(5)));
        assert_eq!(grid.place(grid.next() - length.times(5), b"x"), GridPlacement::Discard);
        assert_eq!(grid.place(grid.next() + length.times(2), b"x"), GridPlacement::Next);
        let silence = Bytes::from_static(AAC_STEREO);
        assert_eq!(grid.fill_gap(length.times(5), &Bytes::from_static(b"x")), GapFill::Frames(5, silence));
    }

    #[test]
    fn opus_packets_have_their_own_length() {
        let mut head = b"OpusHead".to_vec();
        head.extend_from_slice(&[1, 2, 0x38, 1, 0x80, 0xbb, 0, 0, 0, 0, 0]);
        let mut grid = SampleGrid::new(&CodecConfig::Opus(opus::Config::parse(&head).unwrap()), Timestamp::ZERO);
        let millis = |ms| Timestamp::ZERO + TimeDelta::from_millis(ms);
        // 20 ms, 60 ms in one frame, and 2.5 ms.
        for (packet, ends) in [([0xfc, 1], 20), ([0x1c, 1], 80), ([0xe4, 1], 82)] {
            grid.advance(&packet, false);
            assert_eq!((grid.next() - Timestamp::ZERO).as_millis(), ends);
        }
        assert_eq!(grid.silence_until(millis(1_000)).map(|(count, _)| count), Some(45));
    }

    #[test]
    fn without_built_in_silence_a_frame_is_repeated_three_times_at_most() {
        let sync = [0x0b, 0x77, 0, 0, 0x14, 0x40, 0x43, 0xe1];
        let config = ac3::Config::from_frame(&sync).unwrap();
        let mut grid = SampleGrid::new(&CodecConfig::Ac3(config), Timestamp::ZERO);
        let frame = Bytes::from_static(b"x");
        let length = grid.scale.delta(1_536);
        assert_eq!(grid.fill_gap(length.times(3), &frame), GapFill::Frames(3, frame.clone()));
        assert_eq!(grid.fill_gap(length.times(4), &frame), GapFill::Open);
        grid.skip(length.times(4) + TimeDelta::from_millis(1), &frame);
        assert_eq!(grid.next() - Timestamp::ZERO, length.times(4));
        assert_eq!(grid.silence_until(Timestamp::ZERO + TimeDelta::from_secs(9)), None);
    }
}
