//! Simulcast targets: the endpoints, and their statuses over a broadcast.
#![allow(clippy::unwrap_used)] // The helpers of tests are tests too.

use axum::http::StatusCode;
use control::lifecycle::{Effect, Event, Protocol, Severity, SimulcastStatus};
use control::{Config, Control, SimulcastRendition};
use media::id::{BroadcastId, ContributionId, LiveStreamId, SimulcastTargetId};
use serde_json::{Value, json};

use crate::common::{Client, EffectLog, Recorder, STREAMS, config, open, open_simulcast};

/// A server with a live stream.
struct Server {
    control: Control,
    effects: EffectLog,
    client: Client,
    id: LiveStreamId,
    path: String,
    folder: tempfile::TempDir,
}

impl Server {
    async fn start(live_stream: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (control, effects) = open_simulcast(folder.path()).await;
        let client = Client(control::router(&control));
        let (id, _) = client.create(live_stream).await;
        let path = format!("{STREAMS}/{id}");
        Self { control, effects, client, id: id.parse().unwrap(), path, folder }
    }

    fn connect(&self) -> (ContributionId, BroadcastId) {
        let contribution = ContributionId::generate();
        let snapshot = self.control.connected(&self.id, contribution.clone(), Protocol::Rtmp).unwrap();
        (contribution, snapshot.broadcast.unwrap())
    }

    /// Returns the only target as the API returns it, which is the same in both endpoints.
    async fn target(&self) -> Value {
        let target = self.client.get(&self.path).await.data()["simulcast_targets"][0].clone();
        let one = self.client.get(&format!("{}/simulcast-targets/{}", self.path, target["id"].as_str().unwrap())).await;
        assert_eq!(*one.data(), target);
        target
    }

    fn report(&self, broadcast: &BroadcastId, target: &Value, status: SimulcastStatus) {
        self.control.simulcast_reported(&self.id, broadcast.clone(), id(target), status).unwrap();
    }

    /// Returns the effects so far that concern simulcast targets, as text.
    fn seen(&mut self) -> Vec<String> {
        let text = |effect| match effect {
            Effect::StartSimulcastTarget(..) => Some("start".to_owned()),
            Effect::StopSimulcastTarget(..) => Some("stop".to_owned()),
            Effect::Event(event @ Event::SimulcastTarget(..)) => {
                Some(event.as_str().trim_start_matches("video.live_stream.simulcast_target.").to_owned())
            }
            _ => None,
        };
        self.effects.effects().into_iter().filter_map(|(_, effect)| text(effect)).collect()
    }
}

fn id(target: &Value) -> SimulcastTargetId {
    target["id"].as_str().unwrap().parse().unwrap()
}

fn errored(severity: Severity, reason: &str) -> SimulcastStatus {
    SimulcastStatus::Errored { severity, reason: reason.to_owned() }
}

#[tokio::test]
async fn a_target_that_is_added_during_a_broadcast_starts_at_once() {
    let mut server = Server::start(json!({})).await;
    let (_, broadcast) = server.connect();
    let body =
        json!({"url": "rtmps://a.example/app", "stream_key": "their-key", "rendition": "720p", "passthrough": "p"});
    let added = server.client.post(&format!("{}/simulcast-targets", server.path), body.clone()).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.text);
    let mut expected = body;
    (expected["id"], expected["status"]) = (added.data()["id"].clone(), json!("starting"));
    assert_eq!((added.data(), &server.target().await), (&expected, &expected));

    let effects = server.effects.effects();
    let start = Effect::StartSimulcastTarget(broadcast, id(added.data()));
    let (settings, _) = effects.iter().find(|(_, effect)| *effect == start).unwrap();
    let target = &settings.simulcast_targets[0];
    assert_eq!((&target.id, target.url.as_str()), (&id(added.data()), "rtmps://a.example/app"));
    assert_eq!((target.stream_key.as_deref(), target.rendition), (Some("their-key"), SimulcastRendition::P720));
    assert!(!format!("{settings:?}").contains("their-key"), "secrets are hidden");
    let names: Vec<_> = effects
        .iter()
        .filter_map(|(_, effect)| if let Effect::Event(event) = effect { Some(event.as_str()) } else { None })
        .collect();
    assert_eq!(
        names[names.len() - 2..],
        ["video.live_stream.simulcast_target.created", "video.live_stream.simulcast_target.starting"]
    );
}

#[tokio::test]
async fn a_target_that_is_deleted_during_a_broadcast_stops_at_once() {
    let mut server = Server::start(json!({"simulcast_targets": [{"url": "rtmp://a/b"}]})).await;
    let (_, broadcast) = server.connect();
    let target = server.target().await;
    server.report(&broadcast, &target, SimulcastStatus::Broadcasting);
    assert_eq!(server.target().await["status"], "broadcasting");
    let one = format!("{}/simulcast-targets/{}", server.path, target["id"].as_str().unwrap());
    assert_eq!(server.client.delete(&one).await.status, StatusCode::NO_CONTENT);
    server.client.delete(&one).await.error(404, "not_found");
    // A report that was on its way.
    server.report(&broadcast, &target, errored(Severity::Normal, "the target closed the connection"));
    assert_eq!(server.seen(), ["created", "start", "starting", "broadcasting", "stop", "idle", "deleted"]);
    assert!(server.client.get(&server.path).await.data().get("simulcast_targets").is_none());
}

