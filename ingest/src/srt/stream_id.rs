//! Parses SRT stream ids: the stream key, and whether the caller wants to publish.
//!
//! Encoders and their users write it in many forms: the key alone, `#!::r=KEY,m=publish` of SRT's access control, a
//! word before the key (`publish:KEY`, `live/KEY`), a URL, with percent-encoding applied once too often, or followed by
//! a part of the URL's query. No character of a key has a meaning in these forms, so they can be distinguished.

use std::borrow::Cow;

use crate::authorize::Key;

/// Longest stream id of SRT, in bytes.
const MAX_LEN: usize = 512;
/// Most times that percent-encoding is undone: once for the encoder's user, once for the encoder.
const MAX_DECODED: usize = 2;

/// The request in a stream id.
#[derive(Debug)]
pub(crate) enum Request {
    /// Publish with this key.
    Publish(Key),
    /// Play, or another request that is not offered here.
    Other,
    /// No key was found.
    Malformed,
}

/// Parses a stream id.
pub(crate) fn parse(stream_id: &[u8]) -> Request {
    if stream_id.len() > MAX_LEN {
        return Request::Malformed;
    }
    let Ok(text) = std::str::from_utf8(stream_id) else { return Request::Malformed };
    let mut text = Cow::Borrowed(text);
    for _ in 0..MAX_DECODED {
        match percent_decoded(&text) {
            Some(decoded) => text = Cow::Owned(decoded),
            None => break,
        }
    }
    let text = text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\0'));
    match fields(text) {
        Some(fields) => of_fields(fields),
        None => of_words(text),
    }
}

/// Returns the `name=value,…` list of SRT's access control; `None` if `text` is none. Shells and URLs may remove the
/// `#` and the `!` in front.
fn fields(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('#').unwrap_or(text);
    let rest = rest.strip_prefix('!').unwrap_or(rest);
    if let Some(list) = rest.strip_prefix("::") {
        return Some(list);
    }
    if let Some(list) = rest.strip_prefix(":{") {
        return Some(list.trim_end_matches('}'));
    }
    let name = text.split_once('=')?.0;
    matches!(name.trim(), "r" | "m" | "u" | "h" | "s" | "t").then_some(text)
}

fn of_fields(list: &str) -> Request {
    let mut resource = None;
    for field in list.split(',') {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        match name.trim() {
            "r" => resource = Some(value),
            // A truncated stream id may end in the middle of the word.
            "m" if !"publish".starts_with(value.trim()) => return Request::Other,
            _ => {}
        }
    }
    resource.map_or(Request::Malformed, of_words)
}

/// Finds the key among words separated by `:` or `/`, a URL, or a query.
fn of_words(text: &str) -> Request {
    let (path, query) = match text.split_once(['?', '&']) {
        Some((path, query)) => (path, query),
        None => (text, ""),
    };
    // A whole address, pasted into the field for the stream id.
    let named = query.split(['&', '?']).find_map(|pair| pair.strip_prefix("streamid="));
    if let Some(named) = named
        && path.contains("://")
    {
        return match fields(named) {
            Some(fields) => of_fields(fields),
            None => of_path(named),
        };
    }
    of_path(path)
}

fn of_path(path: &str) -> Request {
    if let Some((_scheme, rest)) = path.split_once("://") {
        // The first word of a URL is the host.
        let Some((_host, path)) = rest.split_once('/') else { return Request::Malformed };
        return of_path(path);
    }
    let mut words = path.split([':', '/']).map(str::trim).filter(|word| !word.is_empty());
    let first = words.next();
    let key = match first.map(str::to_ascii_lowercase).as_deref() {
        Some("read" | "play" | "request" | "subscribe") if words.clone().next().is_some() => return Request::Other,
        // A user and a password may follow the key; they have no meaning here.
        Some("publish") => words.next().or(first),
        // The name of an application, as in RTMP.
        _ if path.contains('/') => words.next_back().or(first),
        _ => first,
    };
    match key {
        // A truncated list may leave a separator or a bracket at the end.
        Some(key) => Request::Publish(Key(key.trim_end_matches([',', ';', '}']).to_owned())),
        None => Request::Malformed,
    }
}

