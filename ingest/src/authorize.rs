//! What ingest needs from the rest of the program, in its own words.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::BoxFuture;
use media::id::{ContributionId, LiveStreamId};
use tokio::sync::oneshot;
use wire::Item;

/// Decides who may publish.
pub trait Authorizer: Send + Sync + 'static {
    /// Looks the stream key up and, if it opens a live stream, gives the way for its frames.
    fn admit(&self, publish: Publish) -> BoxFuture<'_, Result<Admission, Refusal>>;

    /// What an SRT connection with this key must be encrypted with. It is asked for in the middle of a handshake, on the
    /// thread that receives for every SRT connection: it looks in memory only.
    fn passphrase(&self, key: &Key) -> Result<Encryption, Refusal>;
}

/// How an encoder is connected.
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
    /// The connection, for the logs.
    pub contribution: ContributionId,
    /// The encoder's address.
    pub peer: SocketAddr,
    /// How it is connected.
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

/// How the connection of a live stream is encrypted.
#[derive(Clone, Debug)]
pub struct Encryption {
    /// The live stream, for the logs and to tell attempts on one from attempts on another.
    pub stream: LiveStreamId,
    /// The secret.
    pub passphrase: Passphrase,
}

/// The secret that SRT derives its keys from; never printed.
#[derive(Clone)]
pub struct Passphrase(String);

impl Passphrase {
    /// Wraps the secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret, for the handshake.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(hidden)")
    }
}

/// An open door: where the frames go, and how the program ends the contribution.
pub struct Admission {
    /// The live stream the key belongs to.
    pub stream: LiveStreamId,
    /// Takes the frames.
    pub sink: Box<dyn FrameSink>,
    /// Fires when the contribution must end.
    pub stop: oneshot::Receiver<DisconnectReason>,
}

/// Takes what a contribution sends. Dropping it means the contribution is over.
pub trait FrameSink: Send {
    /// Takes the items out of `items`; `bytes` is what came over the network for them. Must not block.
    fn push(&mut self, items: &mut Vec<Item>, bytes: usize);

    /// Bytes that are kept of what it took.
    fn buffered_bytes(&self) -> u64;

    /// Takes note of how the contribution's link does: about once a second, from protocols that can tell.
    fn link(&mut self, figures: &LinkStats) {
        let _ = figures;
    }
}

/// How the link of a contribution does. Counts are since it was connected, packets are those with media.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct LinkStats {
    /// Round-trip time, smoothed.
    pub round_trip: Duration,
    /// The latency that both sides agreed on.
    pub latency: Duration,
    /// Media that was received and waits for its time to be delivered.
    pub buffered: Duration,
    /// Bits a second received over the last second or so, with what was sent again.
    pub receive_rate: u64,
    /// Bits a second sent over the last second or so.
    pub send_rate: u64,
    /// The line's capacity in bits a second, as estimated from pairs of packets.
    pub capacity: u64,
    /// Packets received.
    pub packets: u64,
    /// Packets that were found missing when they were due to arrive.
    pub lost: u64,
    /// Packets that came because they were sent again.
    pub retransmitted: u64,
    /// Packets given up, because they had not come when their media was due.
    pub dropped: u64,
    /// Packets that could not be decrypted.
    pub undecrypted: u64,
    /// Places in the transport stream where packets are missing.
    pub continuity_errors: u64,
    /// Access units that were left out because they were damaged or cut short.
    pub dropped_units: u64,
}

/// Why a publisher is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// No live stream has this key.
    #[error("this stream key is not known: check it in the encoder's settings")]
    UnknownKey,
    /// The live stream was disabled by its owner.
    #[error("this live stream is disabled: enable it through the API, then try again")]
    Disabled,
    /// The program is going down or cannot reach its store.
    #[error("the server cannot take a stream now: try again soon")]
    Unavailable,
    /// The memory for media is full.
    #[error("the server has no memory for another stream: end one, or raise ingest.max_memory")]
    Memory,
}

/// Why the program ends a contribution.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DisconnectReason {
    /// Another publisher came with the same key.
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
    /// The broadcast lasted `max_continuous_duration`.
    #[error("the live stream reached its longest continuous duration")]
    TooLong,
    /// Key frames come too rarely for viewers to tune in.
    #[error("no key frame for more than 20 s: set the encoder's keyframe interval to 2 s")]
    LongGop,
    /// What it sends cannot be packaged; the log says why.
    #[error("the stream cannot be packaged for viewers")]
    Unpackageable,
}
