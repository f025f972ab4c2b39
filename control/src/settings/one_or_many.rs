//! Lists that may also be written as a single text, as clients of this API do.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use super::Policy;
use super::asset::InputSettings;

/// What a single text stands for.
pub(crate) trait Shorthand: Sized {
    /// What a list of these is called in an error.
    const EXPECTED: &'static str;

    fn from_text(text: &str) -> Result<Self, String>;
}

impl Shorthand for Policy {
    const EXPECTED: &'static str = "a playback policy or a list of playback policies";

    fn from_text(text: &str) -> Result<Self, String> {
        [Self::Public, Self::Signed, Self::Drm]
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or_else(|| format!("unknown variant `{text}`, expected one of `public`, `signed`, `drm`"))
    }
}

impl Shorthand for InputSettings {
    const EXPECTED: &'static str = "a URL or a list of inputs";

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(Self { url: Some(text.to_owned()), ..Self::default() })
    }
}

/// Reads a list, or one text as a list of one.
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
