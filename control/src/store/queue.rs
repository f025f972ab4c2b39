//! What waits to be written, in order: transitions of the lifecycle, and edits.

use std::collections::{HashSet, VecDeque};

use media::id::LiveStreamId;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::lifecycle::State;
use crate::store::Write;

/// Transitions that wait. At the bound those that a later one of the same live stream follows are forgotten: what stays is
/// where each live stream is.
const MAX_TRANSITIONS: usize = 10_000;
/// Transitions written together.
const BATCH: usize = 500;

/// The queue.
pub(crate) struct Queue {
    items: VecDeque<(u64, Item)>,
    /// The number of the newest item.
    newest: u64,
    edits: usize,
    /// Transitions at which the next clean-up is due.
    bound: usize,
}

/// One entry.
pub(crate) enum Item {
    /// A live stream is in this state now.
    Transition(LiveStreamId, State),
    /// A write that somebody waits for.
    Edit(Write, Ack),
}

/// Tells whoever waits for an edit how it went.
pub(crate) type Ack = oneshot::Sender<Result<(), Error>>;

/// What is written in one go.
pub(crate) enum Work {
    /// Transitions, with the number of the last one.
    States(Vec<(LiveStreamId, State)>, u64),
    /// An edit; it has left the queue.
    Edit(Write, Ack),
}

impl Default for Queue {
    fn default() -> Self {
        Self { items: VecDeque::new(), newest: 0, edits: 0, bound: MAX_TRANSITIONS }
    }
}

impl Queue {
    /// Adds an entry behind all others.
    pub(crate) fn push(&mut self, item: Item) {
        match item {
            Item::Edit(..) => self.edits += 1,
            Item::Transition(..) if self.transitions() >= self.bound => self.forget_what_is_followed(),
            Item::Transition(..) => {}
        }
        self.newest += 1;
        self.items.push_back((self.newest, item));
    }

    /// Transitions that wait.
    pub(crate) fn transitions(&self) -> usize {
        self.items.len() - self.edits
    }

    fn forget_what_is_followed(&mut self) {
        let mut seen = HashSet::new();
        let mut kept: VecDeque<_> = std::mem::take(&mut self.items)
            .into_iter()
            .rev()
            .filter(|(_, item)| match item {
                Item::Transition(id, _) => seen.insert(id.clone()),
                Item::Edit(..) => true,
            })
            .collect();
        kept.make_contiguous().reverse();
        self.items = kept;
        // With more live streams than that the next clean-up has to be worth its time as well.
        self.bound = MAX_TRANSITIONS.max(2 * self.transitions());
    }

    /// What is to be written next. Transitions stay in the queue until they are.
    pub(crate) fn next(&mut self) -> Option<Work> {
        match self.items.pop_front()? {
            (_, Item::Edit(write, ack)) => {
                self.edits -= 1;
                Some(Work::Edit(write, ack))
            }
            transition => {
                self.items.push_front(transition);
                let mut last = 0;
                let states = self.items.iter().map_while(|(number, item)| match item {
                    Item::Transition(id, state) => {
                        last = *number;
                        Some((id.clone(), state.clone()))
                    }
                    Item::Edit(..) => None,
                });
                let states = states.take(BATCH).collect();
                Some(Work::States(states, last))
            }
        }
    }

    /// Forgets what was written, up to this number.
    pub(crate) fn forget_until(&mut self, last: u64) {
        while self.items.pop_front_if(|(number, _)| *number <= last).is_some() {}
    }

    /// Takes out all edits.
    pub(crate) fn take_edits(&mut self) -> Vec<Ack> {
        let mut acks = Vec::with_capacity(self.edits);
        let items = std::mem::take(&mut self.items);
        for (number, item) in items {
            match item {
                Item::Edit(_, ack) => acks.push(ack),
                transition => self.items.push_back((number, transition)),
            }
        }
        self.edits = 0;
        acks
    }

    /// Edits that wait.
    pub(crate) fn edits(&self) -> usize {
        self.edits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(bound: usize) -> Queue {
        Queue { bound, ..Queue::default() }
    }

    fn transition(id: &LiveStreamId, enabled: bool) -> Item {
        Item::Transition(id.clone(), State { enabled, broadcast: None })
    }

    fn edit(id: &LiveStreamId) -> Item {
        Item::Edit(Write::Delete(id.clone()), oneshot::channel().0)
    }

    /// What is next, as text: the live streams of transitions with whether they are enabled, or an edit.
    fn next(queue: &mut Queue, names: &[&LiveStreamId]) -> String {
        let name = |id| names.iter().position(|known| *known == id).unwrap();
        match queue.next() {
            Some(Work::States(states, last)) => {
                queue.forget_until(last);
                states
                    .iter()
                    .map(|(id, state)| format!("{}{}", name(id), if state.enabled { '+' } else { '-' }))
                    .collect()
            }
            Some(Work::Edit(Write::Delete(id), _)) => format!("edit {}", name(&id)),
            Some(Work::Edit(..)) => unreachable!(),
            None => String::new(),
        }
    }

    #[test]
    fn everything_is_written_in_order() {
        let ids = [(); 2].map(|()| LiveStreamId::generate());
        let [a, b] = ids.each_ref();
        let mut queue = queue(100);
        for item in
            [transition(a, true), transition(b, true), transition(a, false), edit(a), transition(a, true), edit(b)]
        {
            queue.push(item);
        }
        let order = [(); 5].map(|()| next(&mut queue, &[a, b]));
        assert_eq!(order, ["0+1+0-", "edit 0", "0+", "edit 1", ""]);
    }

    #[test]
    fn at_the_bound_what_is_followed_is_forgotten() {
        let ids = [(); 3].map(|()| LiveStreamId::generate());
        let [a, b, c] = ids.each_ref();
        let mut queue = queue(4);
        for item in [transition(a, true), transition(b, true), transition(a, false), edit(b), transition(b, false)] {
            queue.push(item);
        }
        queue.push(transition(c, true));
        assert_eq!((queue.transitions(), queue.bound), (3, MAX_TRANSITIONS));
        let order = [(); 4].map(|()| next(&mut queue, &[a, b, c]));
        assert_eq!(order, ["0-", "edit 1", "1-2+", ""]);
        // One that is written while the queue is cleaned up is not written over by an older one.
        queue.push(transition(a, true));
        let Some(Work::States(_, last)) = queue.next() else { unreachable!() };
        queue.push(transition(a, false));
        queue.forget_what_is_followed();
        queue.forget_until(last);
        assert_eq!(next(&mut queue, &[a, b, c]), "0-");
    }

    #[test]
    fn edits_leave_a_queue_that_is_not_written() {
        let id = LiveStreamId::generate();
        let mut queue = queue(4);
        for item in [transition(&id, true), edit(&id), transition(&id, false), edit(&id)] {
            queue.push(item);
        }
        assert_eq!(queue.take_edits().len(), 2);
        assert_eq!((queue.transitions(), queue.edits), (2, 0));
        assert_eq!(next(&mut queue, &[&id]), "0+0-");
    }
}
