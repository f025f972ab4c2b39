//! Data that outlives the process, secrets on disk, and the deadlines of the lifecycle.
#![allow(clippy::unwrap_used)] // The helpers of tests are tests too.

mod common;

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use axum::http::StatusCode;
use common::{Client, EffectLog, Recorder, STREAMS, config, open, open_simulcast};
use control::lifecycle::{DisconnectReason, Effect, Phase, Protocol, SimulcastStatus};
use control::{Config, Control, Error, KeyLookup, Snapshot, Status, StoreState};
use media::id::{ContributionId, LiveStreamId};
use serde_json::json;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::mpsc;

async fn publish(control: &Control, id: &LiveStreamId) -> (ContributionId, Snapshot) {
    let contribution = ContributionId::generate();
    let snapshot = control.connected(id, contribution.clone(), Protocol::Rtmp).unwrap();
    (contribution, snapshot)
}

fn parse(id: &str) -> LiveStreamId {
    id.parse().unwrap()
}

#[tokio::test]
async fn everything_is_restored_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (control, mut effects) = open(folder.path()).await;
    let client = Client(control::router(&control));
    let (live, first) = client.create(json!({"playback_policies": ["public"], "passthrough": "p", "later": [1]})).await;
    let (off, _) =
        client.create(json!({"simulcast_targets": [{"url": "rtmp://a/b", "stream_key": "their-key"}]})).await;
    client.put(&format!("{STREAMS}/{off}/disable"), json!({})).await;
    let (contribution, _) = publish(&control, &parse(&live)).await;
    control.flowing(&parse(&live), contribution).unwrap();
    control.settled().await;
    let before = client.get(STREAMS).await;
    assert_eq!(before.data()[1]["status"], "active");
    assert_eq!(before.data()[1]["active_ingest_protocol"], "rtmp");
    assert_eq!(
        effects.events(),
        ["created", "created", "simulcast_target.created", "disabled", "connected", "recording", "active"]
    );
    // As after kill -9: nothing was closed, and the files are as they were at this moment.
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }

    let (control, mut effects) = open(copy.path()).await;
    let client = Client(control::router(&control));
    assert_eq!(effects.events(), ["disconnected", "idle"]);
    let mut expected = before.data().clone();
    expected[1]["status"] = json!("idle");
    expected[1].as_object_mut().unwrap().remove("active_ingest_protocol");
    assert_eq!(client.get(STREAMS).await.data(), &expected);
    assert!(matches!(control.find_key(first["stream_key"].as_str().unwrap()), KeyLookup::Found(_)));
    assert!(control.find_playback(first["playback_ids"][0]["id"].as_str().unwrap()).is_some());
    control.shutdown().await;
    let (_, mut effects) = open(copy.path()).await;
    assert!(effects.events().is_empty());
}

#[tokio::test]
async fn secrets_are_not_readable_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (control, _effects) = open(folder.path()).await;
    let client = Client(control::router(&control));
    let targets = json!([{"url": "srt://a.example:1?passphrase=their-passphrase"}, {"url": "rtmp://a/b", "stream_key": "their-key"}]);
    let (id, stream) = client.create(json!({"passthrough": "in-the-open", "simulcast_targets": targets})).await;
    let reset = client.post(&format!("{STREAMS}/{id}/reset-stream-key"), json!({})).await;
    control.shutdown().await;
    let disk: Vec<u8> = std::fs::read_dir(folder.path())
        .unwrap()
        .flat_map(|file| std::fs::read(file.unwrap().path()).unwrap())
        .collect();
    let holds = |text: &str| disk.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("in-the-open") && holds(&id));
    for secret in [&stream["stream_key"], &stream["srt_passphrase"], &reset.data()["stream_key"]] {
        assert!(!holds(secret.as_str().unwrap()));
    }
    assert!(!holds("their-passphrase") && !holds("their-key") && !holds(common::SECRET));
}

#[tokio::test]
async fn another_key_file_does_not_open_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let (control, _effects) = open(folder.path()).await;
    Client(control::router(&control)).create(json!({})).await;
    control.shutdown().await;
    let again = async || {
        let (sender, _receiver) = mpsc::unbounded_channel();
        Control::open(config(folder.path()), Arc::new(Recorder::new(sender))).await.err()
    };
    let key = folder.path().join("secret.key");
    std::fs::write(&key, [7; 32]).unwrap();
    assert!(matches!(again().await, Some(Error::Sealed(_))));
    std::fs::remove_file(&key).unwrap();
    let missing = again().await.unwrap();
    assert!(matches!(missing, Error::KeyFileMissing(_)), "{missing}");
    assert!(missing.to_string().contains(&key.display().to_string()), "{missing}");
    assert!(!key.exists(), "no new key is generated for a database that it cannot decrypt");
}

