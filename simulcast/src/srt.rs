//! SRT targets: this server calls, and sends MPEG-TS.
//!
//! libsrt sends on threads of its own, and accepts a datagram at once as long as the target acknowledges what it
//! receives. No thread is needed beyond those: a task waits by polling, as on the receiving side.

mod publication;

use std::sync::Arc;
use std::time::Duration;

use srt::{CallerOptions, Connection, Error, Passphrase, Rejection};
use tokio::time::timeout;
use wire::srt::Target;

use crate::config::Config;
use crate::failure::Failure;
use crate::resolve::resolve;
use crate::srt::publication::Publication;
use crate::transport::Transport;

/// Time beyond [`Timeouts::connect`](crate::Timeouts::connect) in which libsrt must have given up by itself.
const GIVE_UP: Duration = Duration::from_secs(1);

/// An SRT target.
#[derive(Debug)]
pub(crate) struct Srt {
    config: Arc<Config>,
    target: Target,
}

impl Srt {
    pub(crate) const fn new(config: Arc<Config>, target: Target) -> Self {
        Self { config, target }
    }

    fn options(&self) -> CallerOptions {
        CallerOptions {
            stream_id: self.target.stream_id.reveal().to_owned(),
            passphrase: self.target.passphrase.as_ref().map(|secret| Passphrase::new(secret.reveal())),
            key_bits: self.target.key_bits,
            latency: self.target.latency,
            timeout: self.config.timeouts.connect,
        }
    }
}

impl Transport for Srt {
    type Connection = Publication;

    /// Calls the allowed addresses of the name, one after another, up to one that answers.
    async fn open(&mut self) -> Result<Publication, Failure> {
        let timeouts = self.config.timeouts;
        let addresses = resolve(&self.target.host, self.target.port, &self.config).await?;
        let (options, mut failure) = (self.options(), Failure::NoAddress);
        for address in addresses {
            let called = timeout(timeouts.connect + GIVE_UP, Connection::connect(address, &options)).await;
            failure = match called {
                Ok(Ok(connection)) => return Ok(Publication::new(connection, timeouts.write)),
                Ok(Err(Error::Refused(Rejection::TIMEOUT))) | Err(_) => Failure::ConnectTimeout,
                Ok(Err(Error::Refused(rejection))) => return Err(Failure::Rejected(rejection)),
                Ok(Err(Error::Io(error))) => Failure::Connect(error),
                Ok(Err(Error::Call(error))) => Failure::Srt(error),
            };
        }
        Err(failure)
    }
}
