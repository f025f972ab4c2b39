//! Addresses that a URL from a user may lead to: that of a target, and that of a slate image.
//!
//! Such a URL is not trusted, so it must not reach internal services. Each address is checked after name resolution, and
//! the checked address is the one that is dialled. Private and link-local addresses have separate
//! settings, because clouds hand out the machine's credentials at link-local addresses to any program on it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses that may be dialled in addition to public ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Section of the two settings in the configuration, which [`NotAllowed`] names.
    pub section: &'static str,
    /// Whether [`Scope::Private`] is allowed.
    pub allow_private: bool,
    /// Whether [`Scope::LinkLocal`] is allowed.
    pub allow_link_local: bool,
}

impl Default for Policy {
    /// Allows the public addresses only, for targets.
    fn default() -> Self {
        Self { section: "simulcast", allow_private: false, allow_link_local: false }
    }
}

impl Policy {
    /// Returns an error that names the setting if the address must not be dialled.
    pub fn check(&self, address: IpAddr) -> Result<(), NotAllowed> {
        match Scope::of(address) {
            Scope::Public => Ok(()),
            Scope::Private if self.allow_private => Ok(()),
            Scope::Private => Err(NotAllowed::Private(self.section)),
            Scope::LinkLocal if self.allow_link_local => Ok(()),
            Scope::LinkLocal => Err(NotAllowed::LinkLocal(self.section)),
            Scope::Reserved => Err(NotAllowed::Reserved),
        }
    }
}

/// Reason why a [`Policy`] forbids an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// [`Scope::Private`], with [`Policy::section`].
    #[error("its address is private ({0}.allow_private allows it)")]
    Private(&'static str),
    /// [`Scope::LinkLocal`], with [`Policy::section`].
    #[error("its address is link-local or that of a cloud's metadata service ({0}.allow_link_local allows it)")]
    LinkLocal(&'static str),
    /// [`Scope::Reserved`].
    #[error("its address is reserved")]
    Reserved,
}

/// Part of the network to which an address belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The public internet.
    Public,
    /// A private network, or this machine.
    Private,
    /// The local link, or a cloud's metadata service at any address.
    LinkLocal,
    /// No server: multicast, documentation, reserved.
    Reserved,
}

impl Scope {
    /// Returns the scope of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }
}

/// Metadata services of clouds at addresses that are not link-local: Alibaba, Oracle and Azure.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];
/// Metadata services of clouds over IPv6: Amazon and Google.
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// Classifies an IPv4 address by the special purposes of RFC 6890 and its registry.
fn of_v4(address: Ipv4Addr) -> Scope {
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
fn of_v6(address: Ipv6Addr) -> Scope {
    if let Some(inner) = address.to_ipv4_mapped() {
        return of_v4(inner);
    }
    if METADATA_V6.contains(&address) {
        return Scope::LinkLocal;
    }
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        // Translated (RFC 6052) and 6to4 (RFC 3056).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => of_v4(v4(high, low)),
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
    use super::*;

    #[test]
    fn each_scope_is_allowed_by_its_own_setting() {
        let all = [
            (Scope::Public, "8.8.8.8 100.128.0.1 172.32.0.1 198.20.0.1 2a00:1450::1 64:ff9b::8.8.8.8 ::ffff:8.8.8.8"),
            (
                Scope::Private,
                "127.0.0.1 10.1.1.1 172.16.0.1 192.168.1.1 100.64.0.1 198.18.0.1 198.19.255.255 ::1 fc00::1 fd12::1 \
                 fec0::1 ::ffff:10.0.0.1 64:ff9b::10.0.0.1 2002:7f00:1::1",
            ),
            (
                Scope::LinkLocal,
                "169.254.169.254 169.254.1.1 fe80::1 ::ffff:169.254.169.254 64:ff9b::169.254.169.254 100.100.100.200 \
                 168.63.129.16 192.0.0.192 fd00:ec2::254 fd20:ce::254",
            ),
            (
                Scope::Reserved,
                "0.0.0.0 192.0.0.8 203.0.113.1 224.0.0.1 240.0.0.1 255.255.255.255 :: ff02::1 2001:db8::1 2001::1 \
                 ::127.0.0.1",
            ),
        ];
        for (allow_private, allow_link_local) in [(false, false), (true, false), (false, true), (true, true)] {
            let policy = Policy { section: "slate", allow_private, allow_link_local };
            for (scope, addresses) in all {
                for address in addresses.split_whitespace() {
                    let address = address.parse().unwrap();
                    assert_eq!(Scope::of(address), scope, "{address}");
                    let expected = match scope {
                        Scope::Private if !allow_private => Err(NotAllowed::Private("slate")),
                        Scope::LinkLocal if !allow_link_local => Err(NotAllowed::LinkLocal("slate")),
                        Scope::Reserved => Err(NotAllowed::Reserved),
                        _ => Ok(()),
                    };
                    assert_eq!(policy.check(address), expected, "{address} {policy:?}");
                }
            }
        }
    }

    #[test]
    fn a_refusal_names_the_setting() {
        assert!(NotAllowed::Private("simulcast").to_string().contains("simulcast.allow_private"));
        assert!(NotAllowed::LinkLocal("simulcast").to_string().contains("simulcast.allow_link_local"));
    }
}
