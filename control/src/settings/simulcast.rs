//! Simulcast targets in requests, and the check of their URLs.
//!
//! No message repeats a part of a URL, because a URL may contain a stream key, a password or a passphrase.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wire::srt;

use super::validate::{MAX_TEXT, text};
use super::{Extras, FieldErrors, MAX_PASSTHROUGH, Validate};

/// Rendition of the programme that a simulcast target receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub enum SimulcastRendition {
    /// The programme as the encoder sent it.
    #[default]
    #[serde(rename = "source")]
    Source,
    /// The encoded rendition of 1080 lines.
    #[serde(rename = "1080p")]
    P1080,
    /// The encoded rendition of 720 lines.
    #[serde(rename = "720p")]
    P720,
    /// The encoded rendition of 540 lines.
    #[serde(rename = "540p")]
    P540,
    /// The encoded rendition of 480 lines.
    #[serde(rename = "480p")]
    P480,
    /// The encoded rendition of 360 lines.
    #[serde(rename = "360p")]
    P360,
    /// The encoded rendition of 270 lines.
    #[serde(rename = "270p")]
    P270,
}

impl SimulcastRendition {
    /// All renditions, the largest first.
    pub const ALL: [Self; 7] = [Self::Source, Self::P1080, Self::P720, Self::P540, Self::P480, Self::P360, Self::P270];

    /// Returns the height in lines (for portrait video, the width); `None` for the [`Source`](Self::Source).
    pub const fn height(self) -> Option<u32> {
        match self {
            Self::Source => None,
            Self::P1080 => Some(1_080),
            Self::P720 => Some(720),
            Self::P540 => Some(540),
            Self::P480 => Some(480),
            Self::P360 => Some(360),
            Self::P270 => Some(270),
        }
    }
}

/// Another service to send the programme to.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct CreateSimulcastTargetRequest {
    /// Free text of the owner, at most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 255)]
    pub(crate) passthrough: Option<String>,
    /// Stream key at the other service, for RTMP and RTMPS only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) stream_key: Option<String>,
    /// `rtmp` or `rtmps` URL of the other service with its application name, or `srt` URL with port and options:
    /// `streamid`, `passphrase`, `pbkeylen` and `latency` (in milliseconds).
    #[schema(pattern = "^(rtmp|rtmps|srt)://[A-Za-z0-9]")]
    pub(crate) url: String,
    /// Rendition to send; `source` by default, which is the programme as the encoder sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) rendition: Option<SimulcastRendition>,
    /// Keys that this version does not know.
    #[serde(flatten)]
    #[schema(ignore)]
    pub(crate) extras: Extras,
}

impl Validate for CreateSimulcastTargetRequest {
    fn validate(&self, at: &str, errors: &mut FieldErrors) {
        let field = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
        if let Err(what) = check_url(&self.url) {
            errors.add(&field("url"), &what);
        }
        text(self.passthrough.as_deref(), &field("passthrough"), MAX_PASSTHROUGH, errors);
        text(self.stream_key.as_deref(), &field("stream_key"), MAX_TEXT, errors);
        if self.stream_key.as_deref().is_some_and(has_spaces) {
            errors.add(&field("stream_key"), "must not contain spaces or line breaks");
        }
        if self.stream_key.is_some() && self.url.starts_with("srt:") {
            errors.add(
                &field("stream_key"),
                "is only allowed with rtmp and rtmps; include it in the url of an srt target",
            );
        }
    }
}

fn has_spaces(text: &str) -> bool {
    text.chars().any(|letter| letter.is_whitespace() || letter.is_control())
}

