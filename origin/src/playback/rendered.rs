//! A rendered playlist: made once for a version of its broadcast, and compressed at most once.

use std::io::Write;
use std::sync::OnceLock;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;

/// Text of a playlist for one version of a broadcast, with what all of its answers share.
#[derive(Debug)]
pub(crate) struct Rendered {
    /// Uncompressed text.
    pub(crate) plain: Bytes,
    /// Validator of the text. Weak, because the compressed form has the same one.
    pub(crate) etag: HeaderValue,
    /// `Cache-Control` of an answer to a plain request.
    pub(crate) max_age: HeaderValue,
    /// `Cache-Control` of an answer to a blocking reload.
    pub(crate) reload_max_age: HeaderValue,
    gzip: OnceLock<Option<Bytes>>,
    /// Headers of each [`Variant`] without the date, for HTTP/2.
    heads: [OnceLock<HeaderMap>; Variant::COUNT],
    /// Newest whole HTTP/1.1 answer of each [`Variant`], and the second of its `Date`.
    http1: [Mutex<(u64, Bytes)>; Variant::COUNT],
}

/// Bytes of a playlist as they are sent.
pub(crate) struct Text<'a> {
    pub(crate) bytes: &'a Bytes,
    pub(crate) zipped: bool,
}

/// Form of an answer with a playlist; each form has headers of its own.
#[derive(Clone, Copy)]
pub(crate) struct Variant {
    /// Answers a blocking reload.
    pub(crate) reload: bool,
    /// Compressed.
    pub(crate) zipped: bool,
}

impl Variant {
    const COUNT: usize = 4;

    fn index(self) -> usize {
        usize::from(self.reload) * 2 + usize::from(self.zipped)
    }
}

impl Rendered {
    pub(crate) fn new(text: String, version: u64, tag: &str, max_age_secs: u32, reload_max_age_secs: u32) -> Self {
        Self {
            plain: Bytes::from(text),
            etag: header(&format!("W/\"{tag}-{version}\"")),
            max_age: header(&format!("public, max-age={max_age_secs}")),
            reload_max_age: header(&format!("public, max-age={reload_max_age_secs}")),
            gzip: OnceLock::new(),
            heads: Default::default(),
            http1: Default::default(),
        }
    }

    /// Returns the text, compressed if `gzip` is set and compressing it succeeded.
    pub(crate) fn text(&self, gzip: bool) -> Text<'_> {
        let zipped = if gzip { self.gzip() } else { None };
        Text { bytes: zipped.unwrap_or(&self.plain), zipped: zipped.is_some() }
    }

    /// Returns the HTTP/2 headers of `variant`, made by `make` for the first reader.
    pub(crate) fn head(&self, variant: Variant, make: impl FnOnce() -> HeaderMap) -> &HeaderMap {
        self.heads[variant.index()].get_or_init(make)
    }

    /// Returns the whole HTTP/1.1 answer of `variant`, made by `make` for the first reader in `second`.
    pub(crate) fn http1(&self, variant: Variant, second: u64, make: impl FnOnce() -> Bytes) -> Bytes {
        let mut cached = self.http1[variant.index()].lock();
        if cached.0 != second {
            *cached = (second, make());
        }
        cached.1.clone()
    }

    /// Returns the compressed text; `None` if compressing failed, which only a lack of memory can cause.
    fn gzip(&self) -> Option<&Bytes> {
        self.gzip.get_or_init(|| gzip(&self.plain).ok()).as_ref()
    }
}

fn gzip(bytes: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::default());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.into())
}

/// Returns `text` as a header value. Ids and numbers hold no byte that is invalid there.
fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn the_text_is_compressed_once() {
        let rendered = Rendered::new("#EXTM3U\n".repeat(100), 7, "abc", 1, 12);
        let gzip = rendered.gzip().unwrap().clone();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&gzip[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text.as_bytes(), rendered.plain);
        assert_eq!(gzip.as_ptr(), rendered.gzip().unwrap().as_ptr());
        assert_eq!(rendered.etag, "W/\"abc-7\"");
        assert_eq!(rendered.reload_max_age, "public, max-age=12");
    }
}
