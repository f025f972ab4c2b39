//! A publication that has started.

use media::{Frame, Kind, Timestamp, Track, TrackId};
use wire::rtmp::client::{Event, Refusal, Secret, TrackError};

use crate::failure::Failure;
use crate::rtmp::link::Link;
use crate::state::Severity;
use crate::transport::Connection;

/// A [`Link`] on which the publication has started.
pub(crate) struct Publication {
    link: Link,
    /// Texts to mask in the target's words.
    secrets: Vec<Secret>,
    /// Tracks that the target takes; empty before the first [`Connection::announce`].
    tracks: Vec<TrackId>,
}

impl Publication {
    pub(super) const fn new(link: Link, secrets: Vec<Secret>) -> Self {
        Self { link, secrets, tracks: Vec::new() }
    }

    /// Returns the failure in the session's next event.
    fn failure(&mut self) -> Result<(), Failure> {
        match self.link.session.poll() {
            Some(Event::Closed(refusal) | Event::Refused(refusal)) => {
                let (severity, text) = refused(&refusal, &self.secrets);
                Err(Failure::Ended { severity, text })
            }
            Some(_) => Err(Failure::Closed),
            None => Ok(()),
        }
    }

    async fn step(&mut self) -> Result<(), Failure> {
        let step = self.link.step().await;
        // The target's words explain more than the error of the socket.
        self.failure()?;
        step
    }
}

impl Connection for Publication {
    /// Falls back to the first track of each kind if the target cannot take all of them.
    fn announce(&mut self, tracks: &[Track], at: Timestamp) -> Result<(), Failure> {
        let session = &mut self.link.session;
        if self.tracks.is_empty() {
            session.set_origin(at);
        }
        let announced = match session.announce(tracks, at) {
            Err(TrackError::Codec { .. } | TrackError::Multitrack { .. }) => {
                let first = first_of_each_kind(tracks);
                session.announce(&first, at).map(|()| first.iter().map(|track| track.id).collect())
            }
            other => other.map(|()| tracks.iter().map(|track| track.id).collect()),
        };
        self.tracks = announced?;
        Ok(())
    }

    fn send(&mut self, frame: &Frame) -> Result<bool, Failure> {
        if !self.tracks.contains(&frame.track) {
            return Ok(false);
        }
        match self.link.session.send(frame) {
            Ok(()) => Ok(true),
            // Only this frame is lost. Every other target has the same limit.
            Err(TrackError::TooLong { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn flush(&mut self) -> Result<u64, Failure> {
        let before = self.link.sent();
        while self.link.has_output() {
            self.step().await?;
        }
        Ok(self.link.sent() - before)
    }

    async fn idle(&mut self) -> Failure {
        loop {
            if let Err(failure) = self.step().await {
                return failure;
            }
        }
    }

    async fn close(self) {
        self.link.close().await;
    }
}

/// Returns the tracks that every target has room for.
fn first_of_each_kind(tracks: &[Track]) -> Vec<Track> {
    let first = |kind| tracks.iter().find(move |track| track.kind() == kind);
    first(Kind::Video).into_iter().chain(first(Kind::Audio)).cloned().collect()
}

/// Returns the severity and the text of a refusal, without `secrets`.
pub(super) fn refused(refusal: &Refusal, secrets: &[Secret]) -> (Severity, String) {
    let severity = if refusal.kind.is_permanent() { Severity::Fatal } else { Severity::Normal };
    let masked = |text: String, secret: &Secret| text.replace(secret.reveal(), "***");
    (severity, secrets.iter().fold(refusal.to_string(), masked))
}
