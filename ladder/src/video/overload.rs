//! Decides when a rung is dropped because the machine cannot keep up, and when it is restored.
//!
//! A rung whose encoders fail one after another is dropped too. It is restored after a calm like any other, but after
//! all rungs that were dropped for lack of time. If it fails again, the next calm has to be twice as long.

use media::TimeDelta;

use crate::plan::shedding_order;

/// Wait of frames for an encoder from which on the encoder is behind.
const BEHIND: TimeDelta = TimeDelta::from_millis(200);
/// Time that an encoder has to be behind before a rung is dropped. Shorter delays pass by themselves.
const BEHIND_FOR: TimeDelta = TimeDelta::from_millis(500);
/// Time that each decision is given to show its effect.
const SETTLE: TimeDelta = TimeDelta::from_secs(2);
/// Wait of frames for an encoder up to which the machine may have time to spare.
const CALM: TimeDelta = TimeDelta::from_millis(70);
/// Calm before a rung is restored. It doubles each time that a restored rung was too much, up to [`MAX_CALM`].
const CALM_FOR: TimeDelta = TimeDelta::from_secs(10);
const MAX_CALM: TimeDelta = TimeDelta::from_secs(320);
/// Time within which a restored rung that has to be dropped again was too much.
const TOO_MUCH: TimeDelta = TimeDelta::from_secs(30);

/// Decision of [`Overload::judge`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Drop this rung.
    Shed(usize),
    /// Restore this rung.
    Restore(usize),
}

/// Overload control of one ladder.
#[derive(Debug)]
pub struct Overload {
    rungs: usize,
    /// Rungs dropped for lack of time, the newest last.
    shed: Vec<usize>,
    /// Rungs whose encoders failed, now or before.
    failed: Vec<Failure>,
    behind: Option<TimeDelta>,
    calm: Option<TimeDelta>,
    changed: Option<TimeDelta>,
    restored: Option<TimeDelta>,
    calm_needed: TimeDelta,
}

/// A rung whose encoders failed.
#[derive(Debug)]
struct Failure {
    rung: usize,
    /// Time at which the rung was dropped, or restored.
    since: TimeDelta,
    /// Calm before the rung is restored.
    calm_needed: TimeDelta,
    is_out: bool,
}

impl Overload {
    /// Returns the control of a ladder with this number of rungs.
    pub const fn new(rungs: usize) -> Self {
        Self {
            rungs,
            shed: Vec::new(),
            failed: Vec::new(),
            behind: None,
            calm: None,
            changed: None,
            restored: None,
            calm_needed: CALM_FOR,
        }
    }

    /// Takes note that a rung is dropped because its encoders fail.
    pub fn fail(&mut self, rung: usize, now: TimeDelta) {
        if let Some(failure) = self.failed.iter_mut().find(|failure| failure.rung == rung) {
            failure.calm_needed = if now - failure.since < TOO_MUCH { longer(failure.calm_needed) } else { CALM_FOR };
            (failure.since, failure.is_out) = (now, true);
        } else {
            self.failed.push(Failure { rung, since: now, calm_needed: CALM_FOR, is_out: true });
        }
    }

    /// Decides by the longest wait of frames for any encoder. Returns at most one decision.
    pub fn judge(&mut self, wait: TimeDelta, now: TimeDelta) -> Option<Decision> {
        self.behind = (wait >= BEHIND).then(|| self.behind.unwrap_or(now));
        self.calm = (wait <= CALM).then(|| self.calm.unwrap_or(now));
        // The start counts as a decision, because frames that waited for it come all at once.
        if now - *self.changed.get_or_insert(now) < SETTLE {
            return None;
        }
        let for_long = |since: Option<TimeDelta>, long: TimeDelta| since.is_some_and(|since| now - since >= long);
        if for_long(self.behind, BEHIND_FOR) {
            let rung = shedding_order(self.rungs).find(|rung| !self.is_out(*rung))?;
            if self.restored.is_some_and(|restored| now - restored < TOO_MUCH) {
                self.calm_needed = longer(self.calm_needed);
            }
            self.shed.push(rung);
            self.change(now);
            return Some(Decision::Shed(rung));
        }
        if for_long(self.calm, self.calm_needed)
            && let Some(rung) = self.shed.pop()
        {
            self.restored = Some(now);
            self.change(now);
            return Some(Decision::Restore(rung));
        }
        let calm = self.calm.filter(|_| self.shed.is_empty())?;
        let over = |failure: &&mut Failure| failure.is_out && now - failure.since.max(calm) >= failure.calm_needed;
        let failure = self.failed.iter_mut().find(over)?;
        (failure.since, failure.is_out) = (now, false);
        let rung = failure.rung;
        self.change(now);
        Some(Decision::Restore(rung))
    }

