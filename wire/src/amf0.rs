//! AMF0, the encoding of RTMP commands and metadata (Adobe, "Action Message Format - AMF 0").

mod decode;

pub use decode::{MAX_DEPTH, MAX_ELEMENTS, MAX_STRING, decode_all};

/// Longest text with a 16-bit length.
const SHORT_STRING: usize = u16::MAX as usize;

/// One AMF0 value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A double.
    Number(f64),
    /// A boolean.
    Boolean(bool),
    /// A text. Bytes that were not UTF-8 are replaced.
    String(String),
    /// Named values in the order sent. Also the result of a typed object, without its class name.
    Object(Vec<(String, Value)>),
    /// An explicit null.
    Null,
    /// No value. Also the result of references and of the `unsupported` marker.
    Undefined,
    /// An associative array, in which most encoders send `onMetaData`.
    EcmaArray(Vec<(String, Value)>),
    /// A list.
    StrictArray(Vec<Value>),
    /// Milliseconds since the Unix epoch. The time zone is reserved and dropped.
    Date(f64),
    /// A text longer than 65 535 bytes, or sent in this form. Also the result of an XML document.
    LongString(String),
}

impl Value {
    /// Returns the text of a [`Value::String`] or [`Value::LongString`].
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::LongString(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the number of a [`Value::Number`].
    pub const fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(n) => Some(*n),
            _ => None,
        }
    }

    /// Returns the named values of a [`Value::Object`] or [`Value::EcmaArray`].
    pub fn properties(&self) -> &[(String, Self)] {
        match self {
            Self::Object(pairs) | Self::EcmaArray(pairs) => pairs,
            _ => &[],
        }
    }

    /// Returns the first of [`Value::properties`] named `name`.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.properties().iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Creates an object with `pairs`.
    pub fn object<const N: usize>(pairs: [(&str, Self); N]) -> Self {
        Self::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// Appends the encoded value to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Number(n) => {
                out.push(decode::NUMBER);
                out.extend_from_slice(&n.to_be_bytes());
            }
            Self::Boolean(b) => out.extend_from_slice(&[decode::BOOLEAN, u8::from(*b)]),
            Self::String(text) if text.len() <= SHORT_STRING => {
                out.push(decode::STRING);
                encode_short(text, out);
            }
            Self::String(text) | Self::LongString(text) => {
                out.push(decode::LONG_STRING);
                out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
                out.extend_from_slice(text.as_bytes());
            }
            Self::Object(pairs) => {
                out.push(decode::OBJECT);
                encode_pairs(pairs, out);
            }
            Self::Null => out.push(decode::NULL),
            Self::Undefined => out.push(decode::UNDEFINED),
            Self::EcmaArray(pairs) => {
                out.push(decode::ECMA_ARRAY);
                out.extend_from_slice(&u32::try_from(pairs.len()).unwrap_or(u32::MAX).to_be_bytes());
                encode_pairs(pairs, out);
            }
            Self::StrictArray(values) => {
                out.push(decode::STRICT_ARRAY);
                out.extend_from_slice(&u32::try_from(values.len()).unwrap_or(u32::MAX).to_be_bytes());
                values.iter().for_each(|value| value.encode(out));
            }
            Self::Date(ms) => {
                out.push(decode::DATE);
                out.extend_from_slice(&ms.to_be_bytes());
                out.extend_from_slice(&[0, 0]);
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

/// Writes a text with a 16-bit length. A longer one is truncated at a character boundary.
fn encode_short(text: &str, out: &mut Vec<u8>) {
    let mut len = text.len().min(SHORT_STRING);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    out.extend_from_slice(&(len as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes().get(..len).unwrap_or_default());
}

fn encode_pairs(pairs: &[(String, Value)], out: &mut Vec<u8>) {
    for (key, value) in pairs {
        encode_short(key, out);
        value.encode(out);
    }
    out.extend_from_slice(&[0, 0, decode::OBJECT_END]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn properties_are_found_by_name() {
        let value = Value::object([("app", "live".into()), ("audioCodecs", 3191.0.into())]);
        assert_eq!(value.get("app").and_then(Value::as_str), Some("live"));
        assert_eq!(value.get("audioCodecs").and_then(Value::as_f64), Some(3191.0));
        assert_eq!(value.get("none"), None);
        assert_eq!(Value::Null.get("app"), None);
    }

    #[test]
    fn a_long_text_changes_its_marker() {
        let mut out = Vec::new();
        Value::String("x".repeat(65_535)).encode(&mut out);
        assert_eq!((out[0], out.len()), (decode::STRING, 65_538));
        out.clear();
        Value::String("x".repeat(65_536)).encode(&mut out);
        assert_eq!((out[0], out.len()), (decode::LONG_STRING, 65_541));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            (-1e12f64..1e12).prop_map(Value::Number),
            any::<bool>().prop_map(Value::Boolean),
            ".{0,20}".prop_map(Value::String),
            ".{0,20}".prop_map(Value::LongString),
            (-1e12f64..1e12).prop_map(Value::Date),
            Just(Value::Null),
            Just(Value::Undefined),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            let pairs = prop::collection::vec((".{1,8}", inner.clone()), 0..6);
            prop_oneof![
                pairs.clone().prop_map(Value::Object),
                pairs.prop_map(Value::EcmaArray),
                prop::collection::vec(inner, 0..6).prop_map(Value::StrictArray),
            ]
        })
    }

    proptest! {
        #[test]
        fn encoded_values_are_decoded_again(values in prop::collection::vec(any_value(), 0..4)) {
            let mut bytes = Vec::new();
            values.iter().for_each(|value| value.encode(&mut bytes));
            prop_assert_eq!(decode_all(&bytes).unwrap(), values);
        }

        #[test]
        fn any_bytes_decode_or_fail_cleanly(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_all(&bytes);
        }
    }
}
