//! Playlists as a pure render: a [`MediaPlaylist`] or a [`MultivariantPlaylist`] in, text out (RFC 8216 and
//! rfc8216bis).

mod audio_groups;
mod language;
mod media;
mod model;
mod multivariant;

pub use media::MediaOptions;
pub use model::{
    MediaPlaylist, MultivariantPlaylist, PartInfo, PlaylistKind, RenditionInfo, RenditionReport, SegmentInfo, Tail,
};
pub use multivariant::MultivariantOptions;

use std::fmt;

use ::media::TimeDelta;

/// `EXT-X-VERSION`: 9 because of `EXT-X-SKIP`; `EXT-X-GAP` and `EXT-X-MAP` need less.
const VERSION: u32 = 9;
/// Playlist durations have a resolution of ten microseconds.
const STEPS_PER_SECOND: i64 = 100_000;

/// A duration in steps of ten microseconds, written as decimal seconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Steps(i64);

impl Steps {
    /// Rounds to the nearest step.
    fn nearest(delta: TimeDelta) -> Self {
        let step = step_flicks();
        Self((delta.flicks() + step / 2).div_euclid(step))
    }

    /// Rounds up, for limits that must not be exceeded.
    fn up(delta: TimeDelta) -> Self {
        let step = step_flicks();
        Self((delta.flicks() + step - 1).div_euclid(step))
    }

    fn secs(secs: i64) -> Self {
        Self(secs * STEPS_PER_SECOND)
    }
}

fn step_flicks() -> i64 {
    TimeDelta::from_secs(1).flicks() / STEPS_PER_SECOND
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:05}", self.0 / STEPS_PER_SECOND, self.0 % STEPS_PER_SECOND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_five_decimals() {
        assert_eq!(Steps::nearest(TimeDelta::from_millis(2_001)).to_string(), "2.00100");
        let third = ::media::Timescale::new(3).delta(1);
        assert_eq!(Steps::nearest(third).to_string(), "0.33333");
        assert_eq!(Steps::up(third).to_string(), "0.33334");
        assert_eq!(Steps::secs(6).to_string(), "6.00000");
    }
}
