//! Rules for whole files.

use crate::source::{files, read, with_extension};

#[test]
fn every_rust_file_says_what_it_is() {
    let mut wrong = Vec::new();
    for (path, text) in with_extension("rs") {
        if !text.starts_with("//!") {
            wrong.push(format!("{}: does not open with //!", path.display()));
        }
        // Spelled in two pieces, so that this file does not find itself.
        for mark in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("#[ig", "nore")] {
            if text.contains(mark) {
                wrong.push(format!("{}: {mark}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn lock_files_name_no_download_address() {
    let locks = files().into_iter().filter(|path| path.file_name().is_some_and(|name| name == "package-lock.json"));
    for lock in locks {
        let text = read(&lock);
        assert!(!text.contains("\"resolved\""), "{}: npm install --omit-lockfile-registry-resolved", lock.display());
    }
}
