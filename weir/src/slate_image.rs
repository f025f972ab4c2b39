//! Fetches the slate image of a live stream from the URL that its owner has set.
//!
//! The URL is not trusted, so it must not reach internal services (SSRF). Only public addresses are requested, also
//! after a redirect, unless the operator allows others. Private and link-local addresses have separate settings,
//! because clouds hand out the machine's credentials at link-local addresses to any program on it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bytes::Bytes;
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
    let resolver = FilteredResolver { names: DefaultResolver::default(), settings: settings.clone() };
    let agent = Agent::with_parts(config, DefaultConnector::default(), resolver);
    let mut response = agent.get(url).call()?;
    Ok(response.body_mut().with_config().limit(MAX_BYTES).read_to_vec()?.into())
}

/// Resolves names, and returns only the addresses that may be requested.
#[derive(Debug)]
struct FilteredResolver {
    names: DefaultResolver,
    settings: Slate,
}

impl Resolver for FilteredResolver {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.names.resolve(uri, config, timeout)?;
        let mut allowed = self.empty();
        let mut refused = None;
        for address in found.iter().copied() {
            match refusal(scope(address.ip()), &self.settings) {
                None => allowed.push(address),
                Some(why) => refused = Some(why),
            }
        }
        match refused.filter(|_| allowed.is_empty()) {
            Some(why) => Err(Error::Io(std::io::Error::other(why))),
            None => Ok(allowed),
        }
    }
}

/// The part of the network in which an address lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scope {
    /// The public internet.
    Public,
    /// A private network, or this machine.
    Private,
    /// The local link, or a cloud's metadata service, whatever its address is.
    LinkLocal,
    /// No server: multicast, documentation, reserved.
    Reserved,
}

/// Returns the reason why addresses of this scope are not requested; `None` if they are.
const fn refusal(scope: Scope, settings: &Slate) -> Option<&'static str> {
    match scope {
        Scope::Public => None,
        Scope::Private if settings.allow_private => None,
        Scope::Private => Some("its address is private (slate.allow_private allows it)"),
        Scope::LinkLocal if settings.allow_link_local => None,
        Scope::LinkLocal => {
            Some("its address is link-local or that of a cloud's metadata service (slate.allow_link_local allows it)")
        }
        Scope::Reserved => Some("its address is reserved"),
    }
}

/// Metadata services of clouds at addresses that are not link-local: Alibaba, Oracle and Azure (IPv4); Amazon and
/// Google (IPv6).
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// Returns the [`Scope`] of an address.
fn scope(address: IpAddr) -> Scope {
    match address {
        IpAddr::V4(address) => scope_v4(address),
        IpAddr::V6(address) => scope_v6(address),
    }
}

/// Classifies an IPv4 address by the special purposes of RFC 6890 and its registry.
fn scope_v4(address: Ipv4Addr) -> Scope {
    if METADATA_V4.contains(&address) || address.is_link_local() {
        return Scope::LinkLocal;
    }
    if address.is_loopback() || address.is_private() {
        return Scope::Private;
    }
    match address.octets() {
        // Carrier-grade NAT, which private networks use too, and the range for benchmarks of networks.
        [100, second, ..] if second & 0xc0 == 64 => Scope::Private,
        [198, second, ..] if second & 0xfe == 18 => Scope::Private,
        [0, ..] | [240..=255, ..] | [192, 0, 0, _] | [192, 88, 99, _] => Scope::Reserved,
        _ if address.is_multicast() || address.is_documentation() => Scope::Reserved,
        _ => Scope::Public,
    }
}

/// Classifies an IPv6 address. Only global unicast is public. An address that embeds an IPv4 address has the scope of
/// that one.
fn scope_v6(address: Ipv6Addr) -> Scope {
    if let Some(inner) = address.to_ipv4_mapped() {
        return scope_v4(inner);
    }
    if METADATA_V6.contains(&address) {
        return Scope::LinkLocal;
    }
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        // Translated (RFC 6052) and 6to4 (RFC 3056).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => scope_v4(v4(high, low)),
        [0, 0, 0, 0, 0, 0, 0, 1] => Scope::Private,
        // Protocol assignments, Teredo among them, and documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] => Scope::Reserved,
        [first, ..] => match first {
            0xfe80..=0xfebf => Scope::LinkLocal,
            // Unique local, and its deprecated predecessor, site-local.
            0xfc00..=0xfdff | 0xfec0..=0xfeff => Scope::Private,
            0x2000..=0x3fff => Scope::Public,
            _ => Scope::Reserved,
        },
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

    #[test]
    fn each_scope_is_allowed_by_its_own_setting() {
        let all = [
            (Scope::Public, "8.8.8.8 100.128.0.1 172.32.0.1 198.20.0.1 2a00:1450::1 64:ff9b::8.8.8.8 ::ffff:8.8.8.8"),
            (
                Scope::Private,
                "127.0.0.1 10.1.1.1 172.16.0.1 192.168.1.1 100.64.0.1 198.18.0.1 198.19.255.255 ::1 fc00::1 fd12::1 fec0::1 \
                 ::ffff:10.0.0.1 64:ff9b::10.0.0.1 2002:7f00:1::1",
            ),
            (
                Scope::LinkLocal,
                "169.254.169.254 169.254.1.1 fe80::1 ::ffff:169.254.169.254 64:ff9b::169.254.169.254 100.100.100.200 \
                 168.63.129.16 192.0.0.192 fd00:ec2::254 fd20:ce::254",
            ),
            (
                Scope::Reserved,
                "0.0.0.0 192.0.0.8 203.0.113.1 224.0.0.1 240.0.0.1 255.255.255.255 :: ff02::1 2001:db8::1 2001::1 ::127.0.0.1",
            ),
        ];
        for (expected, addresses) in all {
            for address in addresses.split_whitespace() {
                assert_eq!(scope(address.parse().unwrap()), expected, "{address}");
            }
        }
        for (settings, open) in [(CLOSED, &[][..]), (PRIVATE, &[Scope::Private]), (LINK_LOCAL, &[Scope::LinkLocal])] {
            for (scope, _) in all {
                let called = scope == Scope::Public || open.contains(&scope);
                assert_eq!(refusal(scope, &settings).is_none(), called, "{settings:?} {scope:?}");
            }
        }
    }
}