#[tokio::test]
async fn an_access_token_is_generated_once_and_only_its_hash_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { token: None, ..config(folder.path()) };
    let start = async || {
        let (sender, _receiver) = mpsc::unbounded_channel();
        Control::open(config.clone(), Arc::new(Recorder::new(sender))).await.unwrap()
    };
    let (control, fresh) = start().await;
    let fresh = fresh.expect("a token at the first start");
    assert!(!format!("{fresh:?}").contains(&fresh.secret));
    control.shutdown().await;
    let (control, again) = start().await;
    assert!(again.is_none());
    let answer = Client(control::router(&control)).call_as(&fresh, "/system/v1/whoami").await;
    assert_eq!(answer.data()["access_token_name"], fresh.id);
    let wrong = control::Token { secret: fresh.id.clone(), ..fresh.clone() };
    Client(control::router(&control)).call_as(&wrong, "/system/v1/whoami").await.error(401, "unauthorized");
    let file = std::fs::read(folder.path().join("weir.db")).unwrap();
    assert!(!file.windows(fresh.secret.len()).any(|window| window == fresh.secret.as_bytes()));
}

#[tokio::test]
async fn a_lost_access_token_is_replaced_after_the_stored_one_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { token: None, ..config(folder.path()) };
    let start = async || {
        let (sender, _receiver) = mpsc::unbounded_channel();
        Control::open(config.clone(), Arc::new(Recorder::new(sender))).await.unwrap()
    };
    let (control, lost) = start().await;
    let lost = lost.unwrap();
    let (id, _) = Client(control::router(&control)).create_as(&lost).await;
    control.shutdown().await;
    // As docs/operations.md describes it.
    let mut db = SqliteConnection::connect(&config.store_url).await.unwrap();
    sqlx::query("DELETE FROM access_tokens").execute(&mut db).await.unwrap();
    db.close().await.unwrap();
    let (control, made) = start().await;
    let made = made.expect("another token");
    let client = Client(control::router(&control));
    client.call_as(&lost, "/system/v1/whoami").await.error(401, "unauthorized");
    assert_eq!(client.call_as(&made, &format!("{STREAMS}/{id}")).await.data()["id"], id);
}

#[tokio::test]
async fn a_store_can_be_checked_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let good = config(folder.path());
    assert_eq!(control::check_store(&good).await.unwrap(), StoreState::Missing);
    assert_eq!(files(folder.path()), [], "nothing was created");
    let (control, _effects) = open(folder.path()).await;
    Client(control::router(&control)).create(json!({})).await;
    control.shutdown().await;
    assert_eq!(control::check_store(&good).await.unwrap(), StoreState::Current);
    for (url, words) in [
        ("sqlite:///nowhere/at/all/weir.db", "/nowhere/at/all/weir.db"),
        ("postgres://host/db", "sqlite://"),
        ("sqlite:///x?colour=red", "sqlite://"),
    ] {
        let error = control::check_store(&Config { store_url: url.to_owned(), ..good.clone() }).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(control::check_store_url(url).is_err(), !url.starts_with("sqlite:///nowhere"), "{url}");
    }
    std::fs::write(&good.key_file, [7; 32]).unwrap();
    assert!(matches!(control::check_store(&good).await, Err(Error::Sealed(_))));
    std::fs::remove_file(&good.key_file).unwrap();
    assert!(matches!(control::check_store(&good).await, Err(Error::KeyFileMissing(_))));
    std::fs::write(folder.path().join("weir.db"), "no database at all, and long enough to be looked at").unwrap();
    assert!(matches!(control::check_store(&good).await, Err(Error::Store(_))));
}

/// Returns the names and contents of the files in `folder`.
fn files(folder: &Path) -> Vec<(OsString, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mut files: Vec<_> = entries.map(|file| (file.file_name(), std::fs::read(file.path()).unwrap())).collect();
    files.sort();
    files
}

/// Checks the store in `folder`, and that the check changed no file in it.
async fn check_unchanged(folder: &Path) -> Result<StoreState, Error> {
    let before = files(folder);
    let state = control::check_store(&config(folder)).await;
    assert_eq!(files(folder), before);
    state
}

