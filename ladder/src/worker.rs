//! The thread of a ladder: its loop, its inbox and its clock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use crate::api::{Output, Settings, Sink};
use crate::clock::Clock;
use crate::error::Error;
use crate::inbox::{Inbox, Message};
use crate::session::Session;

/// Longest sleep of the thread.
const MAX_SLEEP: Duration = Duration::from_millis(500);
/// Shortest sleep of the thread when something is due.
const MIN_SLEEP: Duration = Duration::from_micros(200);
/// Poll interval while a decoder has no room.
const ROOM_SLEEP: Duration = Duration::from_millis(5);

/// Passes messages from the [`Inbox`] to a [`Session`], and its output to a [`Sink`].
pub(crate) struct Worker {
    inbox: Arc<Inbox>,
    output: Sink,
    clock: Clock,
    session: Session,
    /// Messages taken from the inbox that wait for room in a decoder.
    backlog: VecDeque<Message>,
    out: Vec<Output>,
}

impl Worker {
    /// Returns a worker. Fails if the plugins of GStreamer that every ladder needs are missing.
    pub(crate) fn new(settings: Settings, inbox: Arc<Inbox>, output: Sink) -> Result<Self, Error> {
        crate::pipeline::element(crate::video::encoder::SOFTWARE, &[])?;
        let (clock, waker) = (Clock::start(), inbox.clone());
        let session = Session::new(settings, clock, Arc::new(move || waker.wake()));
        Ok(Self { inbox, output, clock, session, backlog: VecDeque::new(), out: Vec::new() })
    }

    /// Runs until the inbox is closed, the ladder ends, or it fails.
    pub(crate) fn run(mut self) {
        loop {
            let blocked = !self.backlog.is_empty();
            let sleep = self.sleep(blocked);
            if !self.inbox.wait(sleep, blocked, &mut self.backlog) {
                return;
            }
            let mut done = self.step();
            if self.session.is_ending() && done.is_ok() {
                done = self.finish();
            }
            if let Err(error) = &done {
                warn!(%error, "the ladder stops");
                self.out.push(Output::Stopped(error.to_string()));
            }
            self.emit();
            if self.session.is_ending() || done.is_err() {
                return;
            }
        }
    }

    /// Returns how long to sleep; `blocked` while messages wait for room in a decoder.
    fn sleep(&self, blocked: bool) -> Duration {
        let due = self.session.wake_at().map_or(MAX_SLEEP, |at| self.clock.until(at).max(MIN_SLEEP));
        due.min(if blocked { ROOM_SLEEP } else { MAX_SLEEP })
    }

    /// Handles messages as far as decoders have room ([`Session::has_room`]), and encodes what is due.
    fn step(&mut self) -> Result<(), Error> {
        self.session.collect_decoded(&mut self.out)?;
        while let Some(message) = self.backlog.pop_front() {
            if let Message::Frame(frame) = &message
                && !self.session.has_room(frame)
            {
                self.backlog.push_front(message);
                break;
            }
            self.session.handle(message, &mut self.out)?;
        }
        self.session.poll(&mut self.out)?;
        self.inbox.set_stats(self.session.stats());
        self.session.report(self.inbox.stats().refused_frames, &mut self.out);
        Ok(())
    }

    /// Brings out what is inside: of the decoders first, then of the encoders. Ends early if the inbox is closed.
    fn finish(&mut self) -> Result<(), Error> {
        self.session.end_input();
        while !self.session.is_input_ended() {
            if !self.wait() {
                return Ok(());
            }
            self.session.collect_decoded(&mut self.out)?;
        }
        self.session.finish(&mut self.out)?;
        while !self.session.collect_rest(&mut self.out)? {
            self.emit();
            if !self.wait() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Waits until something was decoded or encoded. Returns false if the inbox is closed.
    fn wait(&mut self) -> bool {
        self.inbox.wait(MAX_SLEEP, true, &mut self.backlog)
    }

    fn emit(&mut self) {
        if !self.out.is_empty() {
            (self.output)(&mut self.out);
            self.out.clear();
        }
    }
}
