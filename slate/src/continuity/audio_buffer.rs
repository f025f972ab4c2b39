//! Buffer of one audio track: places queued audio on the output's sample grid, fills gaps with silence, and fades where
//! samples do not continue.

use std::collections::VecDeque;

use media::{TimeDelta, Timescale, Timestamp};

/// Number of samples in a block of the output, for each channel.
pub const BLOCK_SAMPLES: usize = 1_024;
/// The same number as a difference of sample positions.
const BLOCK_LENGTH: i64 = BLOCK_SAMPLES as i64;
/// Tolerated distance of audio from the end of the audio before it. Closer audio continues there, because decoders
/// round.
const TOLERANCE: TimeDelta = TimeDelta::from_millis(5);
/// Maximum length of audio queued until the video of its time is known. Beyond it the oldest is dropped and becomes
/// silence.
const MAX_QUEUED_SECONDS: usize = 6;
/// Number of crossfades that fit into a second: where the next samples do not continue the last one, it fades out over
/// 5 ms.
const FADES_PER_SECOND: u32 = 200;

/// Queued audio, and the position up to which the output was produced.
#[derive(Debug)]
pub(super) struct AudioBuffer {
    rate: Timescale,
    channels: usize,
    origin: Timestamp,
    /// Number of samples of the output so far, for each channel.
    produced: i64,
    queue: VecDeque<Chunk>,
    /// Number of samples in the queue, for each channel.
    queued: usize,
    /// End of the newest queued audio.
    end: Option<Position>,
    /// Position of the sample that would continue the last sample of the output; `None` after silence.
    continuation: Option<Position>,
    fade: Fade,
}

/// Position of a sample of the contribution, counted from the start of continuous audio so that rounding errors do not
/// accumulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    start: Timestamp,
    index: i64,
}

#[derive(Debug)]
struct Chunk {
    /// Position of the first sample.
    position: Position,
    samples: Vec<f32>,
    /// Number of samples for each channel.
    length: i64,
    /// Number of samples for each channel that were output, or discarded because they were too late.
    used: i64,
}

/// A block of the output.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) pts: Timestamp,
    pub(super) samples: Vec<f32>,
    /// Number of silent samples in the block, for each channel.
    pub(super) silent: u64,
    /// Number of queued samples discarded because they were too late for the block, for each channel.
    pub(super) late: u64,
}

impl Position {
    fn plus(self, samples: i64) -> Self {
        Self { index: self.index.saturating_add(samples), ..self }
    }

    fn at(self, rate: Timescale) -> Timestamp {
        self.start + rate.delta(self.index)
    }
}

impl AudioBuffer {
    /// Creates an empty buffer. A rate of zero, or zero channels, counts as one.
    pub(super) fn new(sample_rate: u32, channels: u32) -> Self {
        let channels = usize::try_from(channels.max(1)).unwrap_or(1);
        Self {
            rate: Timescale::new(sample_rate),
            channels,
            origin: Timestamp::ZERO,
            produced: 0,
            queue: VecDeque::new(),
            queued: 0,
            end: None,
            continuation: None,
            fade: Fade::new(sample_rate, channels),
        }
    }

    /// Sets the output time of the first sample.
    pub(super) fn begin(&mut self, origin: Timestamp) {
        self.origin = origin;
    }

