//! SRT: the address of a target, with the options of the connection. libsrt speaks the protocol itself.

use std::time::Duration;

pub use crate::secret::Secret;

use crate::url;

/// Longest address, in bytes. A longer one is refused.
const MAX_TEXT: usize = 4_096;
/// Longest stream id, in bytes (draft-sharabayko-srt-01 §3.2.1.3).
const MAX_STREAM_ID: usize = 512;
/// Lengths of a passphrase, in bytes, that libsrt accepts.
const PASSPHRASE_LEN: std::ops::RangeInclusive<usize> = 10..=79;
/// Latency unless the address has one: that of libsrt.
const LATENCY: Duration = Duration::from_millis(120);
/// Bits of the encryption key unless the address has `pbkeylen`: those of libsrt.
const KEY_BITS: u16 = 128;

/// Listener to call, and the options of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name or IP address, without the brackets of IPv6.
    pub host: String,
    /// UDP port.
    pub port: u16,
    /// Stream id to send, at most 512 bytes; empty if the address has none.
    pub stream_id: Secret,
    /// Passphrase to encrypt with, 10 to 79 bytes; `None` if the connection is not encrypted.
    pub passphrase: Option<Secret>,
    /// Length of the encryption key in bits: 128, 192 or 256.
    pub key_bits: u16,
    /// Lowest latency to ask for: whole milliseconds, at most 65 535.
    pub latency: Duration,
}

/// Address that cannot be used. No variant contains text of the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The address does not begin with `srt://`.
    #[error("the address must begin with srt://")]
    Scheme,
    /// The address has no host.
    #[error("the address has no host")]
    Host,
    /// There is no port, or it is not a number from 1 to 65535.
    #[error("the address must have a port from 1 to 65535, as in srt://host:1234")]
    Port,
    /// Another `mode` than `caller`.
    #[error("mode must be caller, because the server connects to the target")]
    Mode,
    /// The `streamid` is too long.
    #[error("streamid must have at most {MAX_STREAM_ID} bytes")]
    StreamId,
    /// The `passphrase` is too short or too long.
    #[error("passphrase must have 10 to 79 characters, or be left out")]
    Passphrase,
    /// Another `pbkeylen` than SRT has.
    #[error("pbkeylen must be 0, 16, 24 or 32")]
    KeyLength,
    /// The `latency` is no number, or more than the handshake has room for.
    #[error("latency must be a whole number of milliseconds, at most 65535")]
    Latency,
    /// The address is too long.
    #[error("the address has more than {MAX_TEXT} bytes")]
    Length,
}

