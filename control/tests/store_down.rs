//! A failing store: live streams continue, their transitions are stored when it is back, and the failure is reported.
#![allow(clippy::unwrap_used)] // The helpers of tests are tests too.

mod common;

use std::path::Path;
use std::time::Duration;

use common::{Client, STREAMS, open, open_simulcast};
use control::lifecycle::{Phase, Protocol};
use control::{Control, Status, StoreStatus};
use media::id::{ContributionId, LiveStreamId};
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};

fn parse(id: &str) -> LiveStreamId {
    id.parse().unwrap()
}

/// Another program that holds the lock of the database.
async fn lock(folder: &Path) -> SqliteConnection {
    let mut db = SqliteConnectOptions::new().filename(folder.join("weir.db")).connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut db).await.unwrap();
    db
}

async fn until(control: &Control, condition: impl Fn(&StoreStatus) -> bool) -> StoreStatus {
    loop {
        let status = control.store_status();
        if condition(&status) {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn connect(control: &Control, id: &LiveStreamId) -> (ContributionId, control::Snapshot) {
    let contribution = ContributionId::generate();
    let snapshot = control.connected(id, contribution.clone(), Protocol::Srt).unwrap();
    (contribution, snapshot)
}

#[tokio::test]
async fn broadcasts_continue_while_another_program_holds_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let (control, mut effects) = open(folder.path()).await;
    let client = Client(control::router(&control));
    let (live, _) = client.create(json!({"reconnect_window": 600})).await;
    let (idle, _) = client.create(json!({})).await;
    let (ended, _) = client.create(json!({})).await;
    let [live, idle, ended] = [live, idle, ended].map(|id| parse(&id));
    let (first, begun) = connect(&control, &live);
    control.flowing(&live, first.clone()).unwrap();
    control.settled().await;

    let lock = lock(folder.path()).await;
    control.disconnected(&live, first).unwrap();
    let status = until(&control, |status| status.fault.is_some()).await;
    assert_eq!(status.fault.unwrap(), "another program holds the lock of the database");
    assert_eq!((status.queued, status.failures), (1, 1));

    // An encoder that returns within its window, one whose live stream was idle, and one that is disconnected.
    let (second, returned) = connect(&control, &live);
    assert_eq!(returned.broadcast, begun.broadcast);
    assert_eq!(control.flowing(&live, second).unwrap().phase, Phase::Active);
    let (other, fresh) = connect(&control, &idle);
    assert!(fresh.broadcast.is_some());
    assert_eq!(control.flowing(&idle, other).unwrap().status, Status::Active);
    connect(&control, &ended);
    assert_eq!(client.put(&format!("{STREAMS}/{ended}/complete"), json!({})).await.status, 200);

    // The API reports the current state, and refuses changes that it cannot store.
    assert_eq!(client.get(&format!("{STREAMS}/{live}")).await.data()["status"], "active");
    assert_eq!(client.get(&format!("{STREAMS}?status=active")).await.data().as_array().unwrap().len(), 2);
    let refusals = [
        client.post(STREAMS, json!({})).await,
        client.patch(&format!("{STREAMS}/{live}"), json!({"passthrough": "new"})).await,
        client.put(&format!("{STREAMS}/{live}/disable"), json!({})).await,
        client.delete(&format!("{STREAMS}/{live}")).await,
    ];
    for refused in refusals {
        refused.error(503, "service_unavailable");
        assert!(refused.headers.contains_key("retry-after"));
    }
    assert_eq!(control.store_status().failures, 1);

    drop(lock);
    let status = until(&control, |status| status.fault.is_none() && status.queued == 0).await;
    assert_eq!(status.failures, 1);
    client.patch(&format!("{STREAMS}/{live}"), json!({"passthrough": "new"})).await.data();
    effects.events();
    // The disk has the current states of the live streams, so the next process ends two broadcasts.
    let (_, mut effects) = open(folder.path()).await;
    assert_eq!(effects.events(), ["disconnected", "idle", "disconnected", "idle"]);
}

#[tokio::test]
async fn an_edit_is_kept_with_transitions_during_its_write() {
    let folder = tempfile::tempdir().unwrap();
    let (control, _effects) = open(folder.path()).await;
    let client = Client(control::router(&control));
    let (id, _) = client.create(json!({"reconnect_window": 600})).await;
    let lock = lock(folder.path()).await;
    let disable = tokio::spawn({
        let (client, path) = (Client(control::router(&control)), format!("{STREAMS}/{id}/disable"));
        async move { client.put(&path, json!({})).await.status }
    });
    // The store waits for the lock to write the edit. Meanwhile, an encoder connects and disconnects.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (contribution, _) = connect(&control, &parse(&id));
    control.disconnected(&parse(&id), contribution).unwrap();
    drop(lock);
    assert_eq!(disable.await.unwrap(), 200);
    control.shutdown().await;

    let (control, _effects) = open(folder.path()).await;
    assert_eq!(Client(control::router(&control)).get(&format!("{STREAMS}/{id}")).await.data()["status"], "disabled");
}

#[tokio::test]
async fn a_target_that_is_added_while_an_encoder_connects_starts_once() {
    let folder = tempfile::tempdir().unwrap();
    let (control, mut effects) = open_simulcast(folder.path()).await;
    let client = Client(control::router(&control));
    let (id, _) = client.create(json!({})).await;
    let lock = lock(folder.path()).await;
    let add = tokio::spawn({
        let (client, path) = (Client(control::router(&control)), format!("{STREAMS}/{id}/simulcast-targets"));
        async move { client.post(&path, json!({"url": "rtmp://a/b"})).await.data()["status"].clone() }
    });
    // The store waits for the lock to write the edit. Meanwhile, an encoder connects.
    tokio::time::sleep(Duration::from_millis(100)).await;
    connect(&control, &parse(&id));
    assert_eq!(effects.events(), ["created", "connected"]);
    drop(lock);
    assert_eq!(add.await.unwrap(), "starting");
    assert_eq!(effects.events(), ["simulcast_target.created", "simulcast_target.starting"]);
    control.shutdown().await;

    let (_, mut effects) = open_simulcast(folder.path()).await;
    assert_eq!(effects.events(), ["disconnected", "simulcast_target.idle", "idle"]);
}

#[tokio::test]
async fn a_restart_while_the_store_fails_leaves_no_broadcast() {
    let folder = tempfile::tempdir().unwrap();
    let (control, _effects) = open(folder.path()).await;
    let (id, _) = Client(control::router(&control)).create(json!({"reconnect_window": 600})).await;
    let (contribution, _) = connect(&control, &parse(&id));
    control.flowing(&parse(&id), contribution).unwrap();
    control.settled().await;
    let lock = lock(folder.path()).await;
    // The last transition is not stored, and the shutdown does not wait long for the lock.
    let completed = Client(control::router(&control)).put(&format!("{STREAMS}/{id}/complete"), json!({})).await;
    assert_eq!(completed.status, 200, "{}", completed.text);
    control.shutdown().await;

    // The lock is still held when the next process starts.
    let (control, mut effects) = open(folder.path()).await;
    assert_eq!(effects.events(), ["disconnected", "idle"]);
    let client = Client(control::router(&control));
    assert_eq!(client.get(&format!("{STREAMS}/{id}")).await.data()["status"], "idle");
    drop(lock);
    until(&control, |status| status.fault.is_none() && status.queued == 0).await;
    control.shutdown().await;
    let (_, mut effects) = open(folder.path()).await;
    assert!(effects.events().is_empty());
}

#[tokio::test]
async fn a_deleted_database_file_is_detected() {
    let folder = tempfile::tempdir().unwrap();
    let (control, _effects) = open(folder.path()).await;
    let client = Client(control::router(&control));
    let (id, _) = client.create(json!({})).await;
    let (path, aside) = (folder.path().join("weir.db"), folder.path().join("aside"));
    std::fs::rename(&path, &aside).unwrap();
    let status = until(&control, |status| status.fault.is_some()).await;
    assert_eq!(status.fault.unwrap(), "the database file was deleted or moved away");
    let (contribution, _) = connect(&control, &parse(&id));
    assert_eq!(control.flowing(&parse(&id), contribution).unwrap().status, Status::Active);
    client.post(STREAMS, json!({})).await.error(503, "service_unavailable");

    std::fs::copy(&aside, &path).unwrap();
    until(&control, |status| status.fault.as_ref().is_some_and(|fault| fault.contains("replaced"))).await;
    std::fs::rename(&aside, &path).unwrap();
    until(&control, |status| status.fault.is_none() && status.queued == 0).await;
    client.create(json!({})).await;
}
