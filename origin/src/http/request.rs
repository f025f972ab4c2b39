//! The part of a request that playback needs, whether parsed here or by hyper.
//!
//! Almost all requests are plain HTTP/1.1 and are parsed here. hyper gets the unmodified bytes of every other one.

use std::mem::MaybeUninit;

use http::header::{ACCEPT_ENCODING, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderName, Method, Version};
use httparse::{Header, Status};

use crate::http::host;

/// Maximum of header fields in a plain request. One with more is not plain.
const MAX_FIELDS: usize = 32;
/// Fields that change how the connection continues, or that announce a body.
const UNSUPPORTED_FIELDS: [&str; 6] = ["content-length", "transfer-encoding", "expect", "upgrade", "trailer", "te"];

/// Request as playback sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    /// Query without its `?`; empty if there is none.
    pub(crate) query: &'a str,
    /// HTTP/1.x: the connection carries one request at a time.
    pub(crate) sequential: bool,
    pub(crate) if_none_match: Option<&'a str>,
    pub(crate) if_range: Option<&'a str>,
    pub(crate) range: Option<&'a str>,
    pub(crate) accept_encoding: Option<&'a str>,
}

/// Result of parsing the beginning of a connection's bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Head<'a> {
    /// An incomplete request.
    Partial,
    /// A plain request and its length in bytes.
    Plain(Request<'a>, usize),
    /// Anything else, valid or not.
    Other,
}

impl<'a> Request<'a> {
    /// Parses a head (RFC 9112 §2).
    pub(crate) fn parse(bytes: &'a [u8]) -> Head<'a> {
        let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_FIELDS];
        let mut head = httparse::Request::new(&mut []);
        let length = match head.parse_with_uninit_headers(bytes, &mut fields) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) => return Head::Partial,
            Err(_) => return Head::Other,
        };
        let (Some("GET"), Some(1), Some(target)) = (head.method, head.version, head.path) else { return Head::Other };
        let Some(target) = origin_form(target) else { return Head::Other };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut request = Self {
            method: Method::GET,
            path,
            query,
            sequential: true,
            if_none_match: None,
            if_range: None,
            range: None,
            accept_encoding: None,
        };
        let mut hosts = 0;
        for field in head.headers.iter() {
            if field.name.eq_ignore_ascii_case("host") && host::is_valid(field.value) {
                hosts += 1;
            } else if !request.take(field) {
                return Head::Other;
            }
        }
        // hyper's path refuses a request that does not name its host exactly once.
        if hosts == 1 { Head::Plain(request, length) } else { Head::Other }
    }

    /// Returns the playback view of a request that hyper parsed.
    pub(crate) fn of<B>(request: &'a http::Request<B>) -> Self {
        let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
        Self {
            method: request.method().clone(),
            path: request.uri().path(),
            query: request.uri().query().unwrap_or_default(),
            sequential: request.version() < Version::HTTP_2,
            if_none_match: text(IF_NONE_MATCH),
            if_range: text(IF_RANGE),
            range: text(RANGE),
            accept_encoding: text(ACCEPT_ENCODING),
        }
    }

    /// Records a field. Returns false if the field makes the request not plain.
    fn take(&mut self, field: &Header<'a>) -> bool {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("connection") {
            return field.value.eq_ignore_ascii_case(b"keep-alive");
        }
        if UNSUPPORTED_FIELDS.into_iter().any(is) {
            return false;
        }
        let place = if is("accept-encoding") {
            &mut self.accept_encoding
        } else if is("range") {
            &mut self.range
        } else if is("if-range") {
            &mut self.if_range
        } else if is("if-none-match") {
            &mut self.if_none_match
        } else {
            return true;
        };
        // The first field of a name counts, as in hyper's map.
        *place = place.or(std::str::from_utf8(field.value).ok());
        true
    }
}

/// Returns the path and query of a target. Proxies send the absolute form, which means the same (RFC 9112 §3.2.2).
/// Returns `None` for any other form.
fn origin_form(target: &str) -> Option<&str> {
    if target.starts_with('/') {
        return Some(target);
    }
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let (authority, path) = rest.split_at(rest.find('/')?);
    host::is_valid(authority.as_bytes()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Option<Request<'_>> {
        match Request::parse(text.as_bytes()) {
            Head::Plain(request, _) => Some(request),
            _ => None,
        }
    }

    #[test]
    fn a_plain_request_is_parsed_up_to_its_end() {
        let text = "GET /a.m3u8?x=1&y HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1\r\naccept-encoding: gzip\r\n\r\nGET /b";
        let Head::Plain(request, length) = Request::parse(text.as_bytes()) else { panic!("a plain request") };
        assert_eq!((request.path, request.query), ("/a.m3u8", "x=1&y"));
        assert_eq!((request.range, request.accept_encoding), (Some("bytes=0-1"), Some("gzip")));
        assert_eq!((request.if_range, request.if_none_match), (None, None));
        assert_eq!(&text[length..], "GET /b");
        for cut in 0..length {
            assert_eq!(Request::parse(&text.as_bytes()[..cut]), Head::Partial, "{cut}");
        }
    }

    #[test]
    fn a_plain_request_is_parsed_as_hyper_would() {
        let text = "GET /a?b HTTP/1.1\r\nIf-None-Match: \"x\"\r\nif-none-match: \"y\"\r\nConnection: Keep-Alive\r\nHost: h\r\n\r\n";
        let built = http::Request::get("/a?b").header(IF_NONE_MATCH, "\"x\"").body(()).unwrap();
        assert_eq!(plain(text).unwrap(), Request::of(&built));
    }

    #[test]
    fn a_target_in_absolute_form_is_the_same_request() {
        for target in ["http://cdn.example/a?b", "HTTPS://cdn.example:8443/a?b", "http://[::1]:80/a?b"] {
            let text = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(plain(&text), plain("GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n"), "{target}");
        }
        for target in ["http://h", "http://h?a/b", "http:///a", "http://u@h/a", "ftp://h/a", "h:80", "*", "a/b"] {
            let text = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(plain(&text), None, "{target}");
        }
    }

    #[test]
    fn a_request_must_name_its_host_once() {
        for hosts in ["", "Host: a\r\nhost: a\r\n", "Host:\r\n", "Host: a b\r\n", "Host: a/b\r\n"] {
            assert_eq!(plain(&format!("GET /a HTTP/1.1\r\n{hosts}\r\n")), None, "{hosts:?}");
        }
        assert!(plain("GET /a HTTP/1.1\r\nHOST: a:80\r\n\r\n").is_some());
    }

    #[test]
    fn other_requests_are_left_to_hyper() {
        for head in
            ["POST / HTTP/1.1", "HEAD / HTTP/1.1", "GET / HTTP/1.0", "GET / HTTP/3.0", "\u{0}", "PRI * HTTP/2.0"]
        {
            assert_eq!(Request::parse(format!("{head}\r\n\r\n").as_bytes()), Head::Other, "{head:?}");
        }
        for field in ["Connection: close", "Content-Length: 0", "Transfer-Encoding: chunked", "Expect: 100-continue"] {
            assert_eq!(plain(&format!("GET / HTTP/1.1\r\nHost: h\r\n{field}\r\n\r\n")), None, "{field}");
        }
        let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(MAX_FIELDS));
        assert_eq!(Request::parse(many.as_bytes()), Head::Other);
    }
}