impl Target {
    /// Parses `srt://host:port?streamid=…&passphrase=…&pbkeylen=16|24|32&latency=MILLISECONDS&mode=caller`, where each
    /// option may be left out and may be percent-encoded.
    ///
    /// The first of several options with one name counts. Other options, a user, and a path are ignored, as ffmpeg does.
    /// Unlike there, the latency is in milliseconds.
    pub fn parse(address: &str) -> Result<Self, TargetError> {
        if address.len() > MAX_TEXT {
            return Err(TargetError::Length);
        }
        let (scheme, rest) = address.trim().split_once("://").ok_or(TargetError::Scheme)?;
        if !scheme.eq_ignore_ascii_case("srt") {
            return Err(TargetError::Scheme);
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let authority = authority.rsplit_once('@').map_or(authority, |(_user, authority)| authority);
        let (host, port) = url::host_and_port(authority).ok_or(TargetError::Host)?;
        let query = path.split_once('?').map_or("", |(_, query)| query);
        let stream_id = option(query, "streamid").unwrap_or_default();
        if stream_id.len() > MAX_STREAM_ID {
            return Err(TargetError::StreamId);
        }
        if option(query, "mode").is_some_and(|mode| mode != "caller") {
            return Err(TargetError::Mode);
        }
        let passphrase = option(query, "passphrase");
        if passphrase.as_ref().is_some_and(|passphrase| !PASSPHRASE_LEN.contains(&passphrase.len())) {
            return Err(TargetError::Passphrase);
        }
        Ok(Self {
            host: host.to_owned(),
            port: port.and_then(url::port).ok_or(TargetError::Port)?,
            stream_id: stream_id.as_str().into(),
            passphrase: passphrase.as_deref().map(Secret::from),
            key_bits: key_bits(query)?,
            latency: latency(query)?,
        })
    }
}

/// Returns the value of an option.
fn option(query: &str, name: &str) -> Option<String> {
    let mut options = query.split('&').filter_map(|option| option.split_once('='));
    options.find(|(found, _)| *found == name).map(|(_, value)| url::decoded(value))
}

fn key_bits(query: &str) -> Result<u16, TargetError> {
    match option(query, "pbkeylen").as_deref() {
        None | Some("0") => Ok(KEY_BITS),
        Some("16") => Ok(128),
        Some("24") => Ok(192),
        Some("32") => Ok(256),
        Some(_) => Err(TargetError::KeyLength),
    }
}

fn latency(query: &str) -> Result<Duration, TargetError> {
    let Some(text) = option(query, "latency") else { return Ok(LATENCY) };
    // The handshake has 16 bits for it (draft-sharabayko-srt-01 §3.2.1.1).
    text.parse::<u16>().map(|millis| Duration::from_millis(millis.into())).map_err(|_| TargetError::Latency)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_defaults() {
        let target = Target::parse("srt://a.example:9000").unwrap();
        assert_eq!((target.host.as_str(), target.port), ("a.example", 9_000));
        assert_eq!((target.stream_id.reveal(), &target.passphrase), ("", &None));
        assert_eq!((target.key_bits, target.latency), (128, Duration::from_millis(120)));
    }

    #[test]
    fn options_are_decoded_and_others_ignored() {
        let target = Target::parse(
            "SRT://user@[2001:db8::1]:9000/path?mode=caller&streamid=%23!::r=live%2Fa%26b,m=publish&streamid=other&\
             passphrase=hush%20hush+hush&pbkeylen=32&latency=2500&tlpktdrop=0&linger&=",
        )
        .unwrap();
        assert_eq!((target.host.as_str(), target.port), ("2001:db8::1", 9_000));
        assert_eq!(target.stream_id.reveal(), "#!::r=live/a&b,m=publish");
        assert_eq!(target.passphrase.as_ref().unwrap().reveal(), "hush hush+hush");
        assert_eq!((target.key_bits, target.latency), (256, Duration::from_millis(2_500)));
        assert!(!format!("{target:?}").contains("hush"));
        let raw = Target::parse("srt://h:1?streamid=#!::r=live,m=publish&pbkeylen=24").unwrap();
        assert_eq!((raw.stream_id.reveal(), raw.key_bits), ("#!::r=live,m=publish", 192));
        assert_eq!(Target::parse("srt://h:1?pbkeylen=0&latency=0").unwrap().latency, Duration::ZERO);
    }

    #[test]
    fn bad_addresses_are_refused() {
        let long = format!("srt://h:1?streamid={}", "x".repeat(513));
        for (address, error) in [
            ("rtmp://h:1", TargetError::Scheme),
            ("h:1", TargetError::Scheme),
            ("srt://:1", TargetError::Host),
            ("srt://[::1:1", TargetError::Host),
            ("srt://h", TargetError::Port),
            ("srt://h:0", TargetError::Port),
            ("srt://h:65536", TargetError::Port),
            ("srt://[::1]", TargetError::Port),
            ("srt://h:1?mode=listener", TargetError::Mode),
            ("srt://h:1?mode=rendezvous", TargetError::Mode),
            ("srt://h:1?passphrase=", TargetError::Passphrase),
            ("srt://h:1?passphrase=%41%41%41%41hush", TargetError::Passphrase),
            ("srt://h:1?pbkeylen=8", TargetError::KeyLength),
            ("srt://h:1?latency=65536", TargetError::Latency),
            ("srt://h:1?latency=-1", TargetError::Latency),
            (&long, TargetError::StreamId),
            (&"x".repeat(MAX_TEXT + 1), TargetError::Length),
        ] {
            assert_eq!(Target::parse(address), Err(error), "{address}");
        }
        let longest = |name: &str, len| format!("srt://h:1?{name}={}", "x".repeat(len));
        assert!(Target::parse(&longest("streamid", 512)).is_ok());
        assert!(Target::parse(&longest("passphrase", 10)).is_ok());
        assert!(Target::parse(&longest("passphrase", 79)).is_ok());
        assert_eq!(Target::parse(&longest("passphrase", 80)), Err(TargetError::Passphrase));
    }
}
