//! The address of a target: where to connect, and what to publish there.

use crate::secret::Secret;
use crate::url;

/// Longest address or stream key, in bytes. A longer one is refused.
const MAX_TEXT: usize = 4_096;

/// Host and port of a [`Target`], for the caller's socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Whether the connection uses TLS: `rtmps`.
    pub tls: bool,
    /// Name or IP address, without the brackets of IPv6.
    pub host: String,
    /// TCP port; 1935 for `rtmp` and 443 for `rtmps` unless the address has one.
    pub port: u16,
}

/// User and password for the challenges of Adobe and Limelight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Name of the user.
    pub user: String,
    /// Password of the user.
    pub password: Secret,
}

/// What to publish, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where to connect.
    pub address: Address,
    /// `app` as sent, with the query of the address if it has one.
    pub app: Secret,
    /// `tcUrl` as sent: the address without user, password and stream key.
    pub tc_url: Secret,
    /// Stream key, with its query if it has one.
    pub key: Secret,
    /// [`Credentials`] in the address.
    pub credentials: Option<Credentials>,
    /// Query of [`Event::ConnectAgain`](super::Event::ConnectAgain), for the next connection.
    pub auth_query: Option<Secret>,
}

/// Address that cannot be used. No variant contains text of the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The address begins with neither `rtmp://` nor `rtmps://`.
    #[error("the address must begin with rtmp:// or rtmps://")]
    Scheme,
    /// The address has no host.
    #[error("the address has no host")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// The address has no stream key, and none was given beside it.
    #[error("the address has no stream key")]
    Key,
    /// The address or the stream key is too long.
    #[error("the address or the stream key has more than {MAX_TEXT} bytes")]
    Length,
}

impl Target {
    /// Parses `rtmp[s]://[user:password@]host[:port]/app[/instance]` with a stream key beside it.
    ///
    /// If `key` is empty, the last segment of the path is the key, together with the query: `rtmp://host/app/key?query`.
    pub fn parse(url: &str, key: &str) -> Result<Self, TargetError> {
        if url.len() > MAX_TEXT || key.len() > MAX_TEXT {
            return Err(TargetError::Length);
        }
        let (scheme, rest) = url.trim().split_once("://").ok_or(TargetError::Scheme)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "rtmp" => false,
            "rtmps" => true,
            _ => return Err(TargetError::Scheme),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, authority),
        };
        let (app, key) = split_path(path.strip_prefix('/').unwrap_or(path), key)?;
        let tc_url = format!("{}://{authority}/{app}", if tls { "rtmps" } else { "rtmp" });
        Ok(Self {
            address: address(tls, authority)?,
            app: app.into(),
            tc_url: tc_url.as_str().into(),
            key: key.into(),
            credentials: user.map(credentials),
            auth_query: None,
        })
    }

    /// Returns `app` and `tcUrl` with the query of the challenge, if there is one.
    pub(super) fn with_query(&self) -> (String, String) {
        let join = |text: &str| match &self.auth_query {
            Some(query) if text.contains('?') => format!("{text}&{}", query.reveal()),
            Some(query) => format!("{text}?{}", query.reveal()),
            None => text.to_owned(),
        };
        (join(self.app.reveal()), join(self.tc_url.reveal()))
    }
}

/// Splits a path in app and stream key.
fn split_path<'a>(path: &'a str, key: &'a str) -> Result<(&'a str, &'a str), TargetError> {
    if !key.is_empty() {
        let app = path.split('?').next().unwrap_or_default();
        // A slash at the end of the path is the one before the key.
        return Ok((if app.len() == path.len() { app.trim_end_matches('/') } else { path }, key));
    }
    let path_len = path.find('?').unwrap_or(path.len());
    let at = path.get(..path_len).and_then(|path| path.rfind('/')).ok_or(TargetError::Key)?;
    let (app, key) = (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default());
    if key.is_empty() || key.starts_with('?') { Err(TargetError::Key) } else { Ok((app, key)) }
}

fn address(tls: bool, authority: &str) -> Result<Address, TargetError> {
    let (host, port) = url::host_and_port(authority).ok_or(TargetError::Host)?;
    let port = match port {
        Some(text) => url::port(text).ok_or(TargetError::Port)?,
        None if tls => 443,
        None => 1_935,
    };
    Ok(Address { tls, host: host.to_owned(), port })
}

fn credentials(text: &str) -> Credentials {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Credentials { user: url::decoded(user), password: url::decoded(password).as_str().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str, key: &str) -> Result<(String, u16, String, String), TargetError> {
        let target = Target::parse(url, key)?;
        Ok((target.address.host, target.address.port, target.app.reveal().into(), target.key.reveal().into()))
    }

    #[test]
    fn app_and_key_are_split() {
        let expect = |host: &str, port, app: &str, key: &str| Ok((host.into(), port, app.into(), key.into()));
        assert_eq!(parts("rtmp://a.example/app", "KEY?x=1"), expect("a.example", 1_935, "app", "KEY?x=1"));
        assert_eq!(parts("rtmps://a.example:444/app/", "KEY"), expect("a.example", 444, "app", "KEY"));
        assert_eq!(parts("RTMPS://a.example/app/one?t=2", "KEY"), expect("a.example", 443, "app/one?t=2", "KEY"));
        assert_eq!(parts("rtmp://[::1]:9/app/KEY?a/b", ""), expect("::1", 9, "app", "KEY?a/b"));
        assert_eq!(parts("rtmp://u:p@host/app/one/KEY", ""), expect("host", 1_935, "app/one", "KEY"));
    }

    #[test]
    fn bad_addresses_are_refused() {
        let of = |url, key| parts(url, key).unwrap_err();
        assert_eq!(of("http://host/app", "k"), TargetError::Scheme);
        assert_eq!(of("host/app", "k"), TargetError::Scheme);
        assert_eq!((of("rtmp:///app", "k"), of("rtmp://[::1/app", "k")), (TargetError::Host, TargetError::Host));
        assert_eq!((of("rtmp://h:0/app", "k"), of("rtmp://h:x/app", "k")), (TargetError::Port, TargetError::Port));
        for url in ["rtmp://h/app", "rtmp://h/app/", "rtmp://h", "rtmp://h/app/?q"] {
            assert_eq!(of(url, ""), TargetError::Key, "{url}");
        }
        assert_eq!(of(&"x".repeat(5_000), "k"), TargetError::Length);
    }

    #[test]
    fn secrets_are_in_neither_the_url_nor_the_debug_text() {
        let mut target = Target::parse("rtmp://me:hush%20-1@host/app?hush-2", "hush-3").unwrap();
        assert_eq!(target.tc_url.reveal(), "rtmp://host/app?hush-2");
        let credentials = target.credentials.clone().expect("a user");
        assert_eq!((credentials.user.as_str(), credentials.password.reveal()), ("me", "hush -1"));
        target.auth_query = Some("authmod=adobe&user=me".into());
        assert_eq!(target.with_query().0, "app?hush-2&authmod=adobe&user=me");
        assert!(!format!("{target:?}").contains("hush"));
    }
}
