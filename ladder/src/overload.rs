//! Decides when a rung is given up because the machine cannot keep up, and when it is taken back.

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
const LONGEST_CALM: TimeDelta = TimeDelta::from_secs(320);
/// A rung that is shed so soon after it was taken back was too much.
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
    /// The first so many of [`shedding`] are given up.
    shed: usize,
    behind: Option<TimeDelta>,
    calm: Option<TimeDelta>,
    changed: Option<TimeDelta>,
    restored: Option<TimeDelta>,
    patience: TimeDelta,
}

impl Overload {
    /// A ladder of so many rungs.
    pub fn new(rungs: usize) -> Self {
        Self { rungs, shed: 0, behind: None, calm: None, changed: None, restored: None, patience: CALM_FOR }
    }

    /// Looks at the longest wait before any encoder; gives at most one decision.
    pub fn judge(&mut self, wait: TimeDelta, now: TimeDelta) -> Option<Decision> {
        self.behind = (wait >= BEHIND).then(|| self.behind.unwrap_or(now));
        self.calm = (wait <= CALM).then(|| self.calm.unwrap_or(now));
        if self.changed.is_some_and(|changed| now - changed < SETTLE) {
            return None;
        }
        let for_long = |since: Option<TimeDelta>, long: TimeDelta| since.is_some_and(|since| now - since >= long);
        if for_long(self.behind, BEHIND_FOR) {
            let rung = shedding(self.rungs).nth(self.shed)?;
            if self.restored.is_some_and(|restored| now - restored < TOO_MUCH) {
                self.patience = self.patience.times(2).min(LONGEST_CALM);
            }
            self.shed += 1;
            self.change(now);
            return Some(Decision::Shed(rung));
        }
        if self.shed > 0 && for_long(self.calm, self.patience) {
            self.shed -= 1;
            self.restored = Some(now);
            self.change(now);
            return shedding(self.rungs).nth(self.shed).map(Decision::Restore);
        }
        None
    }

    fn change(&mut self, now: TimeDelta) {
        self.changed = Some(now);
        self.behind = None;
        self.calm = None;
    }
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
        assert_eq!(decisions(&mut load, 0, 400, 500), []);
        assert_eq!(decisions(&mut load, 400, 10_000, 100), []);
    }

    #[test]
    fn rungs_go_one_at_a_time_and_the_leader_stays() {
        let mut load = Overload::new(3);
        let gone = decisions(&mut load, 0, 60_000, 400);
        assert_eq!(gone, [(0, Decision::Shed(1)), (2, Decision::Shed(2))]);
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
        decisions(&mut load, 0, 1_000, 400);
        assert_eq!(decisions(&mut load, 1_000, 600_000, 120), []);
    }
}
