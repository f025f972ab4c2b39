//! Programs from npm, which are installed into the target folder on first use, pinned by a lock file.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Installs the packages of `tests/NAME` with `files` beside them, and returns the folder. The files include
/// `package.json` and `package-lock.json`.
pub(crate) fn npm_folder(name: &str, files: &[&str]) -> PathBuf {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let read = |path: &Path| std::fs::read(path).ok();
    let lock = read(&source.join("package-lock.json"));
    // Written last, so that an interrupted installation is repeated.
    let marker = folder.join("node_modules/.installed-lock");
    let fresh = read(&marker) == lock;
    for file in files {
        let to = folder.join(file);
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder for programs from npm");
        std::fs::copy(source.join(file), to).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
    if !fresh {
        let arguments = ["ci", "--no-audit", "--no-fund", "--silent"];
        let npm = Command::new("npm").args(arguments).current_dir(&folder).output().expect("npm runs");
        assert!(npm.status.success(), "npm ci: {}", String::from_utf8_lossy(&npm.stderr));
        std::fs::write(&marker, lock.expect("the lock file is in the repository")).expect("the marker");
    }
    folder
}
