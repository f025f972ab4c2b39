//! A client of the API.

use serde_json::{Value, json};

use super::{Answer, Client, until};

/// A created live stream.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub id: String,
    pub key: String,
    pub srt_passphrase: String,
    pub playback_id: String,
}

/// A client with the token of the server under test.
#[derive(Clone)]
pub(crate) struct Api {
    client: Client,
}

const STREAMS: &str = "/video/v1/live-streams";

fn targets(stream: &Stream) -> String {
    format!("{STREAMS}/{}/simulcast-targets", stream.id)
}

impl Api {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Creates a public live stream in this latency mode, with further fields.
    pub(crate) fn create(&self, latency_mode: &str, more: Value) -> Stream {
        let mut body = json!({ "playback_policies": ["public"], "latency_mode": latency_mode });
        let fields = body.as_object_mut().expect("an object");
        fields.extend(more.as_object().cloned().unwrap_or_default());
        let answer = self.client.call("POST", STREAMS, Some(&body));
        assert_eq!(answer.status, 201, "create: {}", answer.text());
        let data = &answer.json()["data"];
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text in {data}")).to_owned();
        Stream {
            id: text(&data["id"]),
            key: text(&data["stream_key"]),
            srt_passphrase: text(&data["srt_passphrase"]),
            playback_id: text(&data["playback_ids"][0]["id"]),
        }
    }

    /// Tries to create a live stream, and returns the response.
    pub(crate) fn try_create(&self) -> Answer {
        self.client.call("POST", STREAMS, Some(&json!({})))
    }

    pub(crate) fn get(&self, stream: &Stream) -> Answer {
        self.client.get(&format!("{STREAMS}/{}", stream.id))
    }

    /// Performs a PUT action: `complete`, `disable` or `enable`.
    pub(crate) fn put(&self, stream: &Stream, action: &str) {
        let answer = self.client.call("PUT", &format!("{STREAMS}/{}/{action}", stream.id), None);
        assert_eq!(answer.status, 200, "{action}: {}", answer.text());
    }

    /// Resets the stream key, and returns the new one.
    pub(crate) fn reset_key(&self, stream: &Stream) -> String {
        let answer = self.client.call("POST", &format!("{STREAMS}/{}/reset-stream-key", stream.id), None);
        assert!((200..300).contains(&answer.status), "reset-stream-key: {}", answer.text());
        answer.json()["data"]["stream_key"].as_str().expect("a stream key").to_owned()
    }

    /// Adds a simulcast target with these fields, and returns its id.
    pub(crate) fn add_target(&self, stream: &Stream, fields: Value) -> String {
        let answer = self.client.call("POST", &targets(stream), Some(&fields));
        assert_eq!(answer.status, 201, "simulcast-targets: {}", answer.text());
        answer.json()["data"]["id"].as_str().expect("an id").to_owned()
    }

    /// Returns a simulcast target.
    pub(crate) fn target(&self, stream: &Stream, id: &str) -> Value {
        let answer = self.client.get(&format!("{}/{id}", targets(stream)));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["data"].clone()
    }

    pub(crate) fn delete_target(&self, stream: &Stream, id: &str) {
        let answer = self.client.call("DELETE", &format!("{}/{id}", targets(stream)), None);
        assert_eq!(answer.status, 204, "delete: {}", answer.text());
    }

    /// Waits until a simulcast target has a status: as in the API, and with the severity after it for errors.
    pub(crate) fn wait_for_target(&self, stream: &Stream, id: &str, status: &str) {
        until(&format!("target {status}"), || {
            let target = self.target(stream, id);
            let parts = [&target["status"], &target["error_severity"]];
            let now = parts.into_iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
            (now == status).then_some(())
        });
    }

    pub(crate) fn delete(&self, stream: &Stream) {
        let answer = self.client.call("DELETE", &format!("{STREAMS}/{}", stream.id), None);
        assert_eq!(answer.status, 204, "delete: {}", answer.text());
    }

    pub(crate) fn status(&self, stream: &Stream) -> String {
        let answer = self.get(stream);
        answer.json()["data"]["status"].as_str().unwrap_or_else(|| panic!("no status: {}", answer.text())).to_owned()
    }

    pub(crate) fn wait_for(&self, stream: &Stream, status: &str) {
        until(&format!("status {status}"), || (self.status(stream) == status).then_some(()));
    }
}
