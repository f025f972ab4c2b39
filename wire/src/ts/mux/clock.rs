//! The programme clock: when references and tables are due.

/// Ticks of 90 kHz between programme clock references, at most: 40 ms, which monitors of DVB expect (ETSI TR 101 290
/// §5.2.2). ISO/IEC 13818-1 §2.7.2 allows 100 ms.
const CLOCK_INTERVAL: i64 = 3_600;
/// Ticks between two repetitions of the tables, at most: 100 ms.
const TABLE_INTERVAL: i64 = 9_000;
/// Longest step, in ticks, that references fill: 1 s. Nothing was written during a longer one, so its references would
/// only come late.
const MAX_FILL: i64 = 90_000;
/// Longest step back, in ticks, of the stream with the clock: 300 ms. A longer one is a discontinuity; within a shorter
/// one the clock waits.
const MAX_BACK: i64 = 27_000;

/// Decoding time up to which the programme has been written.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    /// Ticks by which decoding times are ahead of the references.
    delay: i64,
    /// Decoding time at the last reference; `None` at the start and after a discontinuity.
    reference: Option<i64>,
    /// Decoding time at the last tables; `None` if they are due.
    tables: Option<i64>,
    /// PID with the clock, and the decoding time of its last frame.
    frame: Option<(u16, i64)>,
}

impl Clock {
    /// Creates a clock whose references are `delay` ticks behind the decoding times.
    pub(super) const fn new(delay: i64) -> Self {
        Self { delay, reference: None, tables: None, frame: None }
    }

    /// Begins a new time base with the next frame.
    pub(super) const fn reset(&mut self) {
        (self.reference, self.tables) = (None, None);
    }

    /// Makes the tables due.
    pub(super) const fn request_tables(&mut self) {
        self.tables = None;
    }

    /// Returns whether a reference at `dts` begins a time base.
    pub(super) const fn is_new(&self) -> bool {
        self.reference.is_none()
    }

    /// Notes a frame at `dts` of the stream with the clock, whose PID is `pid`. Returns whether it steps back so far
    /// that it does not continue the time base. Streams of other PIDs may be ahead of it by more than that.
    pub(super) fn note_frame(&mut self, pid: u16, dts: i64) -> bool {
        let last = self.frame.replace((pid, dts));
        last.is_some_and(|(other, last)| other == pid && dts.saturating_add(MAX_BACK) < last)
    }

    /// Returns when the next reference is due, if it must not wait for one later than `dts`.
    pub(super) fn due(&self, dts: i64) -> Option<i64> {
        match self.reference {
            None => Some(dts),
            Some(last) if dts.saturating_sub(last) > MAX_FILL => Some(dts),
            Some(last) => Some(last + CLOCK_INTERVAL).filter(|next| *next < dts),
        }
    }

    /// Returns whether a reference at `dts` would be later than the last one.
    pub(super) fn advances(&self, dts: i64) -> bool {
        self.reference.is_none_or(|last| dts > last)
    }

    /// Notes a reference at `dts`.
    pub(super) const fn note_reference(&mut self, dts: i64) {
        self.reference = Some(dts);
    }

    /// Returns whether the tables are due at the last reference, because the next one may be too late for them.
    pub(super) fn tables_due(&self) -> bool {
        let next = self.reference.map(|last| last.saturating_add(CLOCK_INTERVAL));
        self.tables.zip(next).is_none_or(|(last, next)| next - last > TABLE_INTERVAL)
    }

    /// Notes that the tables have been written.
    pub(super) const fn note_tables(&mut self) {
        self.tables = self.reference;
    }

    /// Returns the base of a reference at `dts`, modulo 2^33.
    pub(super) fn base(&self, dts: i64) -> u64 {
        wrapped(dts.saturating_sub(self.delay))
    }

    /// Returns whether the clock has passed a decoding time, so that a frame with it comes too late.
    pub(super) fn has_passed(&self, dts: i64) -> bool {
        self.reference.is_some_and(|last| last.saturating_sub(self.delay) > dts)
    }
}

/// Returns ticks modulo 2^33, as the streams hold them.
pub(super) const fn wrapped(ticks: i64) -> u64 {
    ticks.cast_unsigned() & ((1 << 33) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_fill_a_step_and_leave_a_long_one() {
        let mut clock = Clock::new(9_000);
        assert_eq!(clock.due(100), Some(100));
        clock.note_reference(100);
        assert!(clock.tables_due());
        clock.note_tables();
        assert_eq!((clock.due(3_700), clock.due(3_701), clock.due(90_100)), (None, Some(3_700), Some(3_700)));
        assert_eq!(clock.due(90_101), Some(90_101), "nothing to fill");
        assert_eq!((clock.base(9_000), clock.base(8_999)), (0, (1 << 33) - 1));
        assert!(clock.has_passed(-8_901) && !clock.has_passed(-8_900));
    }

    #[test]
    fn a_step_back_is_one_of_the_same_stream() {
        let mut clock = Clock::new(0);
        let steps = [(1, 90_000), (1, 63_000), (1, 35_999), (2, 0), (2, 100), (1, 50)];
        assert_eq!(steps.map(|(pid, dts)| clock.note_frame(pid, dts)), [false, false, true, false, false, false]);
    }

    #[test]
    fn tables_come_with_the_last_reference_that_is_early_enough() {
        let mut clock = Clock::new(0);
        let mut written = Vec::new();
        for dts in (0..90_000).step_by(3_003) {
            clock.note_reference(dts);
            if clock.tables_due() {
                clock.note_tables();
                written.push(dts);
            }
        }
        assert!(written.windows(2).all(|pair| pair[1] - pair[0] <= TABLE_INTERVAL), "{written:?}");
        assert_eq!(written[..3], [0, 6_006, 12_012]);
    }
}
