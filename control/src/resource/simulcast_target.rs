//! A simulcast target as the store keeps it, and with what is needed to send to it.

use std::fmt;

use media::id::SimulcastTargetId;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::serde_format;
use crate::settings::{CreateSimulcastTargetRequest, Extras, SimulcastRendition};

/// Fields of a simulcast target that only the server sets. They are ignored in requests.
pub(super) const READ_ONLY: [&str; 4] = ["id", "status", "error_severity", "error"];
/// Longest reason of an error, in characters. The rest is cut off.
const MAX_REASON: usize = 500;
/// Length in bytes from which a part of a URL is taken for a secret. A shorter one occurs in ordinary words.
const MIN_SECRET: usize = 4;
/// Text that takes the place of a secret.
const MASK: &str = "…";

/// Another service that the programme is sent to.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SimulcastTargetRecord {
    #[serde(with = "serde_format::id")]
    pub(crate) id: SimulcastTargetId,
    pub(crate) url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stream_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) passthrough: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "known_rendition")]
    pub(crate) rendition: Option<SimulcastRendition>,
    #[serde(flatten)]
    pub(crate) extras: Extras,
}

/// A simulcast target with its secrets, for the connection to it.
#[derive(Clone, PartialEq, Eq)]
pub struct SimulcastTargetSettings {
    /// Id of the simulcast target.
    pub id: SimulcastTargetId,
    /// `rtmp`, `rtmps` or `srt` URL, which may contain secrets.
    pub url: String,
    /// Stream key at the other service, a secret. `None` if it is part of the URL.
    pub stream_key: Option<String>,
    /// Rendition to send.
    pub rendition: SimulcastRendition,
}

impl SimulcastTargetRecord {
    /// Returns the reason of an error as clients may see it: short, on one line, and without the secrets of this
    /// target, which the other service may have repeated in its own message.
    pub(crate) fn public_reason(&self, reason: &str) -> String {
        let clean = reason.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect::<String>();
        let masked = self.secrets().iter().fold(clean, |text, secret| text.replace(secret, MASK));
        masked.chars().take(MAX_REASON).collect()
    }

    /// Returns whether a client sends this target back as it received it. Its status may have changed since then.
    pub(crate) fn is_unchanged_in(&self, sent: &Value) -> bool {
        let without_status = |target: Value| match target {
            Value::Object(mut fields) => {
                fields.retain(|name, _| !["status", "error_severity", "error"].contains(&name.as_str()));
                Some(fields)
            }
            _ => None,
        };
        let kept = serde_json::to_value(self).ok().and_then(without_status);
        kept.is_some() && kept == without_status(sent.clone())
    }

    /// Returns what is, or may contain, a secret; the longest first, because it may contain others.
    fn secrets(&self) -> Vec<&str> {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        // Without a stream key beside it, the last segment of the path is the stream key.
        let key = self.stream_key.as_deref().or_else(|| path.rsplit('/').next());
        let mut secrets: Vec<_> = [self.url.as_str(), rest, query].into_iter().chain(key).chain(user).collect();
        secrets.extend(user.and_then(|user| user.split_once(':')).map(|(_, password)| password));
        secrets.extend(query.split('&').filter_map(|option| option.split_once('=')).map(|(_, value)| value));
        secrets.retain(|secret| secret.len() >= MIN_SECRET);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets
    }
}

impl From<CreateSimulcastTargetRequest> for SimulcastTargetRecord {
    fn from(request: CreateSimulcastTargetRequest) -> Self {
        let CreateSimulcastTargetRequest { passthrough, stream_key, url, rendition, mut extras } = request;
        for name in READ_ONLY {
            extras.remove(name);
        }
        Self { id: SimulcastTargetId::generate(), url, stream_key, passthrough, rendition, extras }
    }
}

impl From<&SimulcastTargetRecord> for SimulcastTargetSettings {
    fn from(target: &SimulcastTargetRecord) -> Self {
        Self {
            id: target.id.clone(),
            url: target.url.clone(),
            stream_key: target.stream_key.clone(),
            rendition: target.rendition.unwrap_or_default(),
        }
    }
}

impl fmt::Debug for SimulcastTargetRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimulcastTargetRecord({})", self.id)
    }
}

impl fmt::Debug for SimulcastTargetSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimulcastTargetSettings({}, hidden)", self.id)
    }
}

/// Deserializes a stored rendition. A version that did not know the field yet may have stored any value there.
fn known_rendition<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SimulcastRendition>, D::Error> {
    let stored = Value::deserialize(from)?;
    Ok(serde_json::from_value(stored).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn target(json: Value) -> SimulcastTargetRecord {
        SimulcastTargetRecord::from(serde_json::from_value::<CreateSimulcastTargetRequest>(json).unwrap())
    }

    #[test]
    fn a_public_reason_has_no_secret_and_is_short() {
        for (json, reason, public) in [
            (json!({"url": "rtmp://host/live", "stream_key": "hush"}), "no stream hush in live", "no stream … in live"),
            (json!({"url": "rtmp://host/live/hush?token=also"}), "hush?token=also, also", "…?…, …"),
            (
                json!({"url": "rtmps://me:hush@host/app"}),
                "me:hush may not publish, hush\nis wrong",
                "… may not publish, … is wrong",
            ),
            (json!({"url": "srt://host:1?streamid=hush&mode=caller"}), "srt://host:1?streamid=hush&mode=caller", "…"),
            (json!({"url": "rtmp://host/a", "stream_key": "abc"}), "abcdef", "abcdef"),
        ] {
            assert_eq!(target(json).public_reason(reason), public);
        }
        let long = target(json!({"url": "rtmp://host/a"})).public_reason(&"é".repeat(2 * MAX_REASON));
        assert_eq!(long.chars().count(), MAX_REASON);
    }

    #[test]
    fn targets_of_an_earlier_version_are_read() {
        let id = SimulcastTargetId::generate();
        for (rendition, read) in
            [(json!("best"), None), (json!([1]), None), (json!("720p"), Some(SimulcastRendition::P720))]
        {
            let stored = json!({"id": id.as_str(), "url": "rtmp://a", "rendition": rendition, "later": 1});
            let target: SimulcastTargetRecord = serde_json::from_value(stored).unwrap();
            assert_eq!((target.rendition, &target.extras["later"]), (read, &json!(1)));
        }
    }

    #[test]
    fn secrets_are_not_in_the_debug_text() {
        let record = target(json!({"url": "srt://hush:1", "stream_key": "hush", "passthrough": "hush"}));
        assert!(!format!("{record:?} {:?}", SimulcastTargetSettings::from(&record)).contains("hush"));
    }
}
