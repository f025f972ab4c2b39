//! Tests of the store: faults of the disk and of the database file.

use std::path::Path;

use media::WallTime;

use super::*;
use crate::lifecycle::State;
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
