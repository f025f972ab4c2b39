//! The watch page and the files it loads, all embedded in the binary and served from here.

use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Response, StatusCode};
use media::id::PlaybackId;

use crate::http::body::Body;
use crate::http::refusal::Refusal;
use crate::http::response::{self, ClientPreferences, IMMUTABLE, MEDIA_ETAG};
use crate::worker::activity::RequestGuard;

const PAGE: &str = include_str!("../../web/watch.html");
const REFUSAL_PAGE: &str = include_str!("../../web/refusal.html");
/// Title of a live stream without one.
const UNTITLED: &str = "Live";
const STYLE: &str = include_str!("../../web/watch.css");
const SCRIPT: &str = include_str!("../../web/watch.js");
const PLAYER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hls.js"));
const PLAYER_GZIP: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hls.js.gz"));
/// Allows scripts and styles from this server only. hls.js creates its worker and its media from blobs.
const CONTENT_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self' blob:; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; \
     connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'",
);
/// The page changes only with the program, but its URL never does.
const PAGE_MAX_AGE: HeaderValue = HeaderValue::from_static("public, max-age=60");

/// Path of hls.js.
pub(crate) static HLS_JS_PATH: LazyLock<String> = LazyLock::new(|| format!("/assets/{}", PLAYER_ASSET.name));

static PLAYER_ASSET: LazyLock<Asset> = LazyLock::new(|| Asset {
    name: concat!("hls-", env!("HLS_JS_VERSION"), ".js").to_owned(),
    content_type: HeaderValue::from_static("text/javascript; charset=utf-8"),
    plain: Bytes::from_static(PLAYER),
    gzip: Some(Bytes::from_static(PLAYER_GZIP)),
});
static SCRIPT_ASSET: LazyLock<Asset> = LazyLock::new(|| Asset {
    name: format!("watch-{:016x}.js", fingerprint(SCRIPT)),
    content_type: HeaderValue::from_static("text/javascript; charset=utf-8"),
    plain: Bytes::from_static(SCRIPT.as_bytes()),
    gzip: None,
});
static STYLE_ASSET: LazyLock<Asset> = LazyLock::new(|| Asset {
    name: format!("watch-{:016x}.css", fingerprint(STYLE)),
    content_type: HeaderValue::from_static("text/css; charset=utf-8"),
    plain: Bytes::from_static(STYLE.as_bytes()),
    gzip: None,
});

/// A file that the page loads. Its name changes with its content, so it may be cached permanently.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Asset {
    name: String,
    content_type: HeaderValue,
    plain: Bytes,
    gzip: Option<Bytes>,
}

/// Returns the file of this name in the assets folder.
pub(crate) fn asset(name: &str) -> Option<&'static Asset> {
    [&*PLAYER_ASSET, &*SCRIPT_ASSET, &*STYLE_ASSET].into_iter().find(|asset| asset.name == name)
}

/// Returns the page of one playback id. The live stream may have a `title`.
pub(crate) fn page(
    playback: &PlaybackId,
    title: Option<&str>,
    preferences: ClientPreferences,
    guard: RequestGuard,
) -> Response<Body> {
    let title = title.filter(|title| !title.trim().is_empty()).unwrap_or(UNTITLED);
    let page = PAGE
        .replace("{{hls.js}}", &HLS_JS_PATH)
        .replace("{{watch.js}}", &format!("/assets/{}", SCRIPT_ASSET.name))
        .replace("{{watch.css}}", &format!("/assets/{}", STYLE_ASSET.name))
        .replace("{{playback_id}}", playback.as_str())
        // Replaced last, because a title may contain one of the placeholders above.
        .replace("{{title}}", &escaped(title));
    html(StatusCode::OK, page, PAGE_MAX_AGE, preferences, guard)
}

/// Returns the page that replaces the player and explains `refusal`.
pub(crate) fn refusal(refusal: Refusal, preferences: ClientPreferences, guard: RequestGuard) -> Response<Body> {
    let (heading, text) = match refusal {
        Refusal::Protected => (
            "This stream is not public",
            "It needs a token, and this server does not support playback with tokens yet. Its owner can give it a public playback ID.",
        ),
        _ => (
            "There is no stream here",
            "No live stream has the playback ID in this address. Check the link, or ask the person who gave it to you.",
        ),
    };
    let page = REFUSAL_PAGE
        .replace("{{watch.css}}", &format!("/assets/{}", STYLE_ASSET.name))
        .replace("{{heading}}", heading)
        .replace("{{text}}", text);
    html(refusal.status(), page, refusal.max_age(), preferences, guard)
}

/// Escapes `text` for use in an element or attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            char => out.push(char),
        }
    }
    out
}

fn html(
    status: StatusCode,
    page: String,
    max_age: HeaderValue,
    preferences: ClientPreferences,
    guard: RequestGuard,
) -> Response<Body> {
    let mut answer = response::whole(status, Bytes::from(page).into(), preferences.head_only, guard);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, CONTENT_POLICY);
    headers.insert(CACHE_CONTROL, max_age);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    answer
}

/// Returns a file of the page.
pub(crate) fn file(
    asset: &Asset,
    preferences: ClientPreferences,
    if_none_match: Option<&str>,
    guard: RequestGuard,
) -> Response<Body> {
    let zipped = asset.gzip.as_ref().filter(|_| preferences.gzip);
    let bytes = zipped.unwrap_or(&asset.plain).clone();
    let mut answer = if response::is_known(if_none_match, &MEDIA_ETAG) {
        response::bare(StatusCode::NOT_MODIFIED, Body::empty(guard))
    } else {
        response::whole(StatusCode::OK, bytes.into(), preferences.head_only, guard)
    };
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, asset.content_type.clone());
    headers.insert(CACHE_CONTROL, IMMUTABLE);
    headers.insert(ETAG, MEDIA_ETAG);
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if zipped.is_some() && answer.status() == StatusCode::OK {
        answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    answer
}

/// Returns 64 bits of the content (FNV-1a), for a name that changes with it.
fn fingerprint(text: &str) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    text.bytes().fold(BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_references_no_other_host() {
        for text in [PAGE, REFUSAL_PAGE, STYLE, SCRIPT] {
            assert!(!text.contains("http://") && !text.contains("https://") && !text.contains("//cdn"));
        }
    }

    #[test]
    fn every_file_of_the_page_is_found_by_name() {
        for asset in [&*PLAYER_ASSET, &*SCRIPT_ASSET, &*STYLE_ASSET] {
            assert!(super::asset(&asset.name).is_some());
            assert!(!asset.plain.is_empty());
        }
        assert!(super::asset("hls.js").is_none());
        assert_eq!(PAGE.matches("{{").count(), 6);
        assert_eq!(REFUSAL_PAGE.matches("{{").count(), 4);
    }

    #[test]
    fn a_title_is_escaped() {
        assert_eq!(escaped("a <b>&\"c\"'"), "a &lt;b&gt;&amp;&quot;c&quot;&#39;");
    }
}
