//! The deadlines of all live streams, under one timer.

use std::collections::{BTreeSet, HashMap};

use media::WallTime;
use media::id::LiveStreamId;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Who is due when. Holds one deadline at most for each live stream.
#[derive(Default)]
pub(crate) struct Deadlines {
    queue: Mutex<Queue>,
    earlier: Notify,
}

#[derive(Default)]
struct Queue {
    order: BTreeSet<(WallTime, LiveStreamId)>,
    of: HashMap<LiveStreamId, WallTime>,
}

impl Deadlines {
    /// The live stream is due at `at`, or not at all; what was set before is forgotten.
    pub(crate) fn set(&self, id: &LiveStreamId, at: Option<WallTime>) {
        let queue = &mut *self.queue.lock();
        if let Some(old) = queue.of.remove(id) {
            queue.order.remove(&(old, id.clone()));
        }
        if let Some(at) = at {
            queue.of.insert(id.clone(), at);
            queue.order.insert((at, id.clone()));
            if queue.order.first().is_some_and(|(_, first)| first == id) {
                self.earlier.notify_one();
            }
        }
    }

    /// Takes a live stream that is due, or says when the next one will be.
    pub(crate) fn take_due(&self, now: WallTime) -> Result<LiveStreamId, Option<WallTime>> {
        let queue = &mut *self.queue.lock();
        match queue.order.first() {
            Some((at, _)) if *at > now => return Err(Some(*at)),
            None => return Err(None),
            Some(_) => {}
        }
        let (_, id) = queue.order.pop_first().ok_or(None)?;
        queue.of.remove(&id);
        Ok(id)
    }

    /// Waits until a deadline earlier than the others was set.
    pub(crate) async fn changed(&self) {
        self.earlier.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_a_new_deadline_replaces_the_old() {
        let (a, b) = (LiveStreamId::generate(), LiveStreamId::generate());
        let at = WallTime::from_unix_millis;
        let deadlines = Deadlines::default();
        assert_eq!(deadlines.take_due(at(9)), Err(None));
        deadlines.set(&a, Some(at(10)));
        deadlines.set(&b, Some(at(20)));
        assert_eq!(deadlines.take_due(at(9)), Err(Some(at(10))));
        deadlines.set(&a, Some(at(30)));
        assert_eq!(deadlines.take_due(at(25)), Ok(b));
        assert_eq!(deadlines.take_due(at(25)), Err(Some(at(30))));
        deadlines.set(&a, None);
        assert_eq!(deadlines.take_due(at(99)), Err(None));
    }
}
