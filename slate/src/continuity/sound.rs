//! Sound as one run of samples: what came in its place, silence elsewhere, and no click where they meet.

use std::collections::VecDeque;

use media::{TimeDelta, Timescale, Timestamp};

/// Samples in a block of the output, for each channel.
pub const BLOCK: usize = 1_024;
const BLOCK_SAMPLES: i64 = BLOCK as i64;
/// Sound dated this far from where the sound before it ends still goes on there: decoders round.
const TOLERANCE: TimeDelta = TimeDelta::from_millis(5);
/// Seconds of sound that are kept until the pictures are there. At the bound the oldest gives way to silence.
const MAX_QUEUED_SECONDS: usize = 6;
/// Where samples do not go on from the ones before them, the last one fades away over this part of a second.
const FADE_PART: u32 = 200;

/// Sound that came, and what of it is out.
#[derive(Debug)]
pub(super) struct Sound {
    rate: Timescale,
    channels: usize,
    origin: Timestamp,
    /// Samples that are out.
    out: i64,
    queue: VecDeque<Chunk>,
    /// Samples in the queue, for each channel.
    queued: usize,
    /// Where the sound that came last ends.
    end: Option<Mark>,
    /// What the sample after the last one that is out would be; `None` behind silence.
    tail: Option<Mark>,
    fade: Fade,
}

/// A sample of the contribution, counted from where its run began, so that nothing adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    run: Timestamp,
    index: i64,
}

#[derive(Debug)]
struct Chunk {
    mark: Mark,
    samples: Vec<f32>,
    length: i64,
    /// Samples of it that are out, or past.
    used: i64,
}

/// A block of the output, and what became of the sound that came.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) pts: Timestamp,
    pub(super) samples: Vec<f32>,
    /// Samples of silence in it, for each channel.
    pub(super) silent: u64,
    /// Samples that were too late for it, for each channel.
    pub(super) late: u64,
}

impl Mark {
    fn plus(self, samples: i64) -> Self {
        Self { index: self.index.saturating_add(samples), ..self }
    }

    fn at(self, rate: Timescale) -> Timestamp {
        self.run + rate.delta(self.index)
    }
}

impl Sound {
    /// Nothing out yet; zeros are taken as ones.
    pub(super) fn new(sample_rate: u32, channels: u32) -> Self {
        let channels = usize::try_from(channels.max(1)).unwrap_or(1);
        Self {
            rate: Timescale::new(sample_rate),
            channels,
            origin: Timestamp::ZERO,
            out: 0,
            queue: VecDeque::new(),
            queued: 0,
            end: None,
            tail: None,
            fade: Fade::new(sample_rate, channels),
        }
    }

    /// The output begins at `origin`.
    pub(super) fn begin(&mut self, origin: Timestamp) {
        self.origin = origin;
    }

    /// Forgets what came and is not out.
    pub(super) fn forget(&mut self) {
        self.queue.clear();
        self.queued = 0;
        self.end = None;
    }

    /// Takes sound dated `pts` by the contribution; gives how many of its samples, and of older ones, found no room.
    pub(super) fn push(&mut self, pts: Timestamp, mut samples: Vec<f32>) -> u64 {
        let whole = samples.len() / self.channels;
        samples.truncate(whole * self.channels);
        let length = i64::try_from(whole).unwrap_or(i64::MAX);
        let goes_on = self.end.filter(|end| (pts - end.at(self.rate)).abs() <= TOLERANCE);
        let mark = goes_on.unwrap_or(Mark { run: pts, index: 0 });
        self.end = Some(mark.plus(length));
        self.queued += whole;
        self.queue.push_back(Chunk { mark, samples, length, used: 0 });
        let most = MAX_QUEUED_SECONDS * usize::try_from(self.rate.ticks_per_second()).unwrap_or(usize::MAX);
        let mut lost = 0;
        while self.queued > most
            && let Some(oldest) = self.pop()
        {
            lost += (oldest.length - oldest.used).unsigned_abs();
        }
        lost
    }

