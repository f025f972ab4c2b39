//! The wall clock of a broadcast. No other file of the broadcast reads it.

use std::time::{SystemTime, UNIX_EPOCH};

use media::WallTime;

/// Returns the time of the machine's clock.
pub(super) fn wall_now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