#[tokio::test]
async fn an_errored_target_has_severity_and_reason_until_it_broadcasts_again() {
    let mut server = Server::start(json!({"simulcast_targets": [{"url": "rtmp://a/b", "stream_key": "hush"}]})).await;
    let (_, broadcast) = server.connect();
    let target = server.target().await;
    assert_eq!((&target["status"], target.get("error_severity")), (&json!("starting"), None));
    server.report(&broadcast, &target, SimulcastStatus::Broadcasting);
    server.report(&broadcast, &target, errored(Severity::Normal, "refused: no stream hush"));
    let failed = server.target().await;
    assert_eq!(
        (&failed["status"], &failed["error_severity"], &failed["error"]),
        (&json!("errored"), &json!("normal"), &json!("refused: no stream …"))
    );
    server.report(&broadcast, &target, SimulcastStatus::Broadcasting);
    let again = server.target().await;
    assert_eq!(again["status"], "broadcasting");
    assert!(again.get("error_severity").is_none() && again.get("error").is_none());
    assert_eq!(server.seen(), ["created", "start", "starting", "broadcasting", "errored", "broadcasting"]);
}

#[tokio::test]
async fn a_fatal_error_lasts_until_the_next_broadcast() {
    let mut server = Server::start(json!({"simulcast_targets": [{"url": "rtmp://a/b"}]})).await;
    let (_, first) = server.connect();
    let target = server.target().await;
    server.report(&first, &target, errored(Severity::Fatal, "the stream key is wrong"));
    server.report(&first, &target, SimulcastStatus::Broadcasting);
    let failed = server.target().await;
    assert_eq!((&failed["status"], &failed["error_severity"]), (&json!("errored"), &json!("fatal")));
    server.client.put(&format!("{}/complete", server.path), json!({})).await;
    assert_eq!(server.target().await["status"], "idle");
    let (_, second) = server.connect();
    server.report(&first, &target, SimulcastStatus::Broadcasting);
    assert_eq!(server.target().await["status"], "starting");
    server.report(&second, &target, SimulcastStatus::Broadcasting);
    assert_eq!(server.target().await["status"], "broadcasting");
    let expected = ["created", "start", "starting", "errored", "idle", "start", "starting", "broadcasting"];
    assert_eq!(server.seen(), expected);
}

