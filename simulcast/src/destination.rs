//! The address of a target, by its protocol.

use wire::{rtmp, srt};

use crate::{AddError, Settings};

/// Parsed address of a target.
#[derive(Debug)]
pub(crate) enum Destination {
    /// `rtmp` or `rtmps`.
    Rtmp(rtmp::client::Target),
    /// `srt`.
    Srt(srt::Target),
}

impl Destination {
    /// Parses the address, and the stream key with it.
    pub(crate) fn parse(settings: &Settings) -> Result<Self, AddError> {
        let (url, key) = (settings.url.reveal(), settings.stream_key.reveal());
        let scheme = url.trim().split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("srt") if !key.is_empty() => Err(AddError::StreamKey),
            Some("srt") => Ok(Self::Srt(srt::Target::parse(url)?)),
            Some("rtmp" | "rtmps") => Ok(Self::Rtmp(rtmp::client::Target::parse(url, key)?)),
            _ => Err(AddError::Scheme),
        }
    }
}
