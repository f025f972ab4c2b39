//! The house rules that a compiler does not check: who may depend on whom, how a file begins and how long it may be,
//! and that every program our tests and scripts call is named in `deploy/packages.txt`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The floor of each crate. A dependency goes to a strictly lower floor.
const FLOORS: [(&str, u8); 11] = [
    ("media", 0),
    ("wire", 1),
    ("packager", 1),
    ("slate", 1),
    ("ingest", 2),
    ("ladder", 2),
    ("origin", 2),
    ("archive", 2),
    ("simulcast", 2),
    ("control", 2),
    ("weir", 3),
];
/// Nothing depends on these, and they may depend on anything.
const FREE: [&str; 2] = ["benches", "weir-fuzz"];
/// What would bring a socket, a clock or a runtime onto floors 0 and 1.
const IMPURE: [&str; 15] = [
    "async-std",
    "axum",
    "gstreamer",
    "h2",
    "hyper",
    "hyper-util",
    "mio",
    "reqwest",
    "rustls",
    "smol",
    "socket2",
    "sqlx",
    "tokio",
    "tokio-rustls",
    "tokio-util",
];
/// On every Debian machine that can run a shell script at all, or brought by the Rust toolchain.
const BASE: &[&str] = &[
    "apt-get",
    "awk",
    "bash",
    "cargo",
    "cargo-deny",
    "cargo-fuzz",
    "cat",
    "cp",
    "date",
    "dirname",
    "dpkg-query",
    "env",
    "grep",
    "head",
    "id",
    "kill",
    "mkdir",
    "mktemp",
    "rm",
    "sed",
    "seq",
    "sleep",
    "sudo",
    "tail",
    "taskset",
    "tr",
];
const MAX_LINES: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace").to_path_buf()
}

/// The files that git would commit: neither build output nor what a test left behind.
fn files() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git runs");
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).expect("file names are UTF-8");
    names.split_terminator('\0').map(|name| root().join(name)).filter(|path| path.is_file()).collect()
}

fn with_extension(extension: &str) -> Vec<(PathBuf, String)> {
    let matching = files().into_iter().filter(|path| path.extension().is_some_and(|found| found == extension));
    matching.map(|path| (path.clone(), fs::read_to_string(&path).expect("a text file"))).collect()
}

/// Each crate of the workspace with the names of its dependencies, those of its tests included.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let name = |value: &serde_json::Value| value["name"].as_str().expect("a name").to_owned();
    let packages = metadata["packages"].as_array().expect("a list of packages");
    packages
        .iter()
        .map(|package| (name(package), package["dependencies"].as_array().expect("a list").iter().map(name).collect()))
        .collect()
}

#[test]
fn dependencies_go_to_a_lower_floor() {
    let floors = BTreeMap::from(FLOORS);
    let mut wrong = Vec::new();
    for (name, needs) in dependencies() {
        if FREE.contains(&name.as_str()) {
            continue;
        }
        let Some(floor) = floors.get(name.as_str()) else {
            wrong.push(format!("{name} has no floor: give it one here and in docs/architecture.md"));
            continue;
        };
        for need in needs {
            match floors.get(need.as_str()) {
                Some(lower) if lower < floor => {}
                Some(other) => wrong.push(format!("{name} (floor {floor}) depends on {need} (floor {other})")),
                None if FREE.contains(&need.as_str()) => wrong.push(format!("{name} depends on {need}")),
                None if *floor < 2 && IMPURE.contains(&need.as_str()) => {
                    wrong.push(format!("{name} (floor {floor}) uses {need}: no socket, clock or runtime down there"));
                }
                None => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rust_file_says_what_it_is_and_stays_readable() {
    let mut wrong = Vec::new();
    for (path, text) in with_extension("rs") {
        if !text.starts_with("//!") {
            wrong.push(format!("{}: does not open with //!", path.display()));
        }
        let lines = text.lines().count();
        if lines > MAX_LINES {
            wrong.push(format!("{}: {lines} lines, {MAX_LINES} is the most", path.display()));
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
        let text = fs::read_to_string(&lock).expect("a text file");
        assert!(!text.contains("\"resolved\""), "{}: npm install --omit-lockfile-registry-resolved", lock.display());
    }
}

#[test]
fn every_program_we_call_is_in_the_package_list() {
    let list = fs::read_to_string(root().join("deploy/packages.txt")).expect("the list is there");
    let listed = list.lines().map(|line| line.split('#').next().unwrap_or_default());
    let programs = listed.flat_map(|line| line.split_whitespace().skip(1).map(str::to_owned));
    let known: BTreeSet<String> = programs.chain(BASE.iter().map(|name| (*name).to_owned())).collect();

    let mut wrong = Vec::new();
    for (path, text) in with_extension("rs") {
        // RTMP has commands too.
        if !text.contains("process::Command") && !text.contains("process::{") {
            continue;
        }
        // What is started by a literal name; anything else is a path that the test or the build made itself.
        for call in text.split("Command::new(\"").skip(1) {
            let program = call.split('"').next().unwrap_or_default();
            if !known.contains(program) {
                wrong.push(format!("{}: {program}", path.display()));
            }
        }
    }
    for path in files().into_iter().filter(|path| path.is_file()) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        if !text.starts_with("#!/bin/") {
            continue;
        }
        // A shell's commands cannot be told from its words without a shell: each script says what it calls.
        let said = text.lines().find_map(|line| line.strip_prefix("# programs:"));
        let Some(said) = said else {
            wrong.push(format!("{}: a script has a line `# programs: ...`", path.display()));
            continue;
        };
        let unknown = said.split_whitespace().filter(|program| !known.contains(*program));
        wrong.extend(unknown.map(|program| format!("{}: {program}", path.display())));
    }
    assert!(wrong.is_empty(), "not in deploy/packages.txt:\n{}", wrong.join("\n"));
}
