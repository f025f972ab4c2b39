//! The AMF0 decoder, with limits on depth, on the number of values and on the length of a text.

use super::Value;
use crate::error::{Error, Place};

pub(super) const NUMBER: u8 = 0x00;
pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const STRING: u8 = 0x02;
pub(super) const OBJECT: u8 = 0x03;
pub(super) const NULL: u8 = 0x05;
pub(super) const UNDEFINED: u8 = 0x06;
const REFERENCE: u8 = 0x07;
pub(super) const ECMA_ARRAY: u8 = 0x08;
pub(super) const OBJECT_END: u8 = 0x09;
pub(super) const STRICT_ARRAY: u8 = 0x0a;
pub(super) const DATE: u8 = 0x0b;
pub(super) const LONG_STRING: u8 = 0x0c;
const UNSUPPORTED: u8 = 0x0d;
const XML_DOCUMENT: u8 = 0x0f;
const TYPED_OBJECT: u8 = 0x10;

/// Most objects and arrays nested in one another; one more is an error. `onMetaData` of the tested encoders needs 3.
pub const MAX_DEPTH: usize = 8;
/// Most values in one message, nested ones included; one more is an error.
pub const MAX_ELEMENTS: usize = 1_024;
/// Longest text in bytes; a longer one is an error.
pub const MAX_STRING: usize = 16 * 1_024;

/// Decodes the values that fill `bytes`. An error names the argument, counted from 0.
pub fn decode_all(bytes: &[u8]) -> Result<Vec<Value>, Error> {
    let mut decoder = Decoder { bytes, at: 0, elements: 0, argument: 0, path: Vec::new() };
    let mut values = Vec::new();
    while decoder.at < bytes.len() {
        values.push(decoder.value()?);
        decoder.argument += 1;
    }
    Ok(values)
}

struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    elements: usize,
    argument: usize,
    path: Vec<&'static str>,
}

impl<'a> Decoder<'a> {
    fn value(&mut self) -> Result<Value, Error> {
        self.elements += 1;
        if self.elements > MAX_ELEMENTS {
            return Err(self.over("values", self.elements, MAX_ELEMENTS));
        }
        let [marker] = self.array("marker")?;
        Ok(match marker {
            NUMBER => Value::Number(f64::from_be_bytes(self.array("number")?)),
            BOOLEAN => Value::Boolean(self.array::<1>("boolean")? != [0]),
            STRING => Value::String(self.short_text("string")?),
            OBJECT => Value::Object(self.nested("object", |d| d.pairs(false))?),
            NULL => Value::Null,
            UNDEFINED | UNSUPPORTED => Value::Undefined,
            REFERENCE => {
                self.array::<2>("reference")?;
                Value::Undefined
            }
            ECMA_ARRAY => {
                // The count is only a hint, because encoders get it wrong. The end marker counts.
                self.array::<4>("ecma array > count")?;
                Value::EcmaArray(self.nested("ecma array", |d| d.pairs(true))?)
            }
            STRICT_ARRAY => {
                let count = u32::from_be_bytes(self.array("strict array > count")?);
                Value::StrictArray(self.nested("strict array", |d| d.list(count))?)
            }
            DATE => {
                let ms = f64::from_be_bytes(self.array("date")?);
                self.array::<2>("date > time zone")?;
                Value::Date(ms)
            }
            LONG_STRING => Value::LongString(self.long_text("long string")?),
            XML_DOCUMENT => Value::LongString(self.long_text("xml document")?),
            TYPED_OBJECT => {
                self.short_text("typed object > class name")?;
                Value::Object(self.nested("typed object", |d| d.pairs(false))?)
            }
            other => {
                return Err(Error::Unsupported {
                    place: self.place(self.at.saturating_sub(1), "marker"),
                    what: format!("marker {other:#04x}"),
                });
            }
        })
    }

