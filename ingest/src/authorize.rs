//! Interfaces to the rest of the program: who may publish, and where the frames go.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::BoxFuture;
use media::id::{ContributionId, LiveStreamId};
use srt::Passphrase;
use tokio::sync::oneshot;
use wire::Item;

/// Decides who may publish.
pub trait Authorizer: Send + Sync + 'static {
    /// Looks up the stream key and returns the [`FrameSink`] of its live stream.
    fn admit(&self, publish: Publish) -> BoxFuture<'_, Result<Admission, Refusal>>;

    /// Returns the [`Encryption`] that an SRT connection with this key must use.
    ///
    /// This is called during a handshake, on the thread that receives for every SRT connection. It must read from
    /// memory only.
    fn passphrase(&self, key: &Key) -> Result<Encryption, Refusal>;
}

/// Transport protocol of an encoder's connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// RTMP over TCP.
    Rtmp,
    /// RTMP over TLS.
    Rtmps,
    /// SRT.
    Srt,
}

/// A request to publish.
#[derive(Debug)]
pub struct Publish {
    /// Id of the connection, for the logs.
    pub contribution: ContributionId,
    /// The encoder's address.
    pub peer: SocketAddr,
    /// Protocol of the connection.
    pub protocol: Protocol,
    /// The stream key as presented.
    pub key: Key,
}

/// A stream key as an encoder presented it; never printed.
#[derive(Clone)]
pub struct Key(pub String);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(hidden)")
    }
}

/// Encryption of a live stream's SRT connections.
#[derive(Clone, Debug)]
pub struct Encryption {
    /// The live stream, for the logs and to distinguish attempts on one stream from attempts on another.
    pub stream: LiveStreamId,
    /// The secret that both sides share.
    pub passphrase: Passphrase,
}

/// Permission to publish, returned by [`Authorizer::admit`].
pub struct Admission {
    /// The live stream the key belongs to.
    pub stream: LiveStreamId,
    /// Receives the frames.
    pub sink: Box<dyn FrameSink>,
    /// Fires when the contribution must end.
    pub stop: oneshot::Receiver<DisconnectReason>,
}

/// Receives the media of a contribution. Dropping it ends the contribution.
pub trait FrameSink: Send {
    /// Takes all of `items`; `bytes` is their size on the network. Must not block.
    fn push(&mut self, items: &mut Vec<Item>, bytes: usize);

    /// Returns the number of bytes of this contribution that are still in memory.
    fn buffered_bytes(&self) -> u64;

    /// Receives the statistics of the contribution's connection, about once a second. Only SRT has any.
    fn link(&mut self, stats: &LinkStats) {
        let _ = stats;
    }
}

/// Statistics of a contribution's connection. Counts are since it was established; packets are those with media.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct LinkStats {
    /// Round-trip time, smoothed.
    pub round_trip: Duration,
    /// The latency that both sides agreed on.
    pub latency: Duration,
    /// Received media that waits for its time of delivery.
    pub buffered: Duration,
    /// Bits per second received over the last second or so, retransmissions included.
    pub receive_rate: u64,
    /// Bits per second sent over the last second or so.
    pub send_rate: u64,
    /// Capacity of the link in bits per second, as estimated from pairs of packets.
    pub capacity: u64,
    /// Packets received.
    pub packets: u64,
    /// Packets that were missing when they were due to arrive.
    pub lost: u64,
    /// Packets received as retransmissions.
    pub retransmitted: u64,
    /// Packets dropped because they had not arrived when their media was due.
    pub dropped: u64,
    /// Packets that could not be decrypted.
    pub undecrypted: u64,
    /// Gaps in the continuity counters of the transport stream.
    pub continuity_errors: u64,
    /// Access units dropped because they were damaged or truncated.
    pub dropped_units: u64,
}

/// Reason why a publisher is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// No live stream has this key.
    #[error("this stream key is not known: check it in the encoder's settings")]
    UnknownKey,
    /// The live stream was disabled by its owner.
    #[error("this live stream is disabled: enable it through the API, then try again")]
    Disabled,
    /// The program is shutting down or cannot reach its store.
    #[error("the server cannot take a stream now: try again soon")]
    Unavailable,
    /// The memory for media is full.
    #[error("the server has no memory for another stream: end one, or raise ingest.max_memory")]
    Memory,
}

/// Reason why the program ends a contribution.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DisconnectReason {
    /// Another publisher connected with the same key.
    #[error("another encoder took over with the same stream key")]
    TakenOver,
    /// The live stream was disabled.
    #[error("the live stream was disabled")]
    Disabled,
    /// The live stream was deleted.
    #[error("the live stream was deleted")]
    Deleted,
    /// The live stream got another stream key.
    #[error("the stream key was replaced")]
    KeyReset,
    /// The live stream was completed through the API.
    #[error("the live stream was completed")]
    Completed,
    /// The broadcast reached `max_continuous_duration`.
    #[error("the live stream reached its longest continuous duration")]
    TooLong,
    /// Key frames are too far apart for viewers to join.
    #[error("no key frame for more than 20 s: set the encoder's keyframe interval to 2 s")]
    LongGop,
    /// The stream cannot be packaged; the log has the reason.
    #[error("the stream cannot be packaged for viewers")]
    Unpackageable,
}
