//! What ingest needs from the rest of the program, in its own words.

use std::net::SocketAddr;

use futures_util::future::BoxFuture;
use media::id::{ContributionId, LiveStreamId};
use tokio::sync::oneshot;
use wire::Item;

/// Decides who may publish.
pub trait Gate: Send + Sync + 'static {
    /// Looks the stream key up and, if it opens a live stream, gives the way for its frames.
    fn admit(&self, publish: Publish) -> BoxFuture<'_, Result<Admission, Refusal>>;
}

/// How an encoder is connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// RTMP over TCP.
    Rtmp,
    /// RTMP over TLS.
    Rtmps,
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
pub struct Key(pub String);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(hidden)")
    }
}

/// An open door: where the frames go, and how the program ends the contribution.
pub struct Admission {
    /// The live stream the key belongs to.
    pub stream: LiveStreamId,
    /// Takes the frames.
    pub sink: Box<dyn Sink>,
    /// Fires when the contribution must end.
    pub stop: oneshot::Receiver<Stop>,
}

/// Takes what a contribution sends. Dropping it means the contribution is over.
pub trait Sink: Send {
    /// Takes the items out of `items`; `bytes` is what came over the network for them. Must not block.
    fn push(&mut self, items: &mut Vec<Item>, bytes: usize);
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
}

/// Why the program ends a contribution.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Stop {
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
}
