//! Health of a contribution: its drift, and a [`Record`] of every five seconds.
//!
//! Drift is elapsed media time minus elapsed wall time, in milliseconds. It is negative if the encoder or its
//! connection is too slow, and positive if media arrives early. Time is an argument of each call.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use media::{TimeDelta, Timestamp};

/// Duration of a [`Record`].
pub const RECORD: Duration = Duration::from_secs(5);
/// Most records kept, which is one day; beyond that the oldest is dropped.
const RECORDS: usize = 17_280;
/// Interval between samples of the drift.
const SAMPLE: Duration = Duration::from_secs(1);
/// Number of samples in the rolling average: 30 s.
const ROLLING: usize = 30;

/// Statistics of five seconds of a contribution.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Record {
    /// Bytes received.
    pub bytes: u64,
    /// Frames of all tracks.
    pub frames: u32,
    /// Video frames among them at which decoding may start.
    pub keyframes: u32,
    /// Advance of the media time, in milliseconds; negative if its clock went back.
    pub media_millis: i64,
}

/// The drift of a contribution, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Drift {
    /// Current drift.
    pub now: i64,
    /// Average since the contribution began.
    pub session_average: i64,
    /// Current drift minus its average over the last 30 s.
    pub deviation: i64,
}

/// The [`Drift`] and the [`Record`]s of one contribution.
#[derive(Clone, Debug)]
pub struct Health {
    began: Instant,
    /// Arrival time and DTS of the first frame.
    first: Option<(Instant, Timestamp)>,
    /// Arrival time and DTS of the frame with the highest DTS.
    newest: Option<(Instant, Timestamp)>,
    samples: u64,
    sum: i64,
    recent: VecDeque<i64>,
    records: VecDeque<Record>,
    /// Number of records dropped before the oldest of `records`.
    forgotten: u64,
    open: Record,
    /// Highest DTS when the open record began.
    open_from: Option<Timestamp>,
}