#[tokio::test]
async fn after_a_restart_no_target_broadcasts() {
    let server = Server::start(
        json!({"simulcast_targets": [{"url": "rtmp://a/b", "stream_key": "hush"}, {"url": "srt://a:1"}]}),
    )
    .await;
    let (contribution, broadcast) = server.connect();
    server.control.flowing(&server.id, contribution).unwrap();
    let target = server.target().await;
    server.report(&broadcast, &target, errored(Severity::Normal, "no stream hush"));
    server.report(&broadcast, &target, SimulcastStatus::Broadcasting);
    server.control.settled().await;
    // As after kill -9: nothing was closed, and the files are as they were at this moment.
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(server.folder.path()).unwrap() {
        let file = file.unwrap();
        assert!(!std::fs::read(file.path()).unwrap().windows(4).any(|text| text == b"hush"));
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let (control, mut effects) = open_simulcast(copy.path()).await;
    assert_eq!(effects.events(), ["disconnected", "simulcast_target.idle", "simulcast_target.idle", "idle"]);
    let stream = Client(control::router(&control)).get(&server.path).await;
    for target in stream.data()["simulcast_targets"].as_array().unwrap() {
        assert_eq!(target["status"], "idle");
    }
    control.shutdown().await;
    let (_, mut effects) = open_simulcast(copy.path()).await;
    assert!(effects.events().is_empty());
}

#[tokio::test]
async fn targets_of_a_server_that_cannot_simulcast_stay_idle() {
    server!(client, control, effects);
    let (stream, _) = client.create(json!({"simulcast_targets": [{"url": "rtmp://a/b"}]})).await;
    control.connected(&stream.parse().unwrap(), ContributionId::generate(), Protocol::Rtmp).unwrap();
    let path = format!("{STREAMS}/{stream}/simulcast-targets");
    let added = client.post(&path, json!({"url": "rtmp://a/b"})).await;
    assert_eq!((added.status, &added.data()["status"]), (StatusCode::CREATED, &json!("idle")));
    assert_eq!(client.get(&format!("{STREAMS}/{stream}")).await.data()["simulcast_targets"][0]["status"], "idle");
    let expected = ["created", "simulcast_target.created", "connected", "simulcast_target.created"];
    assert_eq!(effects.events(), expected);
}

#[tokio::test]
async fn the_number_of_targets_is_limited() {
    let folder = tempfile::tempdir().unwrap();
    for most in [control::MAX_SIMULCAST_TARGETS, 2, 30] {
        let folder = folder.path().join(most.to_string());
        std::fs::create_dir(&folder).unwrap();
        let config = Config { max_simulcast_targets: most, ..config(&folder) };
        let recorder = Recorder::new(tokio::sync::mpsc::unbounded_channel().0);
        let (control, _) = Control::open(config, std::sync::Arc::new(recorder)).await.unwrap();
        let client = Client(control::router(&control));
        let targets = |number| json!({"simulcast_targets": vec![json!({"url": "rtmp://a/b"}); number]});
        let message = client.post(STREAMS, targets(most + 1)).await.error(400, "invalid_parameters");
        assert_eq!(message, format!("simulcast_targets: must have at most {most} entries"));
        let (id, _) = client.create(targets(most - 1)).await;
        let path = format!("{STREAMS}/{id}/simulcast-targets");
        let last = client.post(&path, json!({"url": "rtmp://a/b"})).await;
        assert_eq!(last.status, StatusCode::CREATED);
        let message = client.post(&path, json!({"url": "rtmp://a/b"})).await.error(400, "invalid_parameters");
        assert_eq!(message, format!("a live stream can have at most {most} simulcast targets"));
        client.delete(&format!("{path}/{}", last.data()["id"].as_str().unwrap())).await;
        assert_eq!(client.post(&path, json!({"url": "rtmp://a/b"})).await.status, StatusCode::CREATED);
    }
}

#[tokio::test]
async fn invalid_targets_are_refused_with_the_reason() {
    server!(client);
    let (stream, _) = client.create(json!({})).await;
    let path = format!("{STREAMS}/{stream}/simulcast-targets");
    for (body, message) in [
        (json!({}), "url: is required"),
        (json!({"url": "https://hush/a"}), "url: must be a URL that begins with rtmp://, rtmps:// or srt://"),
        (json!({"url": "rtmp://hush"}), "url: must contain the application name, as in rtmp://host/app"),
        (json!({"url": "srt://hush"}), "url: must be a URL of an SRT listener: the address must have a port"),
        (json!({"url": "srt://a:1", "stream_key": "hush"}), "stream_key: is only allowed with rtmp and rtmps"),
        (json!({"url": "rtmp://a/b", "stream_key": "hush\n"}), "stream_key: must not contain spaces or line breaks"),
        (
            json!({"url": "rtmp://a/b", "rendition": "1440p"}),
            "rendition: must be one of source, 1080p, 720p, 540p, 480p, 360p, 270p, not 1440p",
        ),
    ] {
        let refused = client.post(&path, body.clone()).await.error(400, "invalid_parameters");
        assert!(refused.starts_with(message) && !refused.contains("hush"), "{body}: {refused}");
    }
    // Fields that only the server sets are ignored.
    let sent =
        json!({"url": "rtmp://a/b", "id": "x", "status": "broadcasting", "error_severity": "fatal", "error": "e"});
    let target = client.post(&path, sent).await.data().clone();
    assert_eq!(target, json!({"url": "rtmp://a/b", "id": target["id"], "status": "idle"}));
    for id in ["x", "not an id"] {
        client.delete(&format!("{path}/{}", id.replace(' ', "%20"))).await.error(404, "not_found");
    }
}

#[tokio::test]
async fn an_update_takes_back_targets_as_they_were_received_but_not_changed_ones() {
    let targets =
        json!([{"url": "rtmp://a/b", "rendition": "480p", "later": 1}, {"url": "rtmp://a/c", "stream_key": "k"}]);
    let mut server = Server::start(json!({"reconnect_window": 30, "simulcast_targets": targets})).await;
    let (_, broadcast) = server.connect();
    let received = server.client.get(&server.path).await.data().clone();
    server.report(&broadcast, &server.target().await, errored(Severity::Normal, "refused"));
    let mut newer = server.client.get(&server.path).await.data().clone();
    server.effects.events();
    for sent in [&received, &newer] {
        let same = server.client.patch(&server.path, sent.clone()).await;
        assert_eq!((same.status, same.data()), (StatusCode::OK, &newer), "{}", same.text);
    }
    assert!(server.effects.events().is_empty());
    newer["simulcast_targets"][1]["url"] = json!("rtmp://a/d");
    let changed = server.client.patch(&server.path, newer.clone()).await.error(400, "invalid_parameters");
    assert_eq!(changed, "simulcast_targets: cannot be changed by an update");
    newer["simulcast_targets"].as_array_mut().unwrap().pop();
    let fewer = server.client.patch(&server.path, newer).await.error(400, "invalid_parameters");
    assert_eq!(fewer, "simulcast_targets: cannot be changed by an update");
}
