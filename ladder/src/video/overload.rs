//! Decides when a rung is given up because the machine cannot keep up, and when one that was given up is taken back.
//!
//! A rung whose encoders fail one after another is given up too. It gets another chance after a calm like one that was shed
//! for want of time, behind all of those; when that fails, after one twice as long.

use media::TimeDelta;

use crate::plan::shedding;

/// Pictures that wait for an encoder for longer than this mean that it falls behind.
const BEHIND: TimeDelta = TimeDelta::from_millis(200);
/// For so long before a rung is shed: a hiccup is none of our business.
const BEHIND_FOR: TimeDelta = TimeDelta::from_millis(500);
/// A decision is given so long to show what it does.
const SETTLE: TimeDelta = TimeDelta::from_secs(2);
/// No encoder waits for more than this: the machine has something to spare, perhaps.
const CALM: TimeDelta = TimeDelta::from_millis(70);
/// For so long before a rung is taken back; twice as long after each time that it was too much.
const CALM_FOR: TimeDelta = TimeDelta::from_secs(10);
const MAX_CALM: TimeDelta = TimeDelta::from_secs(320);
/// A rung that is given up so soon after it was taken back was too much.
const TOO_MUCH: TimeDelta = TimeDelta::from_secs(30);

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Give up this rung.
    Shed(usize),
    /// Take back this rung.
    Restore(usize),
}

/// Watches one ladder.
#[derive(Debug)]
pub struct Overload {
    rungs: usize,
    /// Given up for want of time, the newest last.
    shed: Vec<usize>,
    /// Given up because their encoders failed, now or before.
    failed: Vec<Failure>,
    behind: Option<TimeDelta>,
    calm: Option<TimeDelta>,
    changed: Option<TimeDelta>,
    restored: Option<TimeDelta>,
    patience: TimeDelta,
}

/// A rung whose encoders failed.
#[derive(Debug)]
struct Failure {
    rung: usize,
    /// Since when it is given up, or taken back.
    since: TimeDelta,
    /// How long it is given up.
    patience: TimeDelta,
    is_out: bool,
}

impl Overload {
    /// A ladder of so many rungs.
    pub const fn new(rungs: usize) -> Self {
        Self {
            rungs,
            shed: Vec::new(),
            failed: Vec::new(),
            behind: None,
            calm: None,
            changed: None,
            restored: None,
            patience: CALM_FOR,
        }
    }

    /// A rung is given up because its encoders fail.
    pub fn fail(&mut self, rung: usize, now: TimeDelta) {
        if let Some(failure) = self.failed.iter_mut().find(|failure| failure.rung == rung) {
            failure.patience = if now - failure.since < TOO_MUCH { longer(failure.patience) } else { CALM_FOR };
            (failure.since, failure.is_out) = (now, true);
        } else {
            self.failed.push(Failure { rung, since: now, patience: CALM_FOR, is_out: true });
        }
    }

    /// Looks at the longest wait before any encoder; gives at most one decision.
    pub fn judge(&mut self, wait: TimeDelta, now: TimeDelta) -> Option<Decision> {
        self.behind = (wait >= BEHIND).then(|| self.behind.unwrap_or(now));
        self.calm = (wait <= CALM).then(|| self.calm.unwrap_or(now));
        // The start is one: pictures that waited for it come all at once.
        if now - *self.changed.get_or_insert(now) < SETTLE {
            return None;
        }
        let for_long = |since: Option<TimeDelta>, long: TimeDelta| since.is_some_and(|since| now - since >= long);
        if for_long(self.behind, BEHIND_FOR) {
            let rung = shedding(self.rungs).find(|rung| !self.is_out(*rung))?;
            if self.restored.is_some_and(|restored| now - restored < TOO_MUCH) {
                self.patience = longer(self.patience);
            }
            self.shed.push(rung);
            self.change(now);
            return Some(Decision::Shed(rung));
        }
        if for_long(self.calm, self.patience)
            && let Some(rung) = self.shed.pop()
        {
            self.restored = Some(now);
            self.change(now);
            return Some(Decision::Restore(rung));
        }
        let calm = self.calm.filter(|_| self.shed.is_empty())?;
        let over = |failure: &&mut Failure| failure.is_out && now - failure.since.max(calm) >= failure.patience;
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

fn longer(patience: TimeDelta) -> TimeDelta {
    patience.times(2).min(MAX_CALM)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: i64 = 33;

    /// What is decided while the wait is `wait(ms)`, every 33 ms from `from` to `to`.
    fn decisions(load: &mut Overload, from: i64, to: i64, wait: i64) -> Vec<(i64, Decision)> {
        let times = (from..to).step_by(STEP as usize);
        let judged = times.filter_map(|ms| {
            let decision = load.judge(TimeDelta::from_millis(wait), TimeDelta::from_millis(ms));
            decision.map(|decision| (ms / 1_000, decision))
        });
        judged.collect()
    }

    #[test]
    fn a_hiccup_sheds_nothing() {
        let mut load = Overload::new(4);
        assert_eq!(decisions(&mut load, 0, 5_000, 20), []);
        assert_eq!(decisions(&mut load, 5_000, 5_400, 500), []);
        assert_eq!(decisions(&mut load, 5_400, 10_000, 100), []);
    }

    #[test]
    fn the_start_sheds_nothing() {
        let mut load = Overload::new(4);
        assert_eq!(decisions(&mut load, 0, 1_900, 500), []);
        assert_eq!(decisions(&mut load, 1_900, 10_000, 100), []);
    }

    #[test]
    fn rungs_go_one_at_a_time_and_the_leader_stays() {
        let mut load = Overload::new(3);
        let gone = decisions(&mut load, 0, 60_000, 400);
        assert_eq!(gone, [(2, Decision::Shed(1)), (4, Decision::Shed(2))]);
    }

    #[test]
    fn they_come_back_in_the_other_order_after_a_calm() {
        let mut load = Overload::new(3);
        decisions(&mut load, 0, 5_000, 400);
        let back = decisions(&mut load, 5_000, 60_000, 20);
        assert_eq!(back, [(15, Decision::Restore(2)), (25, Decision::Restore(1))]);
        assert_eq!(decisions(&mut load, 60_000, 90_000, 20), []);
    }

    #[test]
    fn what_was_too_much_waits_longer_each_time() {
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
    fn between_calm_and_behind_nothing_changes() {
        let mut load = Overload::new(4);
        assert_eq!(decisions(&mut load, 0, 3_000, 400).len(), 1);
        assert_eq!(decisions(&mut load, 3_000, 600_000, 120), []);
    }

    #[test]
    fn a_rung_that_fails_gets_another_chance_and_waits_longer_each_time() {
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
        // It worked for a while in between.
        now += 60_000;
        load.fail(1, TimeDelta::from_millis(now));
        assert_eq!(decisions(&mut load, now, now + 15_000, 20)[0].1, Decision::Restore(1));
    }

    #[test]
    fn what_fails_is_not_shed_again_and_comes_back_last() {
        let mut load = Overload::new(3);
        load.fail(1, TimeDelta::ZERO);
        assert_eq!(decisions(&mut load, 0, 8_000, 400), [(2, Decision::Shed(2))]);
        let back = decisions(&mut load, 8_000, 60_000, 20);
        assert_eq!(back, [(18, Decision::Restore(2)), (28, Decision::Restore(1))]);
    }
}
