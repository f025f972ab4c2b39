//! Every program that tests and scripts call is named in `deploy/packages.txt`.

use std::collections::BTreeSet;
use std::fs;

use crate::source::{files, root, with_extension};

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
