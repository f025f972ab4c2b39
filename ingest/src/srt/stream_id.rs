//! What an encoder says in its stream id: the key, and whether it means to publish.
//!
//! Encoders and their users write it in many ways: the key alone, the `#!::r=KEY,m=publish` of SRT's access control, with
//! a word before it (`publish:KEY`, `live/KEY`), as a URL, percent-encoded once too often, or with a piece of the URL's
//! query behind it. A key has no character that these ways give a meaning to, so each can be told from the others.

use std::borrow::Cow;

use crate::authorize::Key;

/// What SRT can carry.
const MAX_LEN: usize = 512;
/// How often percent-encoding is undone: by the encoder's user and by the encoder.
const MAX_DECODED: usize = 2;

/// What the caller wants.
#[derive(Debug)]
pub(crate) enum Request {
    /// To publish with this key.
    Publish(Key),
    /// To play, or something else that is not offered here.
    Other,
    /// No key could be found in it.
    Malformed,
}

/// Reads a stream id.
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

/// The `name=value,…` list of SRT's access control, if it is one. Shells and URLs eat the `#` and the `!` in front.
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
            // A stream id that was cut off may end in the middle of the word.
            "m" if !"publish".starts_with(value.trim()) => return Request::Other,
            _ => {}
        }
    }
    resource.map_or(Request::Malformed, of_words)
}

/// A key with what may stand before and behind it: words set off by `:` or `/`, a URL, a query.
fn of_words(text: &str) -> Request {
    let (path, query) = match text.split_once(['?', '&']) {
        Some((path, query)) => (path, query),
        None => (text, ""),
    };
    // The whole address, pasted into the field for the stream id.
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
        // Behind the key may come a user and a password that mean nothing here.
        Some("publish") => words.next().or(first),
        // Any name of an application, as in RTMP.
        _ if path.contains('/') => words.next_back().or(first),
        _ => first,
    };
    match key {
        // A list separator or a bracket behind it is what a cut left over.
        Some(key) => Request::Publish(Key(key.trim_end_matches([',', ';', '}']).to_owned())),
        None => Request::Malformed,
    }
}

/// The text with its percent-encoding undone, if it has any that can be.
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
    fn who_wants_to_play_is_told_apart() {
        for id in ["#!::r=key,m=request", "#!::r=key,m=bidirectional", "read:key", "play/key", "r=key,m=request"] {
            assert!(matches!(parse(id.as_bytes()), Request::Other), "{id}");
        }
        // Someone's key may be such a word.
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
