//! Arrival pattern of a contribution's video and audio.

use media::{TimeDelta, Timestamp};

use super::{MAX_REPEAT, MIN_REPEAT, VIDEO_TIMEOUT};

/// Pause before a burst of audio: a shorter one is regular delivery, one longer than [`MAX_BURST_PAUSE`] is a gap.
const MIN_BURST_PAUSE: TimeDelta = TimeDelta::from_millis(50);
const MAX_BURST_PAUSE: TimeDelta = TimeDelta::from_secs(1);
/// Tolerated lateness of a burst compared with the usual pause.
const JITTER: TimeDelta = TimeDelta::from_millis(100);
/// Maximum wait for a burst of audio, because players have no more than this buffered.
const MAX_TIMEOUT: TimeDelta = TimeDelta::from_millis(600);

/// Arrival time of the newest video frame, and the intervals between the newest timestamps.
#[derive(Debug, Default)]
pub(super) struct VideoArrival {
    last: Option<TimeDelta>,
    newest: Option<Timestamp>,
    intervals: (TimeDelta, TimeDelta),
}

impl VideoArrival {
    /// Forgets the frame timing of the previous contribution.
    pub(super) fn begin(&mut self) {
        *self = Self { last: self.last, ..Self::default() };
    }

    /// Notes the arrival of a frame with timestamp `pts`.
    pub(super) fn note(&mut self, pts: Timestamp, now: TimeDelta) {
        self.last = Some(now);
        if let Some(newest) = self.newest.replace(pts) {
            self.intervals = ((pts - newest).max(TimeDelta::ZERO), self.intervals.0);
        }
    }

    /// Whether no frame arrived within [`VIDEO_TIMEOUT`].
    pub(super) fn is_absent(&self, now: TimeDelta) -> bool {
        self.last.is_none_or(|last| now - last >= VIDEO_TIMEOUT)
    }

    /// Returns the shorter of the last two frame intervals, so that a single gap does not count.
    pub(super) fn interval(&self) -> TimeDelta {
        self.intervals.0.min(self.intervals.1)
    }

    /// Returns how long the last frame may be repeated in place of the next one.
    pub(super) fn max_repeat(&self) -> TimeDelta {
        self.interval().times(2).clamp(MIN_REPEAT, MAX_REPEAT)
    }
}

/// Arrival time of the newest audio, and the last two pauses before it.
///
/// MPEG transport streams carry audio in packets of up to half a second: FFmpeg fills 2,930 bytes or waits for 0.35 s.
#[derive(Debug, Default)]
pub(super) struct AudioArrival {
    last: Option<TimeDelta>,
    pauses: (TimeDelta, TimeDelta),
}

impl AudioArrival {
    /// Notes the arrival of audio.
    pub(super) fn note(&mut self, now: TimeDelta) {
        let pause = now - self.last.replace(now).unwrap_or(now);
        if pause >= MIN_BURST_PAUSE && pause <= MAX_BURST_PAUSE {
            self.pauses = (pause, self.pauses.0);
        }
    }

    /// Whether more audio is expected: some has arrived, and not longer ago than [`MAX_BURST_PAUSE`].
    pub(super) fn is_active(&self, now: TimeDelta) -> bool {
        self.last.is_some_and(|last| now - last <= MAX_BURST_PAUSE)
    }

    /// Returns how long the output waits for the next audio. A single pause does not count.
    pub(super) fn gap_timeout(&self) -> TimeDelta {
        let usual = self.pauses.0.min(self.pauses.1);
        (usual + JITTER).clamp(VIDEO_TIMEOUT, MAX_TIMEOUT)
    }
}
