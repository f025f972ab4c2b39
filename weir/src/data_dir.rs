//! The data folder, and the lock that allows only one server to use it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, bail};

/// A lock on the data folder, for the lifetime of the process. The kernel releases it however the process ends.
pub(crate) struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

/// Creates the data folder if it does not exist, and locks it for this process. Two servers with the same store would
/// undo each other's changes.
pub(crate) fn lock(folder: &Path) -> anyhow::Result<Lock> {
    std::fs::create_dir_all(folder).with_context(|| format!("creating the data folder {}", folder.display()))?;
    let path = folder.join("weir.lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("data_dir: cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {
            // Names this process to a second server. May fail on a full disk; the lock does not depend on it.
            let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
            Ok(Lock(file))
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            bail!(
                "data_dir: another server (process {}) uses {}: stop that server, or configure another folder for this one",
                if holder.is_empty() { "unknown" } else { &holder },
                folder.display()
            )
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("data_dir: cannot lock {}", path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_server_locks_a_folder_and_a_stale_lock_file_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        // Left by a killed process, with a process id longer than any of ours.
        std::fs::write(folder.path().join("weir.lock"), "99999999999").unwrap();
        let held = lock(folder.path()).unwrap();
        let refused = lock(folder.path()).err().unwrap().to_string();
        assert!(refused.contains(&format!("(process {})", std::process::id())), "{refused}");
        assert!(refused.contains(&folder.path().display().to_string()), "{refused}");
        drop(held);
        lock(folder.path()).unwrap();
    }
}
