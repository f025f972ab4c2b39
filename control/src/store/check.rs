//! What can be said of a store before a server opens it, and without changing it.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::sqlite::SqliteConnectOptions;

use crate::config::Config;
use crate::error::Error;
use crate::secret::Keyring;
use crate::store::Store;

/// Makes sure that `url` is the address of a store that this version knows.
pub fn check_store_url(url: &str) -> Result<(), Error> {
    file_of(url).map(drop)
}

/// Makes sure that the file of the store is there, or can be made: a database says less about it.
pub fn check_store_file(config: &Config) -> Result<(), Error> {
    let file = file_of(&config.store_url)?;
    if file.exists() { Ok(()) } else { takes_files(&file) }
}

/// Makes sure that a server could open the store of `config`: opens it as the server would where it is there, and looks for a
/// place to make it in where it is not.
pub async fn check_store(config: &Config) -> Result<(), Error> {
    check_store_file(config)?;
    if !file_of(&config.store_url)?.exists() {
        return Ok(());
    }
    let mut store = Store::open(&config.store_url).await?;
    let read = read(&mut store, &config.key_file).await;
    store.close().await;
    read
}

async fn read(store: &mut Store, key_file: &Path) -> Result<(), Error> {
    match Keyring::read(key_file)? {
        Some(keyring) => store.all(&keyring).await.map(drop),
        None if store.has_secrets().await? => Err(Error::KeyFileMissing(key_file.to_owned())),
        None => Ok(()),
    }
}

fn file_of(url: &str) -> Result<PathBuf, Error> {
    let unknown = || Error::StoreUrl(url.to_owned());
    if !url.starts_with("sqlite:") {
        return Err(unknown());
    }
    let options = SqliteConnectOptions::from_str(url).map_err(|_| unknown())?;
    Ok(options.get_filename().to_owned())
}

/// Makes sure that `file` can be made.
fn takes_files(file: &Path) -> Result<(), Error> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let probe = folder.join(".weir-store-check");
    let made = std::fs::write(&probe, b"x").and_then(|()| std::fs::remove_file(&probe));
    made.map_err(|error| Error::StoreFile { path: file.to_owned(), error })
}
