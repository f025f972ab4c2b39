//! The challenges of Adobe's and Limelight's servers, answered in the query of the next connection.
//!
//! Each refusal of `connect` asks for one more step: the method and the user, and then the response to a challenge. The
//! session that was refused is over, so the caller connects again with the query.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

use super::target::Target;

/// Longest value of a challenge. A longer one is refused.
const MAX_VALUE: usize = 512;
/// Method, realm, count and quality that Limelight's servers expect.
const REALM: &str = "live";
const METHOD: &str = "publish";
const COUNT: &str = "00000001";
const QUALITY: &str = "auth";
/// Instance of an app that names none.
const DEFAULT_INSTANCE: &str = "/_definst_";

/// Answer to the description of a refused `connect`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The refusal has nothing to do with challenges.
    NotAsked,
    /// Query of the next connection.
    Query(String),
    /// User and password do not help, or are missing.
    Failed(&'static str),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Adobe,
    Limelight,
}

/// Answers the `description` of a refusal. `nonce` is the client's part of the response; it need not be secret.
pub(super) fn answer(description: &str, target: &Target, nonce: u32) -> Answer {
    let method = match after(description, "authmod=") {
        Some("adobe") => Method::Adobe,
        Some("llnw") => Method::Limelight,
        Some(_) => return Answer::Failed("the method of authentication is not supported"),
        None => return Answer::NotAsked,
    };
    let params = Params::of(description);
    match params.get("reason") {
        Some("authfailed" | "nosuchuser") => return Answer::Failed("user or password is wrong"),
        Some("needauth") | None => {}
        Some(_) => return Answer::Failed("the authentication failed"),
    }
    let Some(credentials) = &target.credentials else { return Answer::Failed("user and password are required") };
    let sent = target.auth_query.as_ref().map_or("", |query| query.reveal());
    if sent.contains("&response=") {
        return Answer::Failed("user or password is wrong");
    }
    let user = credentials.user.as_str();
    if params.get("reason").is_none() {
        let name = if method == Method::Adobe { "adobe" } else { "llnw" };
        return match sent {
            "" => Answer::Query(format!("authmod={name}&user={user}")),
            _ => Answer::Failed("the challenge is missing"),
        };
    }
    let password = credentials.password.reveal();
    let query = match method {
        Method::Adobe => adobe(&params, user, password, nonce),
        Method::Limelight => limelight(&params, target, (user, password), nonce),
    };
    query.map_or(Answer::Failed("the challenge is incomplete"), Answer::Query)
}

fn adobe(params: &Params<'_>, user: &str, password: &str, nonce: u32) -> Option<String> {
    let salt = params.get("salt")?;
    let (opaque, challenge) = (params.get("opaque"), params.get("challenge"));
    let nonce = format!("{nonce:08x}");
    let inner = STANDARD.encode(md5(&[user, salt, password]));
    let response = STANDARD.encode(md5(&[&inner, opaque.or(challenge)?, &nonce]));
    let opaque = opaque.map_or_else(String::new, |opaque| format!("&opaque={opaque}"));
    Some(format!("authmod=adobe&user={user}&challenge={nonce}&response={response}{opaque}"))
}

fn limelight(params: &Params<'_>, target: &Target, (user, password): (&str, &str), nonce: u32) -> Option<String> {
    let challenge = params.get("nonce")?;
    let nonce = format!("{nonce:08x}");
    let app = target.app.reveal().split('?').next().unwrap_or_default();
    let instance = if app.contains('/') { "" } else { DEFAULT_INSTANCE };
    let user_hash = hex(&md5(&[user, ":", REALM, ":", password]));
    let path_hash = hex(&md5(&[METHOD, ":/", app, instance]));
    let parts = [&user_hash, ":", challenge, ":", COUNT, ":", &nonce, ":", QUALITY, ":", &path_hash];
    let response = hex(&md5(&parts));
    Some(format!("authmod=llnw&user={user}&nonce={challenge}&cnonce={nonce}&nc={COUNT}&response={response}"))
}

fn md5(parts: &[&str]) -> [u8; 16] {
    let mut hash = Md5::new();
    parts.iter().for_each(|part| hash.update(part.as_bytes()));
    hash.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the word after `name`.
fn after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(name)?;
    rest.split(|c: char| !c.is_ascii_alphanumeric()).next()
}

/// Parameters after the question mark of a description.
struct Params<'a>(&'a str);

impl<'a> Params<'a> {
    fn of(description: &'a str) -> Self {
        let query = description.split_once('?').map_or("", |(_, query)| query);
        Self(query.split([' ', '\r', '\n', '\t']).next().unwrap_or_default())
    }

    /// Returns the value of `name`; `None` for a value that is too long or not printable, as for an absent one.
    fn get(&self, name: &str) -> Option<&'a str> {
        let value = self.0.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?.1;
        (value.len() <= MAX_VALUE && value.bytes().all(|byte| byte.is_ascii_graphic())).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDED: &str = "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : ";
    const CHALLENGE: &str = "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=needauth&user=me&salt=SALT==&challenge=CHAL&opaque=OPAQ";

    fn target(query: Option<&str>) -> Target {
        let mut target = Target::parse("rtmp://me:secret@host/app", "key").unwrap();
        target.auth_query = query.map(Into::into);
        target
    }

    #[test]
    fn each_step_has_its_answer() {
        let query = |text: &str| Answer::Query(text.to_owned());
        assert_eq!(answer("Application (app) is not defined.", &target(None), 7), Answer::NotAsked);
        assert_eq!(answer(NEEDED, &target(None), 7), query("authmod=adobe&user=me"));
        let Answer::Query(first) = answer(CHALLENGE, &target(Some("authmod=adobe&user=me")), 7) else {
            panic!("a response")
        };
        assert!(first.starts_with("authmod=adobe&user=me&challenge=00000007&response="), "{first}");
        assert!(first.ends_with("&opaque=OPAQ"));
        let wrong = Answer::Failed("user or password is wrong");
        assert_eq!(answer(CHALLENGE, &target(Some(&first)), 7), wrong);
        let failed = "[ authmod=adobe ] : ?reason=authfailed&opaque=OPAQ";
        assert_eq!(answer(failed, &target(None), 7), wrong);
    }

    #[test]
    fn whatever_cannot_be_answered_fails() {
        let without = Target::parse("rtmp://host/app", "key").unwrap();
        assert_eq!(answer(NEEDED, &without, 7), Answer::Failed("user and password are required"));
        let incomplete = Answer::Failed("the challenge is incomplete");
        for text in ["authmod=adobe ?reason=needauth", "authmod=llnw ?reason=needauth&nonce=a\u{1}b"] {
            assert_eq!(answer(text, &target(None), 7), incomplete, "{text}");
        }
        let long = format!("authmod=llnw ?reason=needauth&nonce={}", "n".repeat(MAX_VALUE + 1));
        assert_eq!(answer(&long, &target(None), 7), incomplete);
        assert!(matches!(answer("authmod=other", &target(None), 7), Answer::Failed(_)));
        assert!(matches!(answer(NEEDED, &target(Some("authmod=adobe&user=me")), 7), Answer::Failed(_)));
    }
}
