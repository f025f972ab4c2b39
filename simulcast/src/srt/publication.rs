//! A connection to an SRT target.

use std::time::Duration;

use media::{Frame, Kind, Metadata, Timestamp, Track, TrackId};
use srt::{Connection, Error};
use tokio::time::{Instant, timeout};
use tracing::debug;
use wire::ts::mux::{MuxError, Muxer};

use crate::failure::Failure;
use crate::transport;

/// Interval at which the round-trip time is read.
const ROUND_TRIP_INTERVAL: Duration = Duration::from_secs(1);

/// A connection to an SRT target, with the transport stream that is sent on it.
pub(crate) struct Publication {
    connection: Connection,
    muxer: Muxer,
    /// Longest time in which the target accepts no byte.
    write_timeout: Duration,
    /// Tracks in the transport stream.
    tracks: Vec<TrackId>,
    /// Time and result of the last reading; `None` before the first one.
    round_trip: Option<(Instant, Duration)>,
}

impl Publication {
    pub(super) fn new(connection: Connection, write_timeout: Duration) -> Self {
        Self { connection, muxer: Muxer::default(), write_timeout, tracks: Vec::new(), round_trip: None }
    }
}

impl transport::Connection for Publication {
    /// Leaves out tracks that MPEG-TS cannot carry, other than the first one of each kind.
    fn announce(&mut self, tracks: &[Track], _at: Timestamp) -> Result<(), Failure> {
        let is_first = |track: &Track| {
            let kind: Kind = track.kind();
            tracks.iter().find(|other| other.kind() == kind).is_some_and(|first| first.id == track.id)
        };
        let mut taken = Vec::with_capacity(tracks.len());
        for track in tracks {
            match self.muxer.add_track(track) {
                Ok(()) => taken.push(track.id),
                Err(error) if is_first(track) => return Err(error.into()),
                Err(_) => self.muxer.remove_track(track.id),
            }
        }
        self.tracks = taken;
        Ok(())
    }

    fn send(&mut self, frame: &Frame) -> Result<bool, Failure> {
        if !self.tracks.contains(&frame.track) {
            return Ok(false);
        }
        match self.muxer.frame(frame) {
            Ok(()) => Ok(true),
            // Only this frame is lost, and the transport stream remains valid.
            Err(MuxError::Empty | MuxError::TooLong { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn metadata(&mut self, metadata: &Metadata) {
        if let Err(error) = self.muxer.metadata(metadata) {
            debug!(%error, "metadata is left out of the transport stream");
        }
    }

    /// Sends the datagrams. While the target acknowledges nothing, they wait here, and further frames in the queue.
    async fn flush(&mut self) -> Result<u64, Failure> {
        let (connection, muxer, limit) = (&mut self.connection, &mut self.muxer, self.write_timeout);
        timeout(limit, connection.wait_for_acknowledgements()).await.map_err(|_| Failure::Stalled)??;
        let mut bytes = 0;
        while let Some(datagram) = muxer.datagram().or_else(|| muxer.flush()) {
            timeout(limit, connection.send(&datagram)).await.map_err(|_| Failure::Stalled)??;
            bytes += datagram.len() as u64;
        }
        Ok(bytes)
    }

    async fn idle(&mut self) -> Failure {
        self.connection.wait_for_end().await;
        Failure::Disconnected
    }

    fn round_trip(&mut self) -> Option<Duration> {
        let is_due = |(at, _): &(Instant, Duration)| at.elapsed() >= ROUND_TRIP_INTERVAL;
        if self.round_trip.as_ref().is_none_or(is_due) {
            self.round_trip = self.connection.round_trip().ok().map(|time| (Instant::now(), time));
        }
        self.round_trip.map(|(_, time)| time)
    }

    /// Waits for the delivery of what was sent, because the target discards the rest when the connection is closed.
    async fn close(self) {
        // An error means that the connection is over.
        let _ = self.connection.wait_for_delivery().await;
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Call(error) if error.is_lost() => Self::Disconnected,
            Error::Call(error) => Self::Srt(error),
            Error::Io(error) => Self::Lost(error),
            Error::Refused(rejection) => Self::Rejected(rejection),
        }
    }
}
