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

/// Checks that a server could open the store of `config`.
///
/// An existing store is opened and read as the server would do it. For a new one, this checks that its folder is
/// writable.
pub async fn check_store(config: &Config) -> Result<(), Error> {
    check_store_file(config)?;
    if !dialect::options(&config.store_url)?.get_filename().exists() {
        return Ok(());
    }
    let mut store = Store::open(&config.store_url).await?;
    let readable = read(&mut store, &config.key_file).await;
    store.close().await;
    readable
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