    /// How long `samples` last.
    pub(super) fn length(&self, samples: usize) -> TimeDelta {
        self.rate.delta(i64::try_from(samples / self.channels).unwrap_or(i64::MAX))
    }

    /// How many samples there are for each channel.
    pub(super) fn moments(&self, samples: &[f32]) -> u64 {
        u64::try_from(samples.len() / self.channels).unwrap_or(u64::MAX)
    }

    /// Samples for each channel that wait.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// When the oldest sound that waits is dated by the contribution.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.queue.front().map(|chunk| chunk.mark.at(self.rate))
    }

    /// Where the next block begins.
    pub(super) fn position(&self) -> Timestamp {
        self.origin + self.rate.delta(self.out)
    }

    /// Where the next block ends.
    pub(super) fn block_end(&self) -> Timestamp {
        self.origin + self.rate.delta(self.out.saturating_add(BLOCK_SAMPLES))
    }

    /// Whether all is known of the next block: sound that belongs to its end, or behind it, came.
    pub(super) fn knows_block(&self, shift: TimeDelta) -> bool {
        let newest = self.queue.back().map(|chunk| self.index(chunk.mark, shift).saturating_add(chunk.length));
        newest.is_some_and(|end| end >= self.out.saturating_add(BLOCK_SAMPLES))
    }

    /// Makes the next block; without a shift all of it is silent.
    pub(super) fn block(&mut self, shift: Option<TimeDelta>) -> Block {
        let mut block = Block { pts: self.position(), ..Block::default() };
        block.samples.reserve(BLOCK * self.channels);
        let end = self.out.saturating_add(BLOCK_SAMPLES);
        let mut cursor = self.out;
        while let Some((begins, left)) = shift.and_then(|shift| self.front(shift))
            && begins < end
        {
            let late = (cursor - begins).clamp(0, left);
            let (first, left) = (begins + late, left - late);
            let count = left.min(end - first);
            block.late += late.unsigned_abs();
            self.skip(late);
            if count > 0 {
                self.silence(first - cursor, &mut block);
                self.copy(count, &mut block.samples);
                cursor = first + count;
            }
            if count < left {
                break;
            }
            self.pop();
        }
        self.silence(end - cursor, &mut block);
        self.out = end;
        block
    }

    fn index(&self, mark: Mark, shift: TimeDelta) -> i64 {
        self.rate.delta_ticks(mark.run + shift - self.origin).saturating_add(mark.index)
    }

    /// The place of the oldest sample that waits, and how many follow in its chunk.
    fn front(&self, shift: TimeDelta) -> Option<(i64, i64)> {
        let chunk = self.queue.front()?;
        Some((self.index(chunk.mark.plus(chunk.used), shift), chunk.length - chunk.used))
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

    /// Puts out the oldest `count` samples that wait, all of one chunk.
    fn copy(&mut self, count: i64, out: &mut Vec<f32>) {
        let Some(chunk) = self.queue.front_mut() else { return };
        let begins = chunk.mark.plus(chunk.used);
        if self.tail != Some(begins) {
            self.fade.start();
        }
        self.tail = Some(begins.plus(count));
        let place = |n: i64| usize::try_from(n).unwrap_or(0) * self.channels;
        let samples = chunk.samples.get(place(chunk.used)..place(chunk.used + count)).unwrap_or_default();
        self.fade.put(samples, out);
        self.skip(count);
    }

    fn silence(&mut self, count: i64, block: &mut Block) {
        if count <= 0 {
            return;
        }
        if self.tail.take().is_some() {
            self.fade.start();
        }
        block.silent += count.unsigned_abs();
        let samples = usize::try_from(count).unwrap_or(0) * self.channels;
        self.fade.put(&vec![0.0; samples], &mut block.samples);
    }
}

/// Leads from the last sample that is out to ones that do not go on from it.
#[derive(Debug)]
struct Fade {
    /// The last sample of each channel.
    last: Vec<f32>,
    /// The sample of each channel that fades away.
    from: Vec<f32>,
    /// Moments that a fade lasts, and that are left of the one in hand.
    length: usize,
    left: usize,
}

