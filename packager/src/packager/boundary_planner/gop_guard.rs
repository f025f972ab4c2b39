//! Rejects video with key frames so rare that no viewer could tune in.

use media::{Access, TimeDelta, Timestamp};

use crate::Error;

/// Longest GOP that is carried: 20 s, and half a second for clock jitter.
const MAX_GOP: TimeDelta = TimeDelta::from_millis(20_500);
/// Most that a pause of the video counts, because a pause says nothing about how often an encoder makes key frames.
const MAX_STEP: TimeDelta = TimeDelta::from_secs(1);

/// Duration of the current GOP so far; before the first key frame, the time without one.
#[derive(Debug, Default)]
pub(super) struct GopGuard {
    last_dts: Option<Timestamp>,
    length: TimeDelta,
}

impl GopGuard {
    /// Takes the next video frame, and fails with [`Error::LongGop`] if its GOP lasts longer than [`MAX_GOP`].
    pub(super) fn check(&mut self, dts: Timestamp, access: Access) -> Result<(), Error> {
        let step = self.last_dts.replace(dts).map_or(TimeDelta::ZERO, |last| dts - last);
        if access != Access::Dependent {
            self.length = TimeDelta::ZERO;
            return Ok(());
        }
        self.length += step.clamp(TimeDelta::ZERO, MAX_STEP);
        if self.length > MAX_GOP { Err(Error::LongGop { secs: MAX_GOP.as_millis() / 1_000 }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(guard: &mut GopGuard, from: i64, to: i64, access: Access) -> Result<(), Error> {
        (from..to).try_for_each(|n| guard.check(Timestamp::ZERO + TimeDelta::from_millis(n * 40), access))
    }

    #[test]
    fn accepts_twenty_seconds_and_rejects_more() {
        let mut guard = GopGuard::default();
        for gop in 0..3 {
            feed(&mut guard, gop * 500, gop * 500 + 1, Access::Independent).unwrap();
            feed(&mut guard, gop * 500 + 1, gop * 500 + 500, Access::Dependent).unwrap();
        }
        assert!(feed(&mut guard, 1_500, 1_520, Access::Dependent).is_err());
    }

    #[test]
    fn open_gops_are_gops() {
        let mut guard = GopGuard::default();
        for gop in 0..10 {
            feed(&mut guard, gop * 250, gop * 250 + 1, Access::Open).unwrap();
            feed(&mut guard, gop * 250 + 1, gop * 250 + 250, Access::Dependent).unwrap();
        }
    }

    #[test]
    fn a_pause_is_no_long_gop() {
        let mut guard = GopGuard::default();
        feed(&mut guard, 0, 1, Access::Independent).unwrap();
        feed(&mut guard, 1, 25, Access::Dependent).unwrap();
        feed(&mut guard, 10_000, 10_100, Access::Dependent).unwrap();
    }

    #[test]
    fn rejects_video_without_any_key_frame() {
        assert!(feed(&mut GopGuard::default(), 0, 600, Access::Dependent).is_err());
    }
}
