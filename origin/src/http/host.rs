//! The host that a request names (RFC 9110 §7.2): exactly once, and in a valid form.
//!
//! Caches are poisoned when two recipients of one request read different hosts from it. Such a request therefore gets
//! 400.

use http::header::HOST;
use http::{Request, Version};

/// Returns true if `value` is a host with or without a port, judged by its characters (RFC 3986 §3.2.2). User
/// information is not allowed.
pub(crate) fn is_valid(value: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%:[]".contains(byte);
    value.first().is_some_and(|first| *first != b':') && value.iter().all(allowed)
}

/// Returns true if `request` names its host as its HTTP version requires. HTTP/1.1 needs exactly one `Host` field (RFC
/// 9112 §3.2). HTTP/2 needs `:authority`, `Host`, or both with the same value (RFC 9113 §8.3.1). HTTP/1.0 may omit it.
pub(crate) fn is_named<B>(request: &Request<B>) -> bool {
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let mut fields = request.headers().get_all(HOST).iter().map(|value| value.as_bytes());
    let (field, another) = (fields.next(), fields.next());
    if another.is_some() || !field.is_none_or(is_valid) || !authority.is_none_or(is_valid) {
        return false;
    }
    match request.version() {
        Version::HTTP_09 | Version::HTTP_10 => true,
        // The host of a target in absolute form wins over the field.
        Version::HTTP_11 => field.is_some(),
        _ => match (authority, field) {
            (Some(authority), Some(field)) => authority.eq_ignore_ascii_case(field),
            (authority, field) => authority.or(field).is_some(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_hosts_are_distinguished_from_invalid_ones() {
        for host in ["a", "live.example.org:8443", "127.0.0.1", "[::1]:80", "a_b", "x%20y"] {
            assert!(is_valid(host.as_bytes()), "{host}");
        }
        for other in ["", ":80", "a b", "a/b", "user@a", "a?b", "a#b", "a\tb", "é", "a\"b", "a, b"] {
            assert!(!is_valid(other.as_bytes()), "{other:?}");
        }
    }

    #[test]
    fn every_http_version_has_its_own_rule() {
        let named = |version, uri: &str, hosts: &[&str]| {
            let request = Request::get(uri).version(version);
            is_named(&hosts.iter().fold(request, |request, host| request.header(HOST, *host)).body(()).unwrap())
        };
        for (version, uri, hosts, expected) in [
            (Version::HTTP_10, "/", &[][..], true),
            (Version::HTTP_10, "/", &["a", "a"], false),
            (Version::HTTP_11, "/", &[], false),
            (Version::HTTP_11, "/", &["a"], true),
            (Version::HTTP_11, "/", &["a", "a"], false),
            (Version::HTTP_11, "/", &[""], false),
            (Version::HTTP_11, "http://b/", &["a"], true),
            (Version::HTTP_11, "http://b/", &[], false),
            (Version::HTTP_11, "http://u@b/", &["a"], false),
            (Version::HTTP_2, "http://b/", &[], true),
            (Version::HTTP_2, "http://b/", &["B"], true),
            (Version::HTTP_2, "http://b/", &["a"], false),
            (Version::HTTP_2, "/", &["a"], true),
            (Version::HTTP_2, "/", &[], false),
        ] {
            assert_eq!(named(version, uri, hosts), expected, "{version:?} {uri} {hosts:?}");
        }
    }
}
