//! The queue before the store: transitions of the lifecycle and edits, in order.

use std::collections::{HashSet, VecDeque};

use media::id::LiveStreamId;
use tokio::sync::oneshot;

use super::Write;
use crate::error::Error;
use crate::lifecycle::State;

/// Most queued transitions. At this bound, the queue discards each transition that a later one of the same live stream
/// supersedes, so the last state of every live stream remains.
const MAX_TRANSITIONS: usize = 10_000;
/// Most transitions that are written in one transaction.
const MAX_BATCH: usize = 500;

/// The queue.
pub(super) struct Queue {
    items: VecDeque<(u64, Item)>,
    /// Number of the newest item.
    newest: u64,
    edits: usize,
    /// Number of transitions at which [`Queue::push`] discards superseded ones.
    bound: usize,
}

/// An entry of the [`Queue`].
pub(super) enum Item {
    /// The live stream is in this state now.
    Transition(LiveStreamId, State),
    /// A write that a caller waits for.
    Edit(Write, Ack),
}

/// Reports the result of an edit to its caller.
pub(super) type Ack = oneshot::Sender<Result<(), Error>>;

/// Work that is written in one transaction.
pub(super) enum Batch {
    /// Transitions, with the number of the last one for [`Queue::remove_until`].
    States(Vec<(LiveStreamId, State)>, u64),
    /// An edit, which has left the queue already.
    Edit(Write, Ack),
}

impl Default for Queue {
    fn default() -> Self {
        Self { items: VecDeque::new(), newest: 0, edits: 0, bound: MAX_TRANSITIONS }
    }
}

impl Queue {
    /// Appends an item.
    pub(super) fn push(&mut self, item: Item) {
        match item {
            Item::Edit(..) => self.edits += 1,
            Item::Transition(..) if self.transitions() >= self.bound => self.discard_superseded(),
            Item::Transition(..) => {}
        }
        self.newest += 1;
        self.items.push_back((self.newest, item));
    }

    /// Returns the number of queued transitions.
    pub(super) fn transitions(&self) -> usize {
        self.items.len() - self.edits
    }

    /// Returns the number of queued edits.
    pub(super) fn edits(&self) -> usize {
        self.edits
    }

    /// Discards each transition that a later one of the same live stream follows.
    fn discard_superseded(&mut self) {
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
        // With more live streams than the bound, the next pass must discard enough to be worth its time.
        self.bound = MAX_TRANSITIONS.max(2 * self.transitions());
    }

    /// Returns the next batch. Its transitions stay in the queue until [`remove_until`](Self::remove_until).
    pub(super) fn next(&mut self) -> Option<Batch> {
        match self.items.pop_front()? {
            (_, Item::Edit(write, ack)) => {
                self.edits -= 1;
                Some(Batch::Edit(write, ack))
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
                let states = states.take(MAX_BATCH).collect();
                Some(Batch::States(states, last))
            }
        }
    }

    /// Removes the items that were written, up to this number.
    pub(super) fn remove_until(&mut self, last: u64) {
        while self.items.pop_front_if(|(number, _)| *number <= last).is_some() {}
    }

    /// Removes all edits, and returns their acknowledgements.
    pub(super) fn take_edits(&mut self) -> Vec<Ack> {
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

    /// Returns the next batch as text: the live streams of transitions with `+` if enabled and `-` if not, or an edit.
    fn next(queue: &mut Queue, names: &[&LiveStreamId]) -> String {
        let name = |id| names.iter().position(|known| *known == id).unwrap();
        match queue.next() {
            Some(Batch::States(states, last)) => {
                queue.remove_until(last);
                states
                    .iter()
                    .map(|(id, state)| format!("{}{}", name(id), if state.enabled { '+' } else { '-' }))
                    .collect()
            }
            Some(Batch::Edit(Write::Delete(id), _)) => format!("edit {}", name(&id)),
            Some(Batch::Edit(..)) => unreachable!(),
            None => String::new(),
        }
    }

    #[test]
    fn items_are_written_in_order() {
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
    fn superseded_transitions_are_discarded_at_the_bound() {
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
        // A transition that is written while superseded ones are discarded is not overwritten by an older one.
        queue.push(transition(a, true));
        let Some(Batch::States(_, last)) = queue.next() else { unreachable!() };
        queue.push(transition(a, false));
        queue.discard_superseded();
        queue.remove_until(last);
        assert_eq!(next(&mut queue, &[a, b, c]), "0-");
    }

    #[test]
    fn taken_edits_leave_the_transitions() {
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