/// Undoes percent-encoding; `None` if there is none, or the result is not UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return None;
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let pair = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.filter(|_| byte == b'%').and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(value) => {
                decoded.push(value);
                at += 3;
            }
            None => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "5bd28537-7491-7ffa-050b-bbb506401234";

    fn key_of(text: &str) -> Option<String> {
        match parse(text.as_bytes()) {
            Request::Publish(Key(key)) => Some(key),
            Request::Other | Request::Malformed => None,
        }
    }

    #[test]
    fn every_way_to_write_it_gives_the_key() {
        let ways = [
            "KEY",
            " KEY\n",
            "\"KEY\"",
            "/KEY",
            "KEY/",
            "KEY?passphrase=secret",
            "KEY&passphrase=secret",
            "KEY&passphrase=secret&latency=200",
            "live/KEY",
            "/app/instance/KEY",
            "publish:KEY",
            "publish/KEY",
            "publish:/KEY",
            "publish:KEY:user:password",
            "#!::r=KEY",
            "#!::r=KEY,m=publish",
            "#!::m=publish,r=KEY",
            "#!::h=example.org,u=admin,t=stream,s=12,m=publish,r=KEY",
            "#!::r=live/KEY,m=publish",
            "#!::r=/KEY,m=publish",
            "#!::r=KEY,m=pub",
            "#!::r=KEY,m=",
            "#!::r=KEY,",
            "#!::m=publish,r=KEY?x=1",
            "!::r=KEY,m=publish",
            "::r=KEY,m=publish",
            "r=KEY,m=publish",
            "#!:{r=KEY,m=publish}",
            "%23%21%3A%3Ar%3DKEY%2Cm%3Dpublish",
            "%2523!::r%253DKEY,m%253Dpublish",
            "publish%3AKEY",
            "publish%2FKEY",
            "srt://example.org:6001/KEY",
            "srt://example.org:6001/live/KEY?mode=caller",
            "srt://example.org:6001?streamid=KEY&passphrase=secret",
            "srt://example.org:6001?mode=caller&streamid=publish:KEY",
            "srt://example.org:6001?streamid=#!::r=KEY,m=publish&latency=200",
            "rtmp://example.org/app/KEY",
        ];
        for way in ways {
            assert_eq!(key_of(&way.replace("KEY", KEY)).as_deref(), Some(KEY), "{way}");
        }
    }

    #[test]
    fn requests_to_play_are_recognized() {
        for id in ["#!::r=key,m=request", "#!::r=key,m=bidirectional", "read:key", "play/key", "r=key,m=request"] {
            assert!(matches!(parse(id.as_bytes()), Request::Other), "{id}");
        }
        // Such a word may be someone's key.
        assert_eq!(key_of("play").as_deref(), Some("play"));
        assert_eq!(key_of("publish").as_deref(), Some("publish"));
    }

    #[test]
    fn without_a_key_it_is_malformed() {
        for id in ["", " ", "/", "#!::", "#!::m=publish", "#!::u=key", "srt://example.org:6001", "?", "%", "%00"] {
            assert!(!matches!(parse(id.as_bytes()), Request::Publish(Key(key)) if key.is_empty()), "{id}");
        }
        for id in ["", "/", "#!::m=publish", "srt://example.org:6001"] {
            assert!(matches!(parse(id.as_bytes()), Request::Malformed), "{id}");
        }
        assert!(matches!(parse(&[0xff, 0xfe]), Request::Malformed));
        assert!(matches!(parse(&[b'a'; MAX_LEN + 1]), Request::Malformed));
        assert!(matches!(parse(&[b'a'; MAX_LEN]), Request::Publish(_)));
    }
}