/// Executes SQL statements in the database of a server that does not run.
async fn execute(folder: &Path, statements: &[&'static str]) {
    let mut db = SqliteConnection::connect(&config(folder).store_url).await.unwrap();
    for statement in statements {
        sqlx::query(*statement).execute(&mut db).await.unwrap();
    }
    db.close().await.unwrap();
}

#[tokio::test]
async fn a_check_changes_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let (control, _effects) = open(folder.path()).await;
    Client(control::router(&control)).create(json!({})).await;
    // As after kill -9: the newest content is in the log beside the database.
    let killed = tempfile::tempdir().unwrap();
    for (name, bytes) in files(folder.path()) {
        std::fs::write(killed.path().join(name), bytes).unwrap();
    }
    control.shutdown().await;
    assert_eq!(check_unchanged(folder.path()).await.unwrap(), StoreState::Current);
    let database =
        |folder: &Path| files(folder).into_iter().filter(|(name, _)| name != "weir.db-shm").collect::<Vec<_>>();
    let before = database(killed.path());
    assert!(before.iter().any(|(name, bytes)| name == "weir.db-wal" && !bytes.is_empty()));
    std::fs::rename(killed.path().join("secret.key"), killed.path().join("aside")).unwrap();
    let missing = control::check_store(&config(killed.path())).await;
    assert!(matches!(missing, Err(Error::KeyFileMissing(_))), "the live stream in the log is read");
    std::fs::rename(killed.path().join("aside"), killed.path().join("secret.key")).unwrap();
    assert_eq!(control::check_store(&config(killed.path())).await.unwrap(), StoreState::Current);
    assert_eq!(database(killed.path()), before);
}

#[tokio::test]
async fn a_check_reports_pending_migrations_and_runs_none() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("weir.db"), "").unwrap();
    assert_eq!(check_unchanged(folder.path()).await.unwrap(), StoreState::Outdated(1));
    open(folder.path()).await.0.shutdown().await;
    assert_eq!(check_unchanged(folder.path()).await.unwrap(), StoreState::Current);
    let older = ["DELETE FROM _sqlx_migrations", "DROP TABLE playback_ids", "DROP TABLE live_streams"];
    execute(folder.path(), &older).await;
    assert_eq!(check_unchanged(folder.path()).await.unwrap(), StoreState::Outdated(1));
}

#[tokio::test]
async fn a_check_refuses_a_newer_database_as_the_server_does() {
    for change in [
        "INSERT INTO _sqlx_migrations SELECT 9999, 'later', installed_on, success, checksum, 0 FROM _sqlx_migrations",
        "UPDATE _sqlx_migrations SET checksum = x'00'",
    ] {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).await.0.shutdown().await;
        execute(folder.path(), &[change]).await;
        let checked = check_unchanged(folder.path()).await.unwrap_err();
        let (sender, _receiver) = mpsc::unbounded_channel();
        let served = Control::open(config(folder.path()), Arc::new(Recorder::new(sender))).await.err().unwrap();
        assert!(matches!(checked, Error::Migrate(_)), "{change}: {checked}");
        assert_eq!(format!("{checked:?}"), format!("{served:?}"), "{change}");
    }
}

#[tokio::test]
async fn the_reconnect_window_ends_without_an_input() {
    let folder = tempfile::tempdir().unwrap();
    let (control, mut effects) = open(folder.path()).await;
    let client = Client(control::router(&control));
    let (id, _) = client.create(json!({"reconnect_window": 0.05})).await;
    let (contribution, snapshot) = publish(&control, &parse(&id)).await;
    assert_eq!((snapshot.phase, snapshot.status), (Phase::Connected, Status::Idle));
    let broadcast = snapshot.broadcast.unwrap();
    let flowing = control.flowing(&parse(&id), contribution.clone()).unwrap();
    assert_eq!((flowing.status, flowing.broadcast.as_ref()), (Status::Active, Some(&broadcast)));
    let gone = control.disconnected(&parse(&id), contribution).unwrap();
    assert_eq!((gone.phase, gone.status), (Phase::Disconnected, Status::Active));
    for event in ["created", "connected", "recording", "active", "disconnected", "idle"] {
        assert_eq!(effects.event().await, event);
    }
    assert_eq!(client.get(&format!("{STREAMS}/{id}")).await.data()["status"], "idle");
}

#[tokio::test]
async fn a_shorter_window_applies_to_an_absent_encoder() {
    let folder = tempfile::tempdir().unwrap();
    let (control, mut effects) = open(folder.path()).await;
    let client = Client(control::router(&control));
    let (id, _) = client.create(json!({"reconnect_window": 1800})).await;
    let (contribution, _) = publish(&control, &parse(&id)).await;
    control.flowing(&parse(&id), contribution.clone()).unwrap();
    control.disconnected(&parse(&id), contribution).unwrap();
    client.patch(&format!("{STREAMS}/{id}"), json!({"reconnect_window": 0.05})).await;
    while effects.event().await != "idle" {}
}