    /// Runs `inner` one nesting level deeper.
    fn nested<T>(&mut self, name: &'static str, inner: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.path.len() >= MAX_DEPTH {
            return Err(self.over(name, self.path.len() + 1, MAX_DEPTH));
        }
        self.path.push(name);
        let value = inner(self)?;
        self.path.pop();
        Ok(value)
    }

    /// Reads named values up to the end marker. Some encoders omit the marker after an array at the end of the message.
    fn pairs(&mut self, end_may_be_missing: bool) -> Result<Vec<(String, Value)>, Error> {
        let mut pairs = Vec::new();
        loop {
            if end_may_be_missing && self.at == self.bytes.len() {
                return Ok(pairs);
            }
            let key = self.short_text("key")?;
            if key.is_empty() && self.bytes.get(self.at) == Some(&OBJECT_END) {
                self.at += 1;
                return Ok(pairs);
            }
            pairs.push((key, self.value()?));
        }
    }

    fn list(&mut self, count: u32) -> Result<Vec<Value>, Error> {
        // Grows with the values that are present: the count alone allocates nothing.
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value()?);
        }
        Ok(values)
    }

    fn short_text(&mut self, field: &'static str) -> Result<String, Error> {
        let len = u16::from_be_bytes(self.array(field)?);
        self.text(usize::from(len), field)
    }

    fn long_text(&mut self, field: &'static str) -> Result<String, Error> {
        let len = u32::from_be_bytes(self.array(field)?);
        self.text(len as usize, field)
    }

    fn text(&mut self, len: usize, field: &'static str) -> Result<String, Error> {
        if len > MAX_STRING {
            return Err(self.over(field, len, MAX_STRING));
        }
        Ok(String::from_utf8_lossy(self.take(len, field)?).into_owned())
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Error> {
        let start = self.at;
        let bytes = self.take(N, field)?;
        bytes.try_into().map_err(|_| Error::Short { place: self.place(start, field) })
    }

    fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], Error> {
        let end = self.at.saturating_add(len);
        let Some(bytes) = self.bytes.get(self.at..end) else {
            return Err(Error::Short { place: self.place(self.at, field) });
        };
        self.at = end;
        Ok(bytes)
    }

    fn over(&self, field: &'static str, value: usize, limit: usize) -> Error {
        Error::Limit { place: self.place(self.at, field), value: value as u64, limit: limit as u64 }
    }

    fn place(&self, at: usize, field: &str) -> Place {
        let mut path = format!("argument {}", self.argument);
        for part in self.path.iter().copied().chain([field]) {
            path.push_str(" > ");
            path.push_str(part);
        }
        Place::new("amf0", at as u64, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Blame;

    /// Returns `depth` nested strict arrays of one element around a null.
    fn nested_arrays(depth: usize) -> Vec<u8> {
        let mut bytes = [STRICT_ARRAY, 0, 0, 0, 1].repeat(depth);
        bytes.push(NULL);
        bytes
    }

    #[test]
    fn depth_is_capped_at_the_limit() {
        assert!(decode_all(&nested_arrays(MAX_DEPTH)).is_ok());
        let err = decode_all(&nested_arrays(MAX_DEPTH + 1)).unwrap_err();
        assert!(matches!(err, Error::Limit { value: 9, limit: 8, .. }), "{err}");
    }

    #[test]
    fn sixty_kilobytes_of_nested_arrays_do_not_overflow_the_stack() {
        assert!(matches!(decode_all(&nested_arrays(12_000)), Err(Error::Limit { .. })));
        let objects = [OBJECT, 0, 1, b'k'].repeat(15_000);
        assert!(matches!(decode_all(&objects), Err(Error::Limit { .. })));
    }

    #[test]
    fn elements_are_capped_at_the_limit() {
        assert_eq!(decode_all(&[NULL; MAX_ELEMENTS]).unwrap().len(), MAX_ELEMENTS);
        assert!(matches!(decode_all(&[NULL; MAX_ELEMENTS + 1]), Err(Error::Limit { value: 1_025, .. })));
        let mut list = vec![STRICT_ARRAY, 0xff, 0xff, 0xff, 0xff];
        list.resize(5 + MAX_ELEMENTS, NULL);
        assert!(matches!(decode_all(&list), Err(Error::Limit { .. })));
    }

    #[test]
    fn texts_are_capped_at_the_limit() {
        let text = |len: usize| {
            let mut bytes = vec![LONG_STRING];
            bytes.extend_from_slice(&(len as u32).to_be_bytes());
            bytes.resize(5 + len, b'x');
            bytes
        };
        assert_eq!(decode_all(&text(MAX_STRING)).unwrap(), [Value::LongString("x".repeat(MAX_STRING))]);
        assert!(matches!(decode_all(&text(MAX_STRING + 1)), Err(Error::Limit { .. })));
    }

    #[test]
    fn an_error_names_the_byte_and_the_path() {
        let err = decode_all(&[NULL, OBJECT, 0, 3, b'a', b'p', b'p', STRING, 0, 9, b'x']).unwrap_err();
        assert_eq!(err.to_string(), "amf0 byte 10: argument 1 > object > string: ends before the field is complete");
        let err = decode_all(&[0x11]).unwrap_err();
        assert_eq!(err.to_string(), "amf0 byte 0: argument 0 > marker: marker 0x11 is not supported");
        assert_eq!(err.blame(), Blame::Unsupported);
    }

    #[test]
    fn rare_markers_are_tolerated() {
        assert_eq!(decode_all(&[REFERENCE, 0, 1, UNSUPPORTED]).unwrap(), [Value::Undefined, Value::Undefined]);
        let typed = [TYPED_OBJECT, 0, 1, b'C', 0, 1, b'k', BOOLEAN, 1, 0, 0, OBJECT_END];
        assert_eq!(decode_all(&typed).unwrap(), [Value::object([("k", Value::Boolean(true))])]);
        assert_eq!(decode_all(&[XML_DOCUMENT, 0, 0, 0, 1, b'x']).unwrap(), [Value::LongString("x".into())]);
    }

    #[test]
    fn an_array_may_lack_its_end_but_an_object_may_not() {
        let pair = [0, 1, b'k', NULL];
        let array: Vec<u8> = [ECMA_ARRAY, 0, 0, 0, 7].into_iter().chain(pair).collect();
        assert_eq!(decode_all(&array).unwrap(), [Value::EcmaArray(vec![("k".into(), Value::Null)])]);
        let object: Vec<u8> = [OBJECT].into_iter().chain(pair).collect();
        assert!(matches!(decode_all(&object), Err(Error::Short { .. })));
    }
}
