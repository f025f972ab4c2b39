//! Writes the answers to plain HTTP/1.1 requests (RFC 9112 §4).
//!
//! Ten thousand readers may wait for one part. Each answer costs a head of a few hundred bytes and one write.

use std::cell::RefCell;
use std::io;
use std::time::{Duration, SystemTime};

use bytes::{Buf, Bytes};
use http::header::{self, CONNECTION, CONTENT_LENGTH};
use http::response::Parts;
use http::{HeaderMap, HeaderName, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::http::response::{Answer, Playlist, playlist_head};
use crate::playback::rendered::{Rendered, Variant};

/// Initial capacity for a head, so that it is written without reallocation.
const HEAD_CAPACITY: usize = 512;

thread_local! {
    /// Text of the newest `Date`, and the second it names.
    static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// Writes `answer`. Returns true if another request may follow on the connection.
pub(crate) async fn write_answer<T: AsyncWrite + Unpin>(io: &mut T, answer: Answer) -> io::Result<bool> {
    let (parts, mut body) = match answer {
        Answer::Response(response) => response.into_parts(),
        Answer::Playlist(Playlist { rendered, reload, gzip, guard }) => {
            let _guard = guard.sending();
            let bytes = playlist(&rendered, reload, gzip);
            // A slow reader needs the bytes only. By the time it has taken them, the playlist may be outdated.
            drop(rendered);
            io.write_all(&bytes).await?;
            io.flush().await?;
            return Ok(true);
        }
    };
    let head = head(&parts, body.size_hint().exact());
    // The body of an answer from the window is one chunk or empty.
    match body.frame().await.transpose().map_err(io::Error::other)?.and_then(|frame| frame.into_data().ok()) {
        Some(chunk) => io.write_all_buf(&mut (&head[..]).chain(chunk)).await?,
        None => io.write_all(&head).await?,
    }
    io.flush().await?;
    Ok(!parts.headers.contains_key(CONNECTION))
}

/// Returns the whole answer with a playlist, head and text in one piece, shared by all readers within a second.
fn playlist(rendered: &Rendered, reload: bool, gzip: bool) -> Bytes {
    let text = rendered.text(gzip);
    rendered.http1(Variant { reload, zipped: text.zipped }, unix_second(), || {
        let head = playlist_head(rendered, reload, text.zipped);
        let mut out = self::head(&head.into_parts().0, Some(text.bytes.len() as u64));
        out.extend_from_slice(text.bytes);
        out.into()
    })
}

/// Returns the second that a `Date` of now names.
fn unix_second() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn head(parts: &Parts, length: Option<u64>) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_CAPACITY);
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(parts.status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(parts.status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in &parts.headers {
        field(&mut out, name, value.as_bytes());
    }
    if needs_length(&parts.headers, parts.status) {
        field(&mut out, &CONTENT_LENGTH, length.unwrap_or(0).to_string().as_bytes());
    }
    date(&mut out);
    out.extend_from_slice(b"\r\n");
    out
}

fn date(out: &mut Vec<u8>) {
    let second = unix_second();
    DATE.with_borrow_mut(|(of, text)| {
        if *of != second || text.is_empty() {
            (*of, *text) = (second, httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(second)));
        }
        field(out, &header::DATE, text.as_bytes());
    });
}

fn field(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn needs_length(headers: &HeaderMap, status: StatusCode) -> bool {
    status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED && !headers.contains_key(CONTENT_LENGTH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, Response};

    fn lines(status: StatusCode, length: Option<u64>) -> Vec<String> {
        let mut answer = Response::new(());
        *answer.status_mut() = status;
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        let head = String::from_utf8(head(&answer.into_parts().0, length)).unwrap();
        assert!(head.ends_with("\r\n\r\n"));
        head.split_terminator("\r\n").map(str::to_owned).collect()
    }

    #[test]
    fn a_head_has_status_length_and_date() {
        let lines = lines(StatusCode::OK, Some(12));
        assert_eq!(lines[..3], ["HTTP/1.1 200 OK", "connection: close", "content-length: 12"]);
        assert!(lines[3].starts_with("date: ") && lines[3].ends_with(" GMT"));
    }

    #[test]
    fn an_answer_without_a_body_has_length_zero_or_none() {
        assert_eq!(lines(StatusCode::NOT_FOUND, None)[2], "content-length: 0");
        assert!(!lines(StatusCode::NOT_MODIFIED, None).iter().any(|line| line.starts_with("content-length")));
    }
}