#[tokio::test]
async fn the_api_disconnects_the_encoder() {
    let folder = tempfile::tempdir().unwrap();
    let (control, mut effects) = open(folder.path()).await;
    let client = Client(control::router(&control));
    for (call, reason) in [
        ("complete", DisconnectReason::Completed),
        ("reset-stream-key", DisconnectReason::KeyReset),
        ("disable", DisconnectReason::Disabled),
        ("", DisconnectReason::Deleted),
    ] {
        let (id, _) = client.create(json!({})).await;
        let path = format!("{STREAMS}/{id}");
        let (contribution, _) = publish(&control, &parse(&id)).await;
        let status = match call {
            "" => client.delete(&path).await.status,
            "reset-stream-key" => client.post(&format!("{path}/{call}"), json!({})).await.status,
            call => client.put(&format!("{path}/{call}"), json!({})).await.status,
        };
        assert!(status.is_success(), "{call}: {status}");
        loop {
            if let Effect::DisconnectEncoder { contribution: disconnected, reason: given } = effects.effect().await {
                assert_eq!((disconnected, given), (contribution, reason));
                break;
            }
        }
    }
    let gone = control.connected(&LiveStreamId::generate(), ContributionId::generate(), Protocol::Srt);
    assert!(matches!(gone, Err(Error::NotFound(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_changes_are_published_in_one_order() {
    let folder = tempfile::tempdir().unwrap();
    let (control, mut effects) = open(folder.path()).await;
    let client = Arc::new(Client(control::router(&control)));
    let (id, _) = client.create(json!({"reconnect_window": 30})).await;
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let (control, client, id) = (control.clone(), client.clone(), id.clone());
            tokio::spawn(async move {
                for round in 0..6 {
                    let (contribution, _) = publish(&control, &parse(&id)).await;
                    control.flowing(&parse(&id), contribution.clone()).unwrap();
                    control.disconnected(&parse(&id), contribution).unwrap();
                    let later = json!({"later": format!("{n}.{round}")});
                    assert_eq!(client.patch(&format!("{STREAMS}/{id}"), later).await.status, StatusCode::OK);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let mut events = effects.events();
    assert_eq!(events.iter().filter(|event| **event == "updated").count(), 48);
    events.retain(|event| *event != "updated");
    assert_eq!(events.iter().filter(|event| **event == "recording").count(), 1);
    let (mut connected, mut active) = (false, false);
    for event in events {
        match event {
            "connected" => assert!(!std::mem::replace(&mut connected, true)),
            "active" => assert!(connected && !std::mem::replace(&mut active, true)),
            "disconnected" => {
                assert!(std::mem::replace(&mut connected, false));
                active = false;
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn changes_are_refused_after_shutdown() {
    let folder = tempfile::tempdir().unwrap();
    let (control, _effects): (_, EffectLog) = open(folder.path()).await;
    let client = Client(control::router(&control));
    let (id, _) = client.create(json!({})).await;
    control.shutdown().await;
    client.put(&format!("{STREAMS}/{id}/disable"), json!({})).await.error(503, "service_unavailable");
}

/// Environment variable with the folder, if this test binary runs as the server that is killed.
const VICTIM: &str = "WEIR_TEST_VICTIM_FOLDER";

#[tokio::test]
async fn kill_9_loses_no_acknowledged_change() {
    if let Ok(folder) = std::env::var(VICTIM) {
        return victim(Path::new(&folder)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill_9_loses_no_acknowledged_change"])
        .env(VICTIM, folder.path())
        .status()
        .unwrap();
    assert!(!status.success());
    let (control, mut effects) = open_simulcast(folder.path()).await;
    let acknowledged = std::fs::read_to_string(folder.path().join("acknowledged")).unwrap();
    let listed = Client(control::router(&control)).get(STREAMS).await;
    assert_eq!(listed.data()[0]["stream_key"], acknowledged);
    assert_eq!(listed.data()[0]["simulcast_targets"][0]["status"], "idle");
    assert_eq!(effects.events(), ["disconnected", "simulcast_target.idle", "idle"]);
}

async fn victim(folder: &Path) {
    let (control, _effects) = open_simulcast(folder).await;
    let targets = json!({"simulcast_targets": [{"url": "rtmp://a/b"}]});
    let (id, stream) = Client(control::router(&control)).create(targets).await;
    let (contribution, snapshot) = publish(&control, &parse(&id)).await;
    control.flowing(&parse(&id), contribution).unwrap();
    let target = snapshot.settings.simulcast_targets[0].id.clone();
    let broadcasting = SimulcastStatus::Broadcasting;
    control.simulcast_reported(&parse(&id), snapshot.broadcast.unwrap(), target, broadcasting).unwrap();
    control.settled().await;
    std::fs::write(folder.join("acknowledged"), stream["stream_key"].as_str().unwrap()).unwrap();
    // The process sends SIGKILL to itself, so no destructor runs and nothing is closed.
    Command::new("kill").args(["-9", &std::process::id().to_string()]).status().unwrap();
    std::future::pending::<()>().await;
}
