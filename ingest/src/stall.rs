//! Detects stalled contributions: those without bytes, and those whose bytes contain no frames.

use std::time::{Duration, Instant};

use wire::Item;

/// Longest time from the first byte after a publish request to the first frame. A stream that is joined midway reaches
/// its tables and its next key frame within this time.
const FIRST_FRAME: Duration = Duration::from_secs(10);

/// Tracks when a contribution last delivered bytes and frames.
pub(crate) struct StallDetector {
    limit: Duration,
    /// Time of the last byte, or of the start.
    byte: Instant,
    /// Time of the first byte.
    first: Option<Instant>,
    /// Time of the last frame.
    frame: Option<Instant>,
}

/// What a stalled contribution lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stall {
    Bytes,
    /// More frames, after earlier ones.
    MoreFrames,
    FirstFrame,
}

impl StallDetector {
    pub(crate) fn new(limit: Duration, now: Instant) -> Self {
        Self { limit, byte: now, first: None, frame: None }
    }

    /// Records that bytes arrived, and the items that they contained.
    pub(crate) fn received(&mut self, items: &[Item], now: Instant) {
        self.byte = now;
        self.first.get_or_insert(now);
        if items.iter().any(|item| matches!(item, Item::Frame(_))) {
            self.frame = Some(now);
        }
    }

    /// Returns the time left until a [`Stall`], or the stall that has occurred.
    pub(crate) fn check(&self, now: Instant) -> Result<Duration, Stall> {
        let left = |since: Instant, limit: Duration, stall: Stall| {
            let left = limit.saturating_sub(now.saturating_duration_since(since));
            if left.is_zero() { Err(stall) } else { Ok(left) }
        };
        let bytes = left(self.byte, self.limit, Stall::Bytes)?;
        let frames = match (self.frame, self.first) {
            (Some(last), _) => left(last, self.limit, Stall::MoreFrames)?,
            (None, Some(first)) => left(first, FIRST_FRAME, Stall::FirstFrame)?,
            (None, None) => bytes,
        };
        Ok(bytes.min(frames))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use media::{Access, Frame, Timestamp, TrackId};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn frame() -> Item {
        let (dts, pts) = (Timestamp::ZERO, Timestamp::ZERO);
        Item::Frame(Frame { track: TrackId(1), dts, pts, access: Access::Independent, payload: Bytes::new() })
    }

    #[test]
    fn silence_has_three_forms() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut stalls = StallDetector::new(LIMIT, start);
        assert_eq!(stalls.check(at(29)), Ok(Duration::from_secs(1)));
        assert_eq!(stalls.check(at(30)), Err(Stall::Bytes));
        // Bytes without a frame.
        stalls.received(&[], at(20));
        assert_eq!(stalls.check(at(29)), Ok(Duration::from_secs(1)));
        stalls.received(&[], at(29));
        assert_eq!(stalls.check(at(30)), Err(Stall::FirstFrame));
        // Frames, and then bytes only.
        stalls.received(&[frame()], at(30));
        for second in 31..60 {
            stalls.received(&[], at(second));
        }
        assert_eq!(stalls.check(at(59)), Ok(Duration::from_secs(1)));
        assert_eq!(stalls.check(at(60)), Err(Stall::MoreFrames));
        stalls.received(&[frame()], at(60));
        assert_eq!(stalls.check(at(60)), Ok(LIMIT));
    }
}
