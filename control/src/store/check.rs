//! Checks of a store without a server, which change nothing.

use std::path::Path;

use super::{Store, dialect};
use crate::config::Config;
use crate::error::Error;

/// Checks that `url` is supported as a [`Config::store_url`].
pub fn check_store_url(url: &str) -> Result<(), Error> {
    dialect::options(url).map(drop)
}

/// Checks that the file of the store exists or can be created. The database itself reports less about the reason.
pub fn check_store_file(config: &Config) -> Result<(), Error> {
    let options = dialect::options(&config.store_url)?;
    let file = options.get_filename();
    if file.exists() { Ok(()) } else { check_can_be_created(file) }
}

/// State of a store that a server could open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreState {
    /// The database does not exist yet. The server creates it.
    Missing,
    /// The database is of this version.
    Current,
    /// The database is of an older version. The server first runs this number of migrations.
    Outdated(usize),
}

/// Checks that a server could open the store of `config`, and returns its state. Changes nothing.
///
/// An existing store of this version is read as the server would do it. One of an older version is not read, because only
/// its migration makes it readable. For a new one, this checks that its folder is writable.
pub async fn check_store(config: &Config) -> Result<StoreState, Error> {
    check_store_file(config)?;
    if !dialect::options(&config.store_url)?.get_filename().exists() {
        return Ok(StoreState::Missing);
    }
    let (mut store, pending) = Store::open_read_only(&config.store_url).await?;
    let state = match pending {
        0 => read(&mut store, &config.key_file).await.map(|()| StoreState::Current),
        pending => Ok(StoreState::Outdated(pending)),
    };
    store.close().await;
    state
}

async fn read(store: &mut Store, key_file: &Path) -> Result<(), Error> {
    match store.keyring(key_file).await? {
        Some(keyring) => store.all(&keyring).await.map(drop),
        None => Ok(()),
    }
}

fn check_can_be_created(file: &Path) -> Result<(), Error> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let probe = folder.join(".weir-store-check");
    let created = std::fs::write(&probe, b"x").and_then(|()| std::fs::remove_file(&probe));
    created.map_err(|error| Error::StoreFile { path: file.to_owned(), error })
}
