//! RTMP's clock: 32 bits of milliseconds, which wrap after 49.7 days.

/// Unwraps the 32-bit times of one session to 64 bits.
#[derive(Clone, Debug, Default)]
pub struct Unwrap {
    last: Option<i64>,
}

impl Unwrap {
    /// Returns the unwrapped time of `ms`: the one nearest to the previous time, so that a small step back is not a
    /// wrap.
    ///
    /// The first time is taken as it is. Audio and video share an epoch, so one clock serves both.
    pub fn millis(&mut self, ms: u32) -> i64 {
        let whole = match self.last {
            None => i64::from(ms),
            // The low 32 bits of the difference, as a signed number, are the shortest distance.
            Some(last) => last.saturating_add(i64::from(ms.wrapping_sub(last as u32).cast_signed())),
        };
        self.last = Some(whole);
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wraps_forward_and_steps_back() {
        let mut clock = Unwrap::default();
        let times = [0xffff_fff0, 0xffff_fff8, 0xffff_fff4, 4, 0xffff_ffff, 8];
        let whole: Vec<i64> = times.into_iter().map(|ms| clock.millis(ms)).collect();
        let wrap = 1i64 << 32;
        assert_eq!(whole, [wrap - 16, wrap - 8, wrap - 12, wrap + 4, wrap - 1, wrap + 8]);
    }

    proptest! {
        #[test]
        fn any_walk_of_less_than_half_the_range_is_followed(
            start in any::<u32>(),
            steps in prop::collection::vec(-0x7fff_ffffi64..0x7fff_ffff, 0..50),
        ) {
            let mut clock = Unwrap::default();
            let mut at = i64::from(start);
            prop_assert_eq!(clock.millis(start), at);
            for step in steps {
                at += step;
                prop_assert_eq!(clock.millis(at as u32), at);
            }
        }
    }
}
