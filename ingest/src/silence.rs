//! When a contribution has been silent for too long: without a byte, or with bytes that have no frame in them.

use std::time::{Duration, Instant};

use wire::Item;

/// From the first byte behind a publish request to the first frame: long enough for any joined stream to come to its tables
/// and its next key frame.
const FIRST_FRAME: Duration = Duration::from_secs(10);

/// How long a contribution has been without something.
pub(crate) struct Silence {
    limit: Duration,
    /// The last byte.
    byte: Instant,
    /// The first byte.
    first: Option<Instant>,
    /// The last frame.
    frame: Option<Instant>,
}

/// What a contribution has been without for too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Missing {
    Bytes,
    /// It had frames before.
    MoreFrames,
    FirstFrame,
}

impl Silence {
    pub(crate) fn new(limit: Duration, now: Instant) -> Self {
        Self { limit, byte: now, first: None, frame: None }
    }

    /// Bytes came, and these items of them.
    pub(crate) fn heard(&mut self, items: &[Item], now: Instant) {
        self.byte = now;
        self.first.get_or_insert(now);
        if items.iter().any(|item| matches!(item, Item::Frame(_))) {
            self.frame = Some(now);
        }
    }

    /// What has been missing for too long, or how long it may go on.
    pub(crate) fn judge(&self, now: Instant) -> Result<Duration, Missing> {
        let left = |since: Instant, limit: Duration, missing: Missing| {
            let left = limit.saturating_sub(now.saturating_duration_since(since));
            if left.is_zero() { Err(missing) } else { Ok(left) }
        };
        let bytes = left(self.byte, self.limit, Missing::Bytes)?;
        let frames = match (self.frame, self.first) {
            (Some(last), _) => left(last, self.limit, Missing::MoreFrames)?,
            (None, Some(first)) => left(first, FIRST_FRAME, Missing::FirstFrame)?,
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
        let mut silence = Silence::new(LIMIT, start);
        assert_eq!(silence.judge(at(29)), Ok(Duration::from_secs(1)));
        assert_eq!(silence.judge(at(30)), Err(Missing::Bytes));
        // Bytes without a frame.
        silence.heard(&[], at(20));
        assert_eq!(silence.judge(at(29)), Ok(Duration::from_secs(1)));
        silence.heard(&[], at(29));
        assert_eq!(silence.judge(at(30)), Err(Missing::FirstFrame));
        // Frames, and then bytes only.
        silence.heard(&[frame()], at(30));
        for second in 31..60 {
            silence.heard(&[], at(second));
        }
        assert_eq!(silence.judge(at(59)), Ok(Duration::from_secs(1)));
        assert_eq!(silence.judge(at(60)), Err(Missing::MoreFrames));
        silence.heard(&[frame()], at(60));
        assert_eq!(silence.judge(at(60)), Ok(LIMIT));
    }
}
