//! The deadlines of all live streams, under one timer.

use std::collections::{BTreeSet, HashMap};

use media::WallTime;
use media::id::LiveStreamId;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Deadlines of live streams, at most one for each. At its deadline, a live stream is due for an
/// [`Input::Tick`](crate::lifecycle::Input::Tick).
#[derive(Default)]
pub(crate) struct Deadlines {
    queue: Mutex<Queue>,
    /// Notified when a deadline was set that is earlier than all others.
    earlier: Notify,
}

#[derive(Default)]
struct Queue {
    order: BTreeSet<(WallTime, LiveStreamId)>,
    by_stream: HashMap<LiveStreamId, WallTime>,
}

impl Deadlines {
    /// Replaces the deadline of a live stream; `None` removes it.
    pub(crate) fn set(&self, id: &LiveStreamId, at: Option<WallTime>) {
        let queue = &mut *self.queue.lock();
        if let Some(old) = queue.by_stream.remove(id) {
            queue.order.remove(&(old, id.clone()));
        }
        if let Some(at) = at {
            queue.by_stream.insert(id.clone(), at);
            queue.order.insert((at, id.clone()));
            if queue.order.first().is_some_and(|(_, first)| first == id) {
                self.earlier.notify_one();
            }
        }
    }

    /// Removes and returns a live stream whose deadline has passed. The error is the next deadline, if there is one.
    pub(crate) fn take_due(&self, now: WallTime) -> Result<LiveStreamId, Option<WallTime>> {
        let queue = &mut *self.queue.lock();
        match queue.order.first() {
            Some((at, _)) if *at > now => return Err(Some(*at)),
            None => return Err(None),
            Some(_) => {}
        }
        let (_, id) = queue.order.pop_first().ok_or(None)?;
        queue.by_stream.remove(&id);
        Ok(id)
    }

    /// Waits until [`set`](Self::set) sets a deadline that is earlier than all others.
    pub(crate) async fn changed(&self) {
        self.earlier.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_deadline_is_first_and_a_new_one_replaces_the_old() {
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