/// Checks the URL of a target; the error describes what it must be.
fn check_url(url: &str) -> Result<(), String> {
    if url.chars().count() > MAX_TEXT {
        return Err(format!("must have at most {MAX_TEXT} characters"));
    }
    if has_spaces(url) {
        return Err("must be a URL without spaces and line breaks".to_owned());
    }
    let known = url.split_once("://").filter(|(scheme, _)| ["rtmp", "rtmps", "srt"].contains(scheme));
    let Some((scheme, rest)) = known else {
        return Err("must be a URL that begins with rtmp://, rtmps:// or srt://".to_owned());
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    check_authority(authority)?;
    if scheme == "srt" {
        let parsed = srt::Target::parse(url);
        return parsed.map(drop).map_err(|error| format!("must be a URL of an SRT listener: {error}"));
    }
    let app = path.strip_prefix('/').unwrap_or_default().split(['/', '?', '#']).next().unwrap_or_default();
    if app.is_empty() { Err(format!("must contain the application name, as in {scheme}://host/app")) } else { Ok(()) }
}

/// Checks `[user[:password]@]host[:port]`.
fn check_authority(authority: &str) -> Result<(), String> {
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, rest)| rest);
    let no_host = || "must be a URL with a host name or an IP address".to_owned();
    let (is_host, port) = match host_and_port.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(no_host)?;
            (host.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || port.starts_with(':')), port.strip_prefix(':'))
        }
        None => {
            let (host, port) = host_and_port.split_once(':').map_or((host_and_port, None), |(h, p)| (h, Some(p)));
            let is_host = !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || "-._".contains(c));
            (is_host, port)
        }
    };
    if !is_host {
        return Err(no_host());
    }
    if port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0)) == port.is_some() {
        Ok(())
    } else {
        Err("must be a URL whose port is a number from 1 to 65535".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_the_platforms_are_accepted() {
        for url in [
            "rtmp://a.rtmp.youtube.com/live2",
            "rtmps://live-api-s.facebook.com:443/rtmp/",
            "rtmp://user:p%40ss@host:1935/app/instance?token=1",
            "rtmp://[2001:db8::1]:1935/app/key",
            "rtmp://192.0.2.1/app",
            "srt://srt-live.example.com:1234?streamid=a&passphrase=bcdefghijkl",
            "srt://host:1?streamid=#!::r=live,m=publish&pbkeylen=32&latency=500&mode=caller",
            "srt://[::1]:1234",
        ] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn the_error_of_a_url_is_clear_and_repeats_no_part_of_it() {
        let long = format!("rtmp://host/{}", "x".repeat(MAX_TEXT));
        for (url, words) in [
            ("", "begins with rtmp://, rtmps:// or srt://"),
            ("hush.example/app", "begins with rtmp://"),
            ("https://hush.example/app", "begins with rtmp://"),
            ("RTMP://hush.example/app", "begins with rtmp://"),
            ("rtmp:///hush", "host name or an IP address"),
            ("rtmp://hush:hush@/app", "host name or an IP address"),
            ("rtmp://hush,example/app", "host name or an IP address"),
            ("rtmp://[::hush]/app", "host name or an IP address"),
            ("rtmp://[::1]hush/app", "host name or an IP address"),
            ("rtmp://hush:/app", "port is a number from 1 to 65535"),
            ("rtmp://hush:0/app", "port is a number"),
            ("rtmp://[::1]:65536/app", "port is a number"),
            ("rtmps://hush", "application name, as in rtmps://host/app"),
            ("rtmp://hush/?hush", "application name, as in rtmp://host/app"),
            ("rtmp://host/app hush", "without spaces"),
            ("rtmp://host/hush\n", "without spaces"),
            ("srt://hush", "must have a port from 1 to 65535, as in srt://host:1234"),
            ("srt://host:1?mode=listener", "mode must be caller"),
            ("srt://host:1?passphrase=hush", "passphrase must have 10 to 79"),
            ("srt://host:1?passphrase=%41%41%41%41hush", "passphrase must have 10 to 79"),
            ("srt://host:1?pbkeylen=8", "pbkeylen must be"),
            ("srt://host:1?latency=hush", "latency must be"),
            ("srt://host:1?latency=65536", "at most 65535"),
            (&format!("srt://host:1?streamid={}", "hush".repeat(200)), "streamid must have at most 512 bytes"),
            (&long, "at most 2048 characters"),
        ] {
            let error = check_url(url).unwrap_err();
            assert!(error.contains(words) && !error.contains("hush"), "{url}: {error}");
        }
    }
}
