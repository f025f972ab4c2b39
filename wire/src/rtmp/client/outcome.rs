//! Responses of a server, by what they mean for the publication.

use crate::amf0::Value;

/// Longest text kept of a server's code or description, in characters.
const MAX_TEXT: usize = 256;
/// Longest address of a redirect, in bytes. A longer one is ignored.
const MAX_REDIRECT: usize = 4_096;

/// Reason why a server refused or ended a publication.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {description}")]
pub struct Refusal {
    /// Meaning of the refusal ([`RefusalKind`]).
    pub kind: RefusalKind,
    /// Code of the server; `no code` if it sent none.
    pub code: String,
    /// Text of the server, in which the stream key is masked.
    pub description: String,
}

/// Meaning of a [`Refusal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// User or password are wrong, missing, or not asked for in a supported way.
    Authentication,
    /// The stream key is unknown, or must not be published.
    StreamKey,
    /// The stream is already being published, possibly by an earlier connection that the server has not given up yet.
    Busy,
    /// Another reason.
    Other,
}

impl RefusalKind {
    /// Returns whether another attempt with the same target fails too.
    pub const fn is_permanent(self) -> bool {
        matches!(self, Self::Authentication | Self::StreamKey)
    }
}

/// A status object of a server.
pub(super) struct Status<'a> {
    info: &'a Value,
}

impl<'a> Status<'a> {
    /// Finds the status in the arguments of a command.
    pub(super) fn find(arguments: &'a [Value]) -> Self {
        let info = arguments.iter().find(|value| !value.properties().is_empty());
        Self { info: info.unwrap_or(&Value::Null) }
    }

    fn text(&self, name: &str) -> &'a str {
        self.info.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn code(&self) -> &'a str {
        self.text("code")
    }

    pub(super) fn description(&self) -> &'a str {
        self.text("description")
    }

    pub(super) fn is_error(&self) -> bool {
        self.text("level") == "error"
    }

    /// Returns whether the server confirms the publication.
    pub(super) fn is_start(&self) -> bool {
        self.code() == "NetStream.Publish.Start"
    }

    /// Returns whether the server ends or refuses the publication, also in a status without the level `error`.
    pub(super) fn is_end(&self) -> bool {
        let is_known = matches!(
            self.code(),
            "NetStream.Unpublish.Success"
                | "NetStream.Publish.BadName"
                | "NetStream.Publish.Denied"
                | "NetStream.Publish.Rejected"
                | "NetStream.Publish.Failed"
                | "NetStream.Failed"
                | "NetConnection.Connect.Closed"
                | "NetConnection.Connect.Rejected"
                | "NetConnection.Connect.AppShutdown"
        );
        is_known || self.is_error()
    }

    /// Returns the address to which the server redirects.
    pub(super) fn redirect(&self) -> Option<&'a str> {
        let redirect = self.info.get("ex")?.get("redirect")?.as_str()?;
        (!redirect.is_empty() && redirect.len() <= MAX_REDIRECT).then_some(redirect)
    }

    /// Returns the refusal of this status, with every occurrence of the texts of `secrets` masked.
    pub(super) fn refusal(&self, secrets: &[&str]) -> Refusal {
        let kind = match self.code() {
            "NetStream.Publish.Denied" | "NetStream.Publish.Unauthorized" => RefusalKind::StreamKey,
            "NetStream.Publish.BadName" if names_key(self.description()) => RefusalKind::StreamKey,
            "NetStream.Publish.BadName" => RefusalKind::Busy,
            "NetConnection.Connect.Unauthorized" => RefusalKind::Authentication,
            _ => RefusalKind::Other,
        };
        let code = if self.code().is_empty() { "no code" } else { self.code() };
        Refusal { kind, code: printable(code, secrets), description: printable(self.description(), secrets) }
    }
}

/// Returns whether the text of a `NetStream.Publish.BadName` says that the stream key is wrong. Most servers send that code
/// for a stream that is already being published, and some for both.
fn names_key(text: &str) -> bool {
    const WORDS: [&str; 8] =
        ["not known", "unknown", "invalid", "not found", "no such", "unauthorized", "not allowed", "forbidden"];
    let text = text.to_ascii_lowercase();
    WORDS.iter().any(|word| text.contains(word))
}

/// Returns a server's text for a log: masked, short, and without control characters.
fn printable(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "***");
    }
    text.chars().take(MAX_TEXT).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: &str, description: &str) -> Vec<Value> {
        let info = [("level", "error".into()), ("code", code.into()), ("description", description.into())];
        vec![Value::Null, Value::object(info)]
    }

    #[test]
    fn each_code_has_its_kind() {
        for (code, kind, permanent) in [
            ("NetStream.Publish.Denied", RefusalKind::StreamKey, true),
            ("NetStream.Publish.BadName", RefusalKind::Busy, false),
            ("NetStream.Publish.Failed", RefusalKind::Other, false),
            ("NetConnection.Connect.Unauthorized", RefusalKind::Authentication, true),
            ("Something.Else", RefusalKind::Other, false),
        ] {
            let arguments = status(code, "");
            let refusal = Status::find(&arguments).refusal(&[]);
            assert_eq!((refusal.kind, refusal.kind.is_permanent()), (kind, permanent), "{code}");
        }
    }

    #[test]
    fn a_bad_name_is_a_busy_stream_unless_the_text_blames_the_key() {
        for (text, kind) in [
            ("Already publishing", RefusalKind::Busy),
            ("", RefusalKind::Busy),
            ("This stream key is not known", RefusalKind::StreamKey),
            ("Invalid stream key", RefusalKind::StreamKey),
        ] {
            let arguments = status("NetStream.Publish.BadName", text);
            assert_eq!(Status::find(&arguments).refusal(&[]).kind, kind, "{text}");
        }
    }

    #[test]
    fn texts_are_masked_short_and_printable() {
        let arguments = status("NetStream.Publish.BadName", &format!("KEY-1 is\nlive{}", "x".repeat(1_000)));
        let refusal = Status::find(&arguments).refusal(&["KEY-1", ""]);
        assert!(refusal.description.starts_with("*** is livex"), "{refusal}");
        assert_eq!(refusal.description.chars().count(), MAX_TEXT);
    }

    #[test]
    fn a_redirect_is_found_and_limited() {
        let redirect = |url: &str| {
            let info = Value::object([("ex", Value::object([("code", 302.0.into()), ("redirect", url.into())]))]);
            Status::find(&[info]).redirect().map(str::to_owned)
        };
        assert_eq!(redirect("rtmp://other/app").as_deref(), Some("rtmp://other/app"));
        assert_eq!((redirect(""), redirect(&"x".repeat(MAX_REDIRECT + 1))), (None, None));
    }
}
