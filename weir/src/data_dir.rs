//! The data folder, and the lock that lets one server alone use it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, bail};

/// Held as long as the process lives. The system lets go of it however the process ends.
pub(crate) struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

/// Makes the folder where there is none, and takes it for this process alone: two servers that write to one store would each
/// undo what the other has done.
pub(crate) fn lock(folder: &Path) -> anyhow::Result<Lock> {
    std::fs::create_dir_all(folder).with_context(|| format!("making the data folder {}", folder.display()))?;
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
            // For whoever finds it locked; the lock holds without it, as on a full disk.
            let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
            Ok(Lock(file))
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            bail!(
                "data_dir: another server (process {}) uses {}: end that one, or give this one a folder of its own",
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
    fn a_folder_has_one_server_and_a_stale_lock_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        // Of a process that was killed; its number is longer than ours may be.
        std::fs::write(folder.path().join("weir.lock"), "99999999999").unwrap();
        let held = lock(folder.path()).unwrap();
        let refused = lock(folder.path()).err().unwrap().to_string();
        assert!(refused.contains(&format!("(process {})", std::process::id())), "{refused}");
        assert!(refused.contains(&folder.path().display().to_string()), "{refused}");
        drop(held);
        lock(folder.path()).unwrap();
    }
}
