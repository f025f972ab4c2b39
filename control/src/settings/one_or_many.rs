//! Arrays that may also be written as a single string, as clients of this API do.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use super::Policy;

/// An element of an array that may be written as a single string.
pub(crate) trait Shorthand: Sized {
    /// Description of the expected value in an error.
    const EXPECTED: &'static str;

    /// Returns the element that the string stands for, or a `serde` error message.
    fn from_text(text: &str) -> Result<Self, String>;
}

impl Shorthand for Policy {
    const EXPECTED: &'static str = "a playback policy or an array of playback policies";

    fn from_text(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| format!("unknown variant `{text}`, expected one of `public`, `signed`, `drm`"))
    }
}

/// Deserializes an array, or a single string as an array of one [`Shorthand`].
pub(crate) fn one_or_many<'de, T, D>(from: D) -> Result<Option<Vec<T>>, D::Error>
where
    T: Deserialize<'de> + Shorthand,
    D: Deserializer<'de>,
{
    from.deserialize_any(OneOrMany(PhantomData))
}

struct OneOrMany<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Shorthand> Visitor<'de> for OneOrMany<T> {
    type Value = Option<Vec<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        T::from_text(text).map(|one| Some(vec![one])).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Some)
    }
}