impl Health {
    /// Starts with a contribution that begins at `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            began: now,
            first: None,
            newest: None,
            samples: 0,
            sum: 0,
            recent: VecDeque::with_capacity(ROLLING),
            records: VecDeque::new(),
            forgotten: 0,
            open: Record::default(),
            open_from: None,
        }
    }

    /// Records the receipt of `bytes`.
    pub fn bytes(&mut self, bytes: usize, now: Instant) {
        self.turn(now);
        self.open.bytes += bytes as u64;
    }

    /// Records a frame; `keyframe` is true for a video frame at which decoding may start.
    pub fn frame(&mut self, dts: Timestamp, keyframe: bool, now: Instant) {
        self.turn(now);
        self.open.frames = self.open.frames.saturating_add(1);
        self.open.keyframes = self.open.keyframes.saturating_add(u32::from(keyframe));
        let (began, _) = *self.first.get_or_insert((now, dts));
        self.open_from.get_or_insert(dts);
        // Tracks are interleaved, so one may be slightly behind the other.
        let newest = self.newest.map_or(dts, |(_, newest)| newest.max(dts));
        self.newest = Some((now, newest));
        let due = now.saturating_duration_since(began).as_secs() / SAMPLE.as_secs();
        if self.samples <= due {
            self.sample();
        }
    }

    /// Returns the current [`Drift`]; 0 before the first frame.
    pub fn drift(&self) -> Drift {
        let now = self.drift_now();
        let average = |sum: i64, count: u64| sum / i64::try_from(count.max(1)).unwrap_or(i64::MAX);
        Drift {
            now,
            session_average: average(self.sum, self.samples),
            deviation: if self.recent.is_empty() {
                0
            } else {
                now.saturating_sub(average(self.recent.iter().sum(), self.recent.len() as u64))
            },
        }
    }

    /// Returns the complete records that are kept, oldest first, each with its offset from the start of the
    /// contribution.
    pub fn records(&self) -> impl Iterator<Item = (Duration, &Record)> {
        (self.forgotten..).zip(&self.records).map(|(n, record)| (RECORD * u32::try_from(n).unwrap_or(u32::MAX), record))
    }

    fn drift_now(&self) -> i64 {
        let (Some((began, first)), Some((now, newest))) = (self.first, self.newest) else { return 0 };
        let wall = now.saturating_duration_since(began).as_millis();
        (newest - first - TimeDelta::from_millis(i64::try_from(wall).unwrap_or(i64::MAX))).as_millis()
    }

    fn sample(&mut self) {
        let drift = self.drift_now();
        self.samples += 1;
        self.sum = self.sum.saturating_add(drift);
        if self.recent.len() == ROLLING {
            self.recent.pop_front();
        }
        self.recent.push_back(drift);
    }

    /// Closes the records whose time is over, also those in which nothing arrived.
    fn turn(&mut self, now: Instant) {
        let due = now.saturating_duration_since(self.began).as_secs() / RECORD.as_secs();
        while self.forgotten + (self.records.len() as u64) < due {
            let newest = self.newest.map(|(_, dts)| dts);
            let mut record = std::mem::take(&mut self.open);
            record.media_millis = match (self.open_from, newest) {
                (Some(from), Some(to)) => (to - from).as_millis(),
                _ => 0,
            };
            self.open_from = newest;
            if self.records.len() == RECORDS {
                self.records.pop_front();
                self.forgotten += 1;
            }
            self.records.push_back(record);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::Timescale;

    fn at(health: &mut Health, start: Instant, media: i64, wall: u64) {
        health.frame(Timescale::MILLIS.timestamp(media), false, start + Duration::from_millis(wall));
    }

    #[test]
    fn drift_is_media_time_less_wall_time() {
        let start = Instant::now();
        let mut health = Health::new(start);
        assert_eq!(health.drift(), Drift::default());
        at(&mut health, start, 90_000, 2_000);
        assert_eq!(health.drift(), Drift::default(), "what came before the first frame is no drift");
        at(&mut health, start, 91_000, 3_500);
        assert_eq!(health.drift(), Drift { now: -500, session_average: -250, deviation: -250 });
        at(&mut health, start, 90_990, 3_510);
        assert_eq!(health.drift().now, -510, "a track that is behind does not move the media time back");
    }

    #[test]
    fn the_rolling_average_forgets_and_the_session_does_not() {
        let start = Instant::now();
        let mut health = Health::new(start);
        (0..60).for_each(|second| at(&mut health, start, second * 1_000, second as u64 * 1_000));
        (60..120).for_each(|second| at(&mut health, start, second * 1_000 - 600, second as u64 * 1_000));
        assert_eq!(health.drift(), Drift { now: -600, session_average: -300, deviation: 0 });
        at(&mut health, start, 119_400, 120_600);
        assert_eq!(health.drift().deviation, -580);
    }

    #[test]
    fn every_five_seconds_are_a_record_even_empty_ones() {
        let start = Instant::now();
        let mut health = Health::new(start);
        for n in 0..150i64 {
            let now = start + Duration::from_millis(n as u64 * 40);
            health.bytes(1_000, now);
            health.frame(Timescale::MILLIS.timestamp(n * 40), n % 25 == 0, now);
        }
        health.bytes(7, start + Duration::from_secs(16));
        let records: Vec<_> = health.records().collect();
        let first = Record { bytes: 125_000, frames: 125, keyframes: 5, media_millis: 4_960 };
        let second = Record { bytes: 25_000, frames: 25, keyframes: 1, media_millis: 1_000 };
        assert_eq!(
            records,
            [
                (Duration::ZERO, &first),
                (Duration::from_secs(5), &second),
                (Duration::from_secs(10), &Record::default())
            ]
        );
    }

    #[test]
    fn a_long_contribution_keeps_its_last_day() {
        let start = Instant::now();
        let mut health = Health::new(start);
        health.bytes(1, start + RECORD * (RECORDS as u32 + 3));
        assert_eq!(health.records().count(), RECORDS);
        assert_eq!(health.records().next().unwrap().0, RECORD * 3);
    }
}
