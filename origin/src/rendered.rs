//! A playlist as it goes out: rendered once for a version of its broadcast, compressed once if anybody asks for it.

use std::io::Write;
use std::sync::OnceLock;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, Response};
use parking_lot::Mutex;

use crate::{answer, reply};

/// A playlist of one version of a broadcast.
#[derive(Debug)]
pub(crate) struct Rendered {
    /// The text.
    pub(crate) plain: Bytes,
    /// Its validator; weak, because the compressed form has it too.
    pub(crate) etag: HeaderValue,
    /// How long a cache may keep it.
    pub(crate) keep: HeaderValue,
    /// How long a cache may keep it as the answer to a blocking reload.
    pub(crate) keep_reload: HeaderValue,
    gzip: OnceLock<Option<Bytes>>,
    /// The head of each kind of answer but its date, for HTTP/2.
    heads: [OnceLock<HeaderMap>; 4],
    /// The newest reply of each kind, and the second it is of.
    replies: [Mutex<(u64, Bytes)>; 4],
}

/// A text as it goes out.
pub(crate) struct Text<'a> {
    pub(crate) bytes: &'a Bytes,
    pub(crate) zipped: bool,
}

impl Rendered {
    pub(crate) fn new(text: String, version: u64, tag: &str, keep_secs: u32, keep_reload_secs: u32) -> Self {
        Self {
            plain: Bytes::from(text),
            etag: header(&format!("W/\"{tag}-{version}\"")),
            keep: header(&format!("public, max-age={keep_secs}")),
            keep_reload: header(&format!("public, max-age={keep_reload_secs}")),
            gzip: OnceLock::new(),
            heads: Default::default(),
            replies: Default::default(),
        }
    }

    /// The whole answer to a plain request of HTTP/1.1, head and text in one piece, as all readers of a second get it;
    /// `reload` if it answers a blocking reload.
    pub(crate) fn reply(&self, reload: bool, gzip: bool) -> Bytes {
        let text = self.text(gzip);
        let mut kept = self.replies[kind(reload, text.zipped)].lock();
        let now = reply::second();
        if kept.0 != now {
            *kept = (now, reply::whole(answer::playlist_head(self, reload, text.zipped), text.bytes));
        }
        kept.1.clone()
    }

    /// The head and the text of the answer, for HTTP/2.
    pub(crate) fn response(&self, reload: bool, gzip: bool) -> Response<Bytes> {
        let text = self.text(gzip);
        let head = self.heads[kind(reload, text.zipped)].get_or_init(|| {
            let mut headers = answer::playlist_head(self, reload, text.zipped).into_parts().0.headers;
            headers.insert(CONTENT_LENGTH, HeaderValue::from(text.bytes.len()));
            headers
        });
        let mut response = Response::new(text.bytes.clone());
        response.headers_mut().clone_from(head);
        response
    }

    /// The text, compressed if that is wanted and possible.
    pub(crate) fn text(&self, gzip: bool) -> Text<'_> {
        let zipped = if gzip { self.gzip() } else { None };
        Text { bytes: zipped.unwrap_or(&self.plain), zipped: zipped.is_some() }
    }

    /// The text compressed; `None` if that failed, which memory alone can cause.
    fn gzip(&self) -> Option<&Bytes> {
        self.gzip.get_or_init(|| gzip(&self.plain).ok()).as_ref()
    }
}

/// The place of an answer among the four kinds.
fn kind(reload: bool, zipped: bool) -> usize {
    usize::from(reload) * 2 + usize::from(zipped)
}

fn gzip(bytes: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::default());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.into())
}

/// `text` as a header; ids and numbers have no character that a header may not have.
fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn the_compressed_form_is_the_same_text_and_made_once() {
        let rendered = Rendered::new("#EXTM3U\n".repeat(100), 7, "abc", 1, 12);
        let gzip = rendered.gzip().unwrap().clone();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&gzip[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text.as_bytes(), rendered.plain);
        assert_eq!(gzip.as_ptr(), rendered.gzip().unwrap().as_ptr());
        assert_eq!(rendered.etag, "W/\"abc-7\"");
        assert_eq!(rendered.keep_reload, "public, max-age=12");
    }
}