impl Fade {
    fn new(sample_rate: u32, channels: usize) -> Self {
        let length = usize::try_from(sample_rate / FADE_PART).unwrap_or(0);
        Self { last: vec![0.0; channels], from: vec![0.0; channels], length, left: 0 }
    }

    /// What comes next does not go on from what was.
    fn start(&mut self) {
        self.from.clone_from(&self.last);
        self.left = self.length;
    }

    fn put(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        let channels = self.last.len();
        let (faded, plain) = samples.split_at(samples.len().min(self.left * channels));
        for moment in faded.chunks_exact(channels) {
            let old = self.left as f32 / self.length as f32;
            out.extend(moment.iter().zip(&self.from).map(|(sample, from)| sample * (1.0 - old) + from * old));
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
    const NONE: Option<TimeDelta> = Some(TimeDelta::ZERO);

    fn at(samples: i64) -> Timestamp {
        Timescale::new(RATE).timestamp(samples)
    }

    fn ramp(from: i64, count: i64) -> Vec<f32> {
        (from..from + count).map(|n| n as f32 / 65_536.0).collect()
    }

    #[test]
    fn what_came_goes_out_sample_by_sample() {
        let mut sound = Sound::new(RATE, 1);
        for n in 0..10 {
            sound.push(at(n * 500), ramp(n * 500, 500));
        }
        let mut all = Vec::new();
        while sound.knows_block(TimeDelta::ZERO) {
            let block = sound.block(NONE);
            assert_eq!((block.pts, block.silent, block.late), (at(all.len() as i64), 0, 0));
            all.extend(block.samples);
        }
        assert_eq!(all.len(), 4 * BLOCK);
        // But for the first 5 ms, which come out of silence.
        assert_eq!(all[240..], ramp(0, 4_096)[240..]);
    }

    #[test]
    fn a_hole_is_silent_and_does_not_click() {
        let mut sound = Sound::new(RATE, 2);
        sound.push(at(0), vec![0.5; 2 * 700]);
        assert!(!sound.knows_block(TimeDelta::ZERO));
        sound.push(at(1_700), vec![0.5; 2 * 700]);
        let (first, second) = (sound.block(NONE), sound.block(NONE));
        assert_eq!((first.silent, second.silent), (324, 676));
        let all: Vec<f32> = first.samples.into_iter().chain(second.samples).collect();
        assert!(all.windows(3).all(|three| (three[2] - three[0]).abs() < 0.01));
        assert_eq!((all[2 * 690], all[2 * 1_200], all[2 * 2_000]), (0.5, 0.0, 0.5));
    }

    #[test]
    fn what_is_late_is_left_out_to_the_sample() {
        let mut sound = Sound::new(RATE, 1);
        sound.block(NONE);
        sound.push(at(0), ramp(0, 1_000));
        sound.push(at(1_000), ramp(1_000, 2_000));
        let block = sound.block(NONE);
        assert_eq!((block.late, block.silent), (1_024, 0));
        assert_eq!(block.samples[300..], ramp(1_024, 1_024)[300..]);
        assert_eq!(sound.queued(), 952);
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut sound = Sound::new(RATE, 2);
        let lost: u64 = (0..1_000).map(|n| sound.push(at(n * 1_024), vec![0.0; 2_048])).sum();
        assert!(sound.queued() <= 6 * 48_000);
        assert_eq!(lost + sound.queued() as u64, 1_024_000);
    }

    #[test]
    fn rounded_times_do_not_tear_a_run() {
        let mut sound = Sound::new(44_100, 1);
        let scale = Timescale::new(44_100);
        for n in 0..1_000 {
            let rounded = Timescale::MILLIS.ticks(scale.timestamp(n * 1_024));
            sound.push(Timescale::MILLIS.timestamp(rounded), vec![0.1; 1_024]);
            assert_eq!(sound.block(NONE).silent, 0);
        }
    }
}
