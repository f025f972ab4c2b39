//! Tests of the store: faults of the disk and of the database file.

use std::path::Path;

use media::WallTime;

use super::*;
use crate::lifecycle::State;
use crate::resource::LiveStream;
use crate::settings::Settings;

/// Creates a store with one live stream in `folder`.
async fn store_with_one(folder: &Path) -> (Store, Keyring, LiveStreamRecord) {
    let keyring = Keyring::create(&folder.join("secret.key")).unwrap();
    let mut store = Store::open(&format!("sqlite://{}", folder.join("weir.db").display())).await.unwrap();
    let record = LiveStreamRecord::new(Settings::default(), WallTime::from_unix_millis(1));
    store.write(&Write::Insert(1, Box::new(record.clone())), &keyring).await.unwrap();
    (store, keyring, record)
}

fn larger(record: &LiveStreamRecord) -> Write {
    let mut large = record.clone();
    large.settings.passthrough = Some("x".repeat(1 << 20));
    Write::Update(Box::new((record.clone(), large)))
}

#[tokio::test]
async fn writes_succeed_again_after_the_disk_was_full() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, keyring, record) = store_with_one(folder.path()).await;
    // The limit applies to one connection, as a full disk applies to one moment.
    sqlx::query("PRAGMA max_page_count = 1").execute(store.connection.as_mut().unwrap()).await.unwrap();
    let full = store.write(&larger(&record), &keyring).await.unwrap_err();
    assert_eq!(full.store_fault().unwrap(), "the disk is full");
    store.write(&larger(&record), &keyring).await.unwrap();
    store.write_states(&[(record.id.clone(), State { enabled: false, broadcast: None })]).await.unwrap();
    let kept = store.all(&keyring).await.unwrap();
    assert_eq!(kept.len(), 1);
    assert!(!kept[0].1.state.enabled && kept[0].1.settings.passthrough.is_some());
}

#[tokio::test]
async fn a_read_only_database_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, keyring, record) = store_with_one(folder.path()).await;
    sqlx::query("PRAGMA query_only = 1").execute(store.connection.as_mut().unwrap()).await.unwrap();
    let error = store.write(&larger(&record), &keyring).await.unwrap_err();
    assert_eq!(error.store_fault().unwrap(), "the database is read-only");
    // A new connection succeeds as soon as the database is writable.
    store.probe().await.unwrap();
}

#[tokio::test]
async fn an_invalid_write_is_not_a_fault_of_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, keyring, record) = store_with_one(folder.path()).await;
    let twice = store.write(&Write::Insert(2, Box::new(record)), &keyring).await.unwrap_err();
    assert!(twice.store_fault().is_none(), "{twice}");
}

/// Replaces the secrets of the live stream by this JSON.
async fn seal(store: &mut Store, keyring: &Keyring, record: &LiveStreamRecord, secrets: &serde_json::Value) {
    let sealed = keyring.seal(record.id.as_str(), secrets.to_string().as_bytes()).unwrap();
    let query = sqlx::query("UPDATE live_streams SET secrets = $1").bind(sealed);
    query.execute(store.connection.as_mut().unwrap()).await.unwrap();
}

#[tokio::test]
async fn simulcast_targets_of_an_earlier_version_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, keyring, record) = store_with_one(folder.path()).await;
    let target =
        serde_json::json!({"id": "t", "url": "rtmp://a", "error": "kept", "rendition": {"of": "another version"}});
    let secrets = serde_json::json!({"stream_key": "k", "srt_passphrase": "p", "simulcast_targets": [target]});
    seal(&mut store, &keyring, &record, &secrets).await;
    // The state of a broadcast without a field for simulcast targets.
    let state = r#"{"enabled":true,"broadcast":{"id":"b","since":1,"recorded":true,"encoder":{"is":"gone","at":2}}}"#;
    let query = sqlx::query("UPDATE live_streams SET state = $1").bind(state);
    query.execute(store.connection.as_mut().unwrap()).await.unwrap();
    let (_, read) = store.all(&keyring).await.unwrap().remove(0);
    assert!(read.state.broadcast.as_ref().unwrap().simulcast_targets.is_empty());
    assert_eq!(read.secrets.simulcast_targets[0].rendition, None);
    let shown = serde_json::to_value(LiveStream::from(read)).unwrap();
    let expected = serde_json::json!([{"id": "t", "url": "rtmp://a", "status": "idle"}]);
    assert_eq!(shown["simulcast_targets"], expected);
}

#[tokio::test]
async fn the_error_of_unreadable_secrets_does_not_repeat_them() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, keyring, record) = store_with_one(folder.path()).await;
    let secrets = serde_json::json!({"stream_key": "k", "srt_passphrase": "p", "simulcast_targets": "hush"});
    seal(&mut store, &keyring, &record, &secrets).await;
    let error = store.all(&keyring).await.unwrap_err();
    assert!(matches!(&error, Error::Corrupt { what, .. } if what == "secrets"), "{error}");
    assert!(!format!("{error:?} {error}").contains("hush"));
}

#[tokio::test]
async fn a_deleted_or_replaced_file_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, ..) = store_with_one(folder.path()).await;
    let (path, aside) = (folder.path().join("weir.db"), folder.path().join("aside"));
    std::fs::rename(&path, &aside).unwrap();
    assert!(matches!(store.probe().await, Err(Error::Deleted(_))));
    std::fs::copy(&aside, &path).unwrap();
    assert!(matches!(store.probe().await, Err(Error::Replaced(_))));
    std::fs::rename(&aside, &path).unwrap();
    store.probe().await.unwrap();
}
