//! RTMP and RTMPS targets.

mod link;
mod publication;

use std::sync::Arc;

use tokio::time::timeout;
use wire::rtmp::client::{self, Event, RANDOM_LEN, Secret, Session, Target};

use crate::config::Config;
use crate::failure::Failure;
use crate::rtmp::link::Link;
use crate::rtmp::publication::Publication;
use crate::socket::{Socket, dial, encrypt};
use crate::transport::Transport;

/// Most connections of one attempt: three for a challenge, and as many after a redirect. With more, the target is
/// refused, because it never accepts.
const MAX_CONNECTIONS: usize = 6;

/// An RTMP or RTMPS target.
#[derive(Debug)]
pub(crate) struct Rtmp {
    config: Arc<Config>,
    target: Target,
}

impl Rtmp {
    pub(crate) const fn new(config: Arc<Config>, target: Target) -> Self {
        Self { config, target }
    }

    /// Connects once; returns the event that decides, and the connection.
    async fn connect(&self, target: &Target) -> Result<(Event, Link), Failure> {
        let stream = dial(&target.address, &self.config).await?;
        let publish = async {
            let socket: Box<dyn Socket> = if target.address.tls {
                Box::new(encrypt(stream, &target.address, &self.config).await?)
            } else {
                Box::new(stream)
            };
            let session = Session::new(client::Config::default(), target.clone(), random());
            let mut link = Link::new(socket, session, self.config.timeouts.write);
            let event = link.until_event().await?;
            Ok((event, link))
        };
        timeout(self.config.timeouts.handshake, publish).await.map_err(|_| Failure::HandshakeTimeout)?
    }

    /// Returns the target of a redirect. User and password stay with the address that they were given for.
    fn redirected(&self, url: &Secret) -> Result<Target, Failure> {
        let target = Target::parse(url.reveal(), self.target.key.reveal()).map_err(Failure::Redirect)?;
        if self.target.address.tls && !target.address.tls {
            return Err(Failure::RedirectWithoutTls);
        }
        Ok(target)
    }
}

impl Transport for Rtmp {
    type Connection = Publication;

    async fn open(&mut self) -> Result<Publication, Failure> {
        let (mut target, mut has_redirected) = (self.target.clone(), false);
        for _ in 0..MAX_CONNECTIONS {
            let (event, link) = self.connect(&target).await?;
            match event {
                Event::Published => return Ok(Publication::new(link, secrets(&target))),
                Event::ConnectAgain(query) => target.auth_query = Some(query),
                Event::Redirected(_) if has_redirected => return Err(Failure::RedirectedAgain),
                Event::Redirected(url) => {
                    has_redirected = true;
                    target = self.redirected(&url)?;
                }
                Event::Refused(refusal) => {
                    let (severity, text) = publication::refused(&refusal, &secrets(&target));
                    return Err(Failure::Refused { severity, text });
                }
                Event::Closed(refusal) => {
                    let (severity, text) = publication::refused(&refusal, &secrets(&target));
                    return Err(Failure::Ended { severity, text });
                }
            }
        }
        Err(Failure::AuthenticationLoop)
    }
}

/// Returns the secrets in the address that the session does not mask in the target's words: the queries.
fn secrets(target: &Target) -> Vec<Secret> {
    let query = target.app.reveal().split_once('?').map(|(_, query)| Secret::from(query));
    query.into_iter().chain(target.auth_query.clone()).filter(|secret| !secret.reveal().is_empty()).collect()
}

/// Returns the random filler of the handshake. It need not be secret, so zeros do if the system provides no randomness.
fn random() -> [u8; RANDOM_LEN] {
    let mut bytes = [0; RANDOM_LEN];
    let _ = getrandom::fill(&mut bytes);
    bytes
}
