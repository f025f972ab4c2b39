//! The handle of one broadcast's ladder.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use gstreamer as gst;
use media::Metadata;
use slate::Item;

use crate::api::{Settings, Sink, SlateImages, Stats};
use crate::error::Error;
use crate::inbox::Inbox;
use crate::worker::Worker;

/// Longest wait in [`Ladder::finish`]. What has not come out by then is lost.
const MAX_END: Duration = Duration::from_secs(2);

/// The ladder of one broadcast. Dropping it ends all its threads, and discards what is inside.
#[derive(Debug)]
pub struct Ladder {
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<()>>,
    /// Disconnected by the thread when it ends.
    done: Receiver<()>,
}

impl Ladder {
    /// Starts the thread of a ladder.
    ///
    /// `output` is called on that thread with the output, in order for each track. It must not block, and may take
    /// items out of the list or leave them to be cleared.
    pub fn start(settings: Settings, output: Sink) -> Result<Self, Error> {
        gst::init().map_err(|error| Error::Start(error.to_string()))?;
        let inbox = Arc::new(Inbox::default());
        let worker = Worker::new(settings, inbox.clone(), output)?;
        let (alive, done) = channel();
        let thread = Builder::new().name("ladder".to_owned()).spawn(move || {
            worker.run();
            drop(alive);
        });
        let thread = thread.map_err(|error| Error::Start(error.to_string()))?;
        Ok(Self { inbox, thread: Some(thread), done })
    }

    /// Begins another contribution.
    pub fn begin(&self) {
        self.inbox.begin();
    }

    /// Queues the next item of the contribution, with its times as [`slate::Splice`] gives them. Never blocks: when too
    /// much is queued already, frames are refused up to the next key frame, and counted in [`Stats::refused_frames`].
    pub fn push(&self, item: Item) {
        self.inbox.push(item);
    }

    /// Takes note that the contribution has video whose codec header has not come yet. A programme that has not begun
    /// waits for it.
    pub fn expect_video(&self) {
        self.inbox.expect_video();
    }

    /// Queues metadata of the contribution, with its time as [`slate::Splice::metadata`] gives it.
    pub fn metadata(&self, metadata: Metadata) {
        self.inbox.metadata(metadata);
    }

    /// Takes note that the contribution has left: the frames that its decoders hold back are presented.
    pub fn gone(&self) {
        self.inbox.gone();
    }

    /// Replaces the images of a slate that there is. Images that cannot be decoded change nothing.
    pub fn set_slate(&self, slate: SlateImages) {
        self.inbox.set_slate(slate);
    }

    /// Ends the ladder after everything inside has come out. Blocks until then, for two seconds at most.
    pub fn finish(self) {
        self.inbox.end();
        // Disconnected, or too slow: the ladder ends either way.
        let _hung_up = self.done.recv_timeout(MAX_END);
    }

    /// Returns the counters so far.
    pub fn stats(&self) -> Stats {
        self.inbox.stats()
    }
}

impl Drop for Ladder {
    fn drop(&mut self) {
        self.inbox.close();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has printed its own message, and nothing is left to end.
            let _ended = thread.join();
        }
    }
}
