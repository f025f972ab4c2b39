//! The types of the values of settings.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize, Serializer};

/// A type that a setting can have.
pub(crate) trait Setting {
    /// Describes the valid values, for an error message.
    const WANTED: &'static str;
}

impl Setting for bool {
    const WANTED: &'static str = "true or false";
}

impl Setting for usize {
    const WANTED: &'static str = "a whole number";
}

impl Setting for u64 {
    const WANTED: &'static str = "a whole number";
}

impl Setting for f64 {
    const WANTED: &'static str = "a number";
}

impl Setting for String {
    const WANTED: &'static str = "a string";
}

impl Setting for PathBuf {
    const WANTED: &'static str = "a path, as a string";
}

impl Setting for SocketAddr {
    const WANTED: &'static str = "an address with a port, such as 0.0.0.0:8080 or [::]:8080";
}

impl Setting for Listen {
    const WANTED: &'static str = "an address with a port, such as 0.0.0.0:443 or [::]:443, or empty to turn it off";
}

impl Setting for Quality {
    const WANTED: &'static str = "basic, plus or premium";
}

impl Setting for Secret {
    const WANTED: &'static str = "a string";
}

/// An address to listen on; `None` if the listener is off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Listen(pub(crate) Option<SocketAddr>);

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |address| address.fmt(f))
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let address = Some(text).filter(|text| !text.is_empty()).map(|text| text.parse());
        address.transpose().map(Self).map_err(D::Error::custom)
    }
}

/// A string that is never printed.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

/// The default video quality: passthrough, or a ladder of renditions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Quality {
    Basic,
    Plus,
    Premium,
}