    fn is_out(&self, rung: usize) -> bool {
        self.shed.contains(&rung) || self.failed.iter().any(|failure| failure.rung == rung && failure.is_out)
    }

    fn change(&mut self, now: TimeDelta) {
        self.changed = Some(now);
        self.behind = None;
        self.calm = None;
    }
}

fn longer(calm_needed: TimeDelta) -> TimeDelta {
    calm_needed.times(2).min(MAX_CALM)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: i64 = 33;

    /// Decisions while frames wait for `wait` milliseconds, judged every 33 ms from `from` to `to`.
    fn decisions(load: &mut Overload, from: i64, to: i64, wait: i64) -> Vec<(i64, Decision)> {
        let times = (from..to).step_by(STEP as usize);
        let judged = times.filter_map(|ms| {
            let decision = load.judge(TimeDelta::from_millis(wait), TimeDelta::from_millis(ms));
            decision.map(|decision| (ms / 1_000, decision))
        });
        judged.collect()
    }

    #[test]
    fn short_delay_sheds_nothing() {
        let mut load = Overload::new(4);
        assert_eq!(decisions(&mut load, 0, 5_000, 20), []);
        assert_eq!(decisions(&mut load, 5_000, 5_400, 500), []);
        assert_eq!(decisions(&mut load, 5_400, 10_000, 100), []);
    }

    #[test]
    fn start_sheds_nothing() {
        let mut load = Overload::new(4);
        assert_eq!(decisions(&mut load, 0, 1_900, 500), []);
        assert_eq!(decisions(&mut load, 1_900, 10_000, 100), []);
    }

    #[test]
    fn rungs_are_shed_one_at_a_time_and_the_reference_rendition_stays() {
        let mut load = Overload::new(3);
        let gone = decisions(&mut load, 0, 60_000, 400);
        assert_eq!(gone, [(2, Decision::Shed(1)), (4, Decision::Shed(2))]);
    }

    #[test]
    fn rungs_are_restored_in_reverse_order_after_a_calm() {
        let mut load = Overload::new(3);
        decisions(&mut load, 0, 5_000, 400);
        let back = decisions(&mut load, 5_000, 60_000, 20);
        assert_eq!(back, [(15, Decision::Restore(2)), (25, Decision::Restore(1))]);
        assert_eq!(decisions(&mut load, 60_000, 90_000, 20), []);
    }

    #[test]
    fn rung_that_was_too_much_waits_longer_each_time() {
        let mut load = Overload::new(2);
        let mut now = 0;
        let mut calms = Vec::new();
        for _ in 0..4 {
            let shed = decisions(&mut load, now, now + 4_000, 400);
            assert_eq!(shed.len(), 1);
            now += 4_000;
            let (back, _) = decisions(&mut load, now, now + 400_000, 20)[0];
            calms.push(back - now / 1_000);
            now = back * 1_000 + 1_000;
        }
        assert_eq!(calms, [10, 20, 40, 80]);
    }

    #[test]
    fn nothing_changes_between_calm_and_behind() {
        let mut load = Overload::new(4);
        assert_eq!(decisions(&mut load, 0, 3_000, 400).len(), 1);
        assert_eq!(decisions(&mut load, 3_000, 600_000, 120), []);
    }

    #[test]
    fn rung_that_fails_is_restored_and_waits_longer_each_time() {
        let mut load = Overload::new(3);
        let mut waits = Vec::new();
        let mut now = 0;
        for _ in 0..7 {
            load.fail(1, TimeDelta::from_millis(now));
            let back = decisions(&mut load, now, now + 400_000, 20);
            assert_eq!(back.len(), 1);
            assert_eq!(back[0].1, Decision::Restore(1));
            waits.push(back[0].0 - now / 1_000);
            now = back[0].0 * 1_000 + 1_000;
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 320]);
        // The rung worked for a while in between.
        now += 60_000;
        load.fail(1, TimeDelta::from_millis(now));
        assert_eq!(decisions(&mut load, now, now + 15_000, 20)[0].1, Decision::Restore(1));
    }

    #[test]
    fn failed_rung_is_not_shed_again_and_is_restored_last() {
        let mut load = Overload::new(3);
        load.fail(1, TimeDelta::ZERO);
        assert_eq!(decisions(&mut load, 0, 8_000, 400), [(2, Decision::Shed(2))]);
        let back = decisions(&mut load, 8_000, 60_000, 20);
        assert_eq!(back, [(18, Decision::Restore(2)), (28, Decision::Restore(1))]);
    }
}
