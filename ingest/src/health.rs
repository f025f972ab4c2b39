//! How a contribution does: its drift, and a record of every five seconds.
//!
//! Drift is elapsed media time less elapsed wall time, in milliseconds: below zero when the encoder or its line is too
//! slow, above zero when it sends ahead. Time is an argument here.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use media::{TimeDelta, Timestamp};

/// What a record covers.
pub const RECORD: Duration = Duration::from_secs(5);
/// Records kept, which is a day of them; beyond that the oldest goes.
const RECORDS: usize = 17_280;
/// How often the drift is noted.
const SAMPLE: Duration = Duration::from_secs(1);
/// Notes of the drift that the rolling average is made of: 30 s.
const ROLLING: usize = 30;

/// Five seconds of a contribution.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Record {
    /// Bytes received.
    pub bytes: u64,
    /// Frames of all tracks.
    pub frames: u32,
    /// Pictures among them that decoding may start at.
    pub keyframes: u32,
    /// How far the media went on, in milliseconds; below zero if its clock went back.
    pub media_millis: i64,
}

/// The drift of a contribution, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Drift {
    /// Now.
    pub now: i64,
    /// Its average since the contribution began.
    pub session_average: i64,
    /// How far it is from its average of the last 30 s.
    pub deviation: i64,
}

/// The health of one contribution.
#[derive(Clone, Debug)]
pub struct Health {
    began: Instant,
    /// The first frame: when it came, and its DTS.
    first: Option<(Instant, Timestamp)>,
    /// The newest DTS, and when it came.
    newest: Option<(Instant, Timestamp)>,
    samples: u64,
    sum: i64,
    recent: VecDeque<i64>,
    records: VecDeque<Record>,
    /// Records that went before those kept.
    forgotten: u64,
    open: Record,
    /// Where the media stood when the open record began.
    open_from: Option<Timestamp>,
}

impl Health {
    /// A contribution that begins now.
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

    /// Notes bytes received.
    pub fn bytes(&mut self, bytes: usize, now: Instant) {
        self.turn(now);
        self.open.bytes += bytes as u64;
    }

    /// Notes a frame; `keyframe` for a picture that decoding may start at.
    pub fn frame(&mut self, dts: Timestamp, keyframe: bool, now: Instant) {
        self.turn(now);
        self.open.frames = self.open.frames.saturating_add(1);
        self.open.keyframes = self.open.keyframes.saturating_add(u32::from(keyframe));
        let (began, _) = *self.first.get_or_insert((now, dts));
        self.open_from.get_or_insert(dts);
        // Tracks take turns, so one may be a little behind the other.
        let newest = self.newest.map_or(dts, |(_, newest)| newest.max(dts));
        self.newest = Some((now, newest));
        let due = now.saturating_duration_since(began).as_secs() / SAMPLE.as_secs();
        if self.samples <= due {
            self.sample();
        }
    }

    /// The drift as it stands; 0 before the first frame.
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

    /// The whole records that are kept, oldest first, each with its start since the contribution began.
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

    /// Closes the records that are over; one in which nothing came is there too.
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
        assert_eq!(health.drift().now, -510, "a track that is behind does not set the media back");
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
