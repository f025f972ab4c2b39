//! Name resolution with the check of addresses.

use std::net::SocketAddr;

use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::config::Config;
use crate::failure::Failure;

/// Most addresses of a name that one attempt dials. Further ones are ignored.
const MAX_ADDRESSES: usize = 4;

/// Resolves a name once, and returns its allowed addresses. Fails with the reason of a refusal if none is allowed.
pub(crate) async fn resolve(host: &str, port: u16, config: &Config) -> Result<Vec<SocketAddr>, Failure> {
    // A lookup that takes longer goes on in the runtime's pool for blocking calls until the system gives up.
    let lookup = timeout(config.timeouts.connect, lookup_host((host, port))).await;
    let found = lookup.map_err(|_| Failure::ConnectTimeout)?.map_err(Failure::Resolve)?;
    let (mut allowed, mut refused) = (Vec::new(), None);
    for address in found {
        match config.addresses.check(address.ip()) {
            Ok(()) if allowed.len() < MAX_ADDRESSES => allowed.push(address),
            Ok(()) => {}
            Err(reason) => refused = Some(reason),
        }
    }
    match refused.filter(|_| allowed.is_empty()) {
        Some(reason) => Err(reason.into()),
        None => Ok(allowed),
    }
}