    /// Discards the queued audio.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.queued = 0;
        self.end = None;
    }

    /// Queues audio that the contribution dates `pts`. Returns the number of samples dropped for each channel because
    /// the queue is full.
    pub(super) fn push(&mut self, pts: Timestamp, mut samples: Vec<f32>) -> u64 {
        let count = samples.len() / self.channels;
        samples.truncate(count * self.channels);
        let length = i64::try_from(count).unwrap_or(i64::MAX);
        let continued = self.end.filter(|end| (pts - end.at(self.rate)).abs() <= TOLERANCE);
        let position = continued.unwrap_or(Position { start: pts, index: 0 });
        self.end = Some(position.plus(length));
        self.queued += count;
        self.queue.push_back(Chunk { position, samples, length, used: 0 });
        let max_queued = MAX_QUEUED_SECONDS * usize::try_from(self.rate.ticks_per_second()).unwrap_or(usize::MAX);
        let mut dropped = 0;
        while self.queued > max_queued
            && let Some(oldest) = self.pop()
        {
            dropped += (oldest.length - oldest.used).unsigned_abs();
        }
        dropped
    }

    /// Returns the duration of `samples` interleaved samples.
    pub(super) fn duration(&self, samples: usize) -> TimeDelta {
        self.rate.delta(i64::try_from(samples / self.channels).unwrap_or(i64::MAX))
    }

    /// Returns the number of interleaved `samples` for each channel.
    pub(super) fn per_channel(&self, samples: &[f32]) -> u64 {
        u64::try_from(samples.len() / self.channels).unwrap_or(u64::MAX)
    }

    /// Returns the number of queued samples for each channel.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Returns the contribution's timestamp of the oldest queued audio.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.queue.front().map(|chunk| chunk.position.at(self.rate))
    }

    /// Returns the output time of the next block.
    pub(super) fn position(&self) -> Timestamp {
        self.origin + self.rate.delta(self.produced)
    }

    /// Returns the output time at which the next block ends.
    pub(super) fn block_end(&self) -> Timestamp {
        self.origin + self.rate.delta(self.produced.saturating_add(BLOCK_LENGTH))
    }

    /// Whether the content of the next block is known: audio has arrived that reaches its end or is later.
    pub(super) fn has_block(&self, offset: TimeDelta) -> bool {
        let newest = self.queue.back().map(|chunk| self.index(chunk.position, offset).saturating_add(chunk.length));
        newest.is_some_and(|end| end >= self.produced.saturating_add(BLOCK_LENGTH))
    }

    /// Produces the next block. Without an offset all of it is silent.
    pub(super) fn block(&mut self, offset: Option<TimeDelta>) -> Block {
        let mut block = Block { pts: self.position(), ..Block::default() };
        block.samples.reserve(BLOCK_SAMPLES * self.channels);
        let end = self.produced.saturating_add(BLOCK_LENGTH);
        let mut cursor = self.produced;
        while let Some((begins, left)) = offset.and_then(|offset| self.front(offset))
            && begins < end
        {
            let late = (cursor - begins).clamp(0, left);
            let (first, left) = (begins + late, left - late);
            let count = left.min(end - first);
            block.late += late.unsigned_abs();
            self.skip(late);
            if count > 0 {
                self.push_silence(first - cursor, &mut block);
                self.push_queued(count, &mut block.samples);
                cursor = first + count;
            }
            if count < left {
                break;
            }
            self.pop();
        }
        self.push_silence(end - cursor, &mut block);
        self.produced = end;
        block
    }

    /// Returns the index of a sample in the output, negative before its start.
    fn index(&self, position: Position, offset: TimeDelta) -> i64 {
        self.rate.delta_ticks(position.start + offset - self.origin).saturating_add(position.index)
    }

    /// Returns the index of the oldest queued sample in the output, and how many samples are left in its chunk.
    fn front(&self, offset: TimeDelta) -> Option<(i64, i64)> {
        let chunk = self.queue.front()?;
        Some((self.index(chunk.position.plus(chunk.used), offset), chunk.length - chunk.used))
    }

    fn pop(&mut self) -> Option<Chunk> {
        let chunk = self.queue.pop_front()?;
        self.queued -= usize::try_from(chunk.length - chunk.used).unwrap_or(0);
        Some(chunk)
    }

    fn skip(&mut self, count: i64) {
        if let Some(chunk) = self.queue.front_mut() {
            chunk.used += count;
            self.queued -= usize::try_from(count).unwrap_or(0);
        }
    }

    /// Appends the oldest `count` queued samples, all of one chunk, to `out`.
    fn push_queued(&mut self, count: i64, out: &mut Vec<f32>) {
        let Some(chunk) = self.queue.front_mut() else { return };
        let first = chunk.position.plus(chunk.used);
        if self.continuation != Some(first) {
            self.fade.start();
        }
        self.continuation = Some(first.plus(count));
        let index = |n: i64| usize::try_from(n).unwrap_or(0) * self.channels;
        let samples = chunk.samples.get(index(chunk.used)..index(chunk.used + count)).unwrap_or_default();
        self.fade.apply(samples, out);
        self.skip(count);
    }

    fn push_silence(&mut self, count: i64, block: &mut Block) {
        if count <= 0 {
            return;
        }
        if self.continuation.take().is_some() {
            self.fade.start();
        }
        block.silent += count.unsigned_abs();
        let samples = usize::try_from(count).unwrap_or(0) * self.channels;
        self.fade.apply(&vec![0.0; samples], &mut block.samples);
    }
}

/// Crossfade from the last sample of the output to samples that do not continue it.
#[derive(Debug)]
struct Fade {
    /// Last sample of the output, for each channel.
    last: Vec<f32>,
    /// Sample that fades out, for each channel.
    from: Vec<f32>,
    /// Length of a fade, in samples for each channel.
    length: usize,
    /// Rest of the current fade, in samples for each channel.
    left: usize,
}

