//! The files of the repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use syn::Item;

/// Crates whose words and structure are checked.
pub(crate) const CRATES: [&str; 11] =
    ["media", "wire", "packager", "slate", "srt", "ingest", "ladder", "origin", "simulcast", "control", "weir"];

/// Path of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace").to_path_buf()
}

/// Reads a text file.
pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Lists the files that git would commit: neither build output nor the leavings of a test.
pub(crate) fn files() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git runs");
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).expect("file names are UTF-8");
    names.split_terminator('\0').map(|name| root().join(name)).filter(|path| path.is_file()).collect()
}

/// Reads every file with an extension, with paths below the repository.
pub(crate) fn with_extension(extension: &str) -> Vec<(PathBuf, String)> {
    let root = root();
    let matching = files().into_iter().filter(|path| path.extension().is_some_and(|found| found == extension));
    matching.map(|path| (path.strip_prefix(&root).expect("below the root").to_path_buf(), read(&path))).collect()
}

/// Reads the production code of a crate: `src` without test modules in files of their own.
pub(crate) fn production(name: &str) -> Vec<(PathBuf, String)> {
    let source = Path::new(name).join("src");
    let is_test =
        |path: &Path| path.file_stem().is_some_and(|stem| stem == "tests") || path.iter().any(|part| part == "tests");
    with_extension("rs").into_iter().filter(|(path, _)| path.starts_with(&source) && !is_test(path)).collect()
}

/// Whether an item is compiled for tests only.
pub(crate) fn is_test(item: &Item) -> bool {
    let attributes = match item {
        Item::Mod(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        _ => return false,
    };
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        meta => meta.path().is_ident("test"),
    })
}
