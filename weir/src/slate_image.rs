//! Fetches the slate picture that a live stream asks for, from wherever its owner says.
//!
//! The address comes from outside, so it must not lead inside: only public addresses are called, also after a redirect,
//! unless the operator allows others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

/// The largest file that is taken.
const MOST_BYTES: u64 = 10 << 20;
/// Name, connection, redirects and body together.
const TIMEOUT: Duration = Duration::from_secs(10);
const REDIRECTS: u32 = 5;

/// Fetches a picture; blocks the thread for at most ten seconds. Whether it is one shows when it is decoded.
pub(crate) fn fetch(url: &str, allow_private: bool) -> anyhow::Result<Bytes> {
    let config = Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .max_redirects(REDIRECTS)
        // A proxy would resolve names on its own.
        .proxy(None)
        .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
        .accept("image/png, image/jpeg")
        .build();
    let resolver = Outward { names: DefaultResolver::default(), allow_private };
    let agent = Agent::with_parts(config, DefaultConnector::default(), resolver);
    let mut answer = agent.get(url).call()?;
    Ok(answer.body_mut().with_config().limit(MOST_BYTES).read_to_vec()?.into())
}

/// Resolves names to the addresses that may be called.
#[derive(Debug)]
struct Outward {
    names: DefaultResolver,
    allow_private: bool,
}

impl Resolver for Outward {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.names.resolve(uri, config, timeout)?;
        if self.allow_private {
            return Ok(found);
        }
        let mut allowed = self.empty();
        let public: Vec<SocketAddr> = found.iter().copied().filter(|address| is_public(address.ip())).collect();
        public.into_iter().for_each(|address| allowed.push(address));
        if allowed.is_empty() {
            let why = "its address is a private one (slate.allow_private lets it through)";
            return Err(Error::Io(std::io::Error::other(why)));
        }
        Ok(allowed)
    }
}

/// Whether an address is one of the internet at large: none of a host's own, a local network's, or a special purpose's.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// The special purposes of IPv4 (RFC 6890 and its registry).
fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        [0, ..] | [240..=255, ..] => true,
        [100, second, ..] => second & 0xc0 == 64,
        [192, 0, 0, _] | [192, 88, 99, _] => true,
        [198, second, ..] => second & 0xfe == 18,
        _ => false,
    };
    !(special
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation())
}

/// Of IPv6 only global unicast is public; what carries an IPv4 address inside is taken for that one.
fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(inner) = address.to_ipv4_mapped() {
        return is_public_v4(inner);
    }
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        // Translated (RFC 6052) and 6to4 (RFC 3056).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => is_public_v4(v4(high, low)),
        // Protocol assignments, Teredo among them, and documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A server that gives one answer to each of its callers, and where it is.
    fn server(answers: Vec<Vec<u8>>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let _request = stream.read(&mut [0; 4_096]);
                // The client hangs up when it has had enough.
                let _sent = stream.write_all(&answer);
            }
        });
        address
    }

    fn ok(body: &[u8]) -> Vec<u8> {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    }

    #[test]
    fn a_picture_is_fetched_behind_a_redirect() {
        let there = server(vec![ok(b"a picture")]);
        let moved = format!(
            "HTTP/1.1 302 Found\r\nLocation: http://{there}/b.png\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let here = server(vec![moved.into_bytes()]);
        assert_eq!(fetch(&format!("http://{here}/a.png"), true).unwrap(), &b"a picture"[..]);
    }

    #[test]
    fn private_addresses_and_giants_are_refused() {
        let here = server(vec![ok(b"secret")]);
        let refused = format!("{:#}", fetch(&format!("http://{here}/"), false).unwrap_err());
        assert!(refused.contains("slate.allow_private"), "{refused}");
        let refused = fetch(&format!("http://localhost:{}/", here.port()), false).unwrap_err();
        assert!(format!("{refused:#}").contains("private"), "{refused:#}");
        let giant = server(vec![ok(&vec![0; MOST_BYTES as usize + 1])]);
        assert!(fetch(&format!("http://{giant}/"), true).is_err());
        let missing =
            server(vec![b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()]);
        assert!(format!("{:#}", fetch(&format!("http://{missing}/"), true).unwrap_err()).contains("404"));
    }

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for public in
            ["8.8.8.8", "100.128.0.1", "172.32.0.1", "198.20.0.1", "2a00:1450::1", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        let others = "0.0.0.0 127.0.0.1 10.1.1.1 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 192.0.0.8 198.18.0.1 \
                      198.19.255.255 203.0.113.1 224.0.0.1 255.255.255.255 ::1 :: fe80::1 fc00::1 fd12::1 ff02::1 2001:db8::1 \
                      2001::1 ::ffff:10.0.0.1 64:ff9b::10.0.0.1 2002:7f00:1::1 ::127.0.0.1 fec0::1";
        for other in others.split_whitespace() {
            assert!(!is_public(other.parse().unwrap()), "{other}");
        }
    }
}
