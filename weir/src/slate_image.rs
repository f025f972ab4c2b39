//! Fetches the slate image of a live stream from the URL that its owner has set.
//!
//! The URL is not trusted, so it must not reach internal services (SSRF). Only public addresses are requested, also
//! after a redirect, unless the operator allows others. Private and link-local addresses have separate settings,
//! because clouds hand out the machine's credentials at link-local addresses to any program on it.

use std::time::Duration;

use bytes::Bytes;
use simulcast::address::Policy;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

use crate::config::Slate;

/// The largest file that is accepted.
const MAX_BYTES: u64 = 10 << 20;
/// Timeout of name resolution, connection, redirects and body together.
const TIMEOUT: Duration = Duration::from_secs(10);
const REDIRECTS: u32 = 5;

/// Fetches an image. Blocks the thread for at most [`TIMEOUT`]. The bytes are validated only when they are decoded.
pub(crate) fn fetch(url: &str, settings: &Slate) -> anyhow::Result<Bytes> {
    let config = Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .max_redirects(REDIRECTS)
        // A proxy would resolve names itself, without our filter.
        .proxy(None)
        .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
        .accept("image/png, image/jpeg")
        .build();
    let policy =
        Policy { section: "slate", allow_private: settings.allow_private, allow_link_local: settings.allow_link_local };
    let resolver = FilteredResolver { names: DefaultResolver::default(), policy };
    let agent = Agent::with_parts(config, DefaultConnector::default(), resolver);
    let mut response = agent.get(url).call()?;
    Ok(response.body_mut().with_config().limit(MAX_BYTES).read_to_vec()?.into())
}

/// Resolves names, and returns only the addresses that may be requested.
#[derive(Debug)]
struct FilteredResolver {
    names: DefaultResolver,
    policy: Policy,
}

impl Resolver for FilteredResolver {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.names.resolve(uri, config, timeout)?;
        let mut allowed = self.empty();
        let mut refused = None;
        for address in found.iter().copied() {
            match self.policy.check(address.ip()) {
                Ok(()) => allowed.push(address),
                Err(why) => refused = Some(why),
            }
        }
        match refused.filter(|_| allowed.is_empty()) {
            Some(why) => Err(Error::Io(std::io::Error::other(why))),
            None => Ok(allowed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::thread;

    use super::*;

    /// Starts a server that sends one of `answers` to each client, and returns its address.
    fn server(answers: Vec<Vec<u8>>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let _request = stream.read(&mut [0; 4_096]);
                // Fails if the client closes the connection first, as it does at the size limit.
                let _sent = stream.write_all(&answer);
            }
        });
        address
    }

    fn ok(body: &[u8]) -> Vec<u8> {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    }

    const CLOSED: Slate = Slate { allow_private: false, allow_link_local: false };
    const PRIVATE: Slate = Slate { allow_private: true, allow_link_local: false };
    const LINK_LOCAL: Slate = Slate { allow_private: false, allow_link_local: true };

    #[test]
    fn an_image_is_fetched_after_a_redirect() {
        let there = server(vec![ok(b"an image")]);
        let moved = format!(
            "HTTP/1.1 302 Found\r\nLocation: http://{there}/b.png\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let here = server(vec![moved.into_bytes()]);
        assert_eq!(fetch(&format!("http://{here}/a.png"), &PRIVATE).unwrap(), &b"an image"[..]);
    }

    #[test]
    fn private_addresses_and_large_files_are_refused() {
        let here = server(vec![ok(b"secret")]);
        let refused = format!("{:#}", fetch(&format!("http://{here}/"), &CLOSED).unwrap_err());
        assert!(refused.contains("slate.allow_private"), "{refused}");
        let refused = fetch(&format!("http://localhost:{}/", here.port()), &LINK_LOCAL).unwrap_err();
        assert!(format!("{refused:#}").contains("private"), "{refused:#}");
        let large = server(vec![ok(&vec![0; MAX_BYTES as usize + 1])]);
        assert!(fetch(&format!("http://{large}/"), &PRIVATE).is_err());
        let missing =
            server(vec![b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()]);
        assert!(format!("{:#}", fetch(&format!("http://{missing}/"), &PRIVATE).unwrap_err()).contains("404"));
    }

    #[test]
    fn a_redirect_to_a_metadata_service_is_not_followed() {
        let moved = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let here = server(vec![moved.to_vec()]);
        let refused = format!("{:#}", fetch(&format!("http://{here}/"), &PRIVATE).unwrap_err());
        assert!(refused.contains("slate.allow_link_local"), "{refused}");
    }
}