impl Fade {
    fn new(sample_rate: u32, channels: usize) -> Self {
        let length = usize::try_from(sample_rate / FADES_PER_SECOND).unwrap_or(0);
        Self { last: vec![0.0; channels], from: vec![0.0; channels], length, left: 0 }
    }

    /// Starts a fade, because the next samples do not continue the last one.
    fn start(&mut self) {
        self.from.clone_from(&self.last);
        self.left = self.length;
    }

    /// Appends `samples` to `out`, mixed with the sample that fades out.
    fn apply(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        let channels = self.last.len();
        let (faded, plain) = samples.split_at(samples.len().min(self.left * channels));
        for samples in faded.chunks_exact(channels) {
            let old = self.left as f32 / self.length as f32;
            out.extend(samples.iter().zip(&self.from).map(|(sample, from)| sample * (1.0 - old) + from * old));
            self.left -= 1;
        }
        out.extend_from_slice(plain);
        if let Some(last) = out.rchunks_exact(channels).next().filter(|_| !samples.is_empty()) {
            self.last.copy_from_slice(last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 48_000;
    const NO_OFFSET: Option<TimeDelta> = Some(TimeDelta::ZERO);

    fn at(samples: i64) -> Timestamp {
        Timescale::new(RATE).timestamp(samples)
    }

    fn ramp(from: i64, count: i64) -> Vec<f32> {
        (from..from + count).map(|n| n as f32 / 65_536.0).collect()
    }

    #[test]
    fn queued_audio_comes_out_sample_by_sample() {
        let mut buffer = AudioBuffer::new(RATE, 1);
        for n in 0..10 {
            buffer.push(at(n * 500), ramp(n * 500, 500));
        }
        let mut all = Vec::new();
        while buffer.has_block(TimeDelta::ZERO) {
            let block = buffer.block(NO_OFFSET);
            assert_eq!((block.pts, block.silent, block.late), (at(all.len() as i64), 0, 0));
            all.extend(block.samples);
        }
        assert_eq!(all.len(), 4 * BLOCK_SAMPLES);
        // Except for the first 5 ms, which fade in from silence.
        assert_eq!(all[240..], ramp(0, 4_096)[240..]);
    }

    #[test]
    fn a_gap_is_silent_and_does_not_click() {
        let mut buffer = AudioBuffer::new(RATE, 2);
        buffer.push(at(0), vec![0.5; 2 * 700]);
        assert!(!buffer.has_block(TimeDelta::ZERO));
        buffer.push(at(1_700), vec![0.5; 2 * 700]);
        let (first, second) = (buffer.block(NO_OFFSET), buffer.block(NO_OFFSET));
        assert_eq!((first.silent, second.silent), (324, 676));
        let all: Vec<f32> = first.samples.into_iter().chain(second.samples).collect();
        assert!(all.windows(3).all(|three| (three[2] - three[0]).abs() < 0.01));
        assert_eq!((all[2 * 690], all[2 * 1_200], all[2 * 2_000]), (0.5, 0.0, 0.5));
    }

    #[test]
    fn late_audio_is_discarded_to_the_sample() {
        let mut buffer = AudioBuffer::new(RATE, 1);
        buffer.block(NO_OFFSET);
        buffer.push(at(0), ramp(0, 1_000));
        buffer.push(at(1_000), ramp(1_000, 2_000));
        let block = buffer.block(NO_OFFSET);
        assert_eq!((block.late, block.silent), (1_024, 0));
        assert_eq!(block.samples[300..], ramp(1_024, 1_024)[300..]);
        assert_eq!(buffer.queued(), 952);
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut buffer = AudioBuffer::new(RATE, 2);
        let dropped: u64 = (0..1_000).map(|n| buffer.push(at(n * 1_024), vec![0.0; 2_048])).sum();
        assert!(buffer.queued() <= 6 * 48_000);
        assert_eq!(dropped + buffer.queued() as u64, 1_024_000);
    }

    #[test]
    fn rounded_timestamps_do_not_interrupt_audio() {
        let mut buffer = AudioBuffer::new(44_100, 1);
        let scale = Timescale::new(44_100);
        for n in 0..1_000 {
            let rounded = Timescale::MILLIS.ticks(scale.timestamp(n * 1_024));
            buffer.push(Timescale::MILLIS.timestamp(rounded), vec![0.1; 1_024]);
            assert_eq!(buffer.block(NO_OFFSET).silent, 0);
        }
    }
}
