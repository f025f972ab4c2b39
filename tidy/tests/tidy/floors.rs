//! Crates depend only on crates of a lower floor.

use std::collections::BTreeMap;
use std::process::Command;

use crate::source::root;

/// The floor of each crate. A dependency goes to a strictly lower floor.
const FLOORS: [(&str, u8); 12] = [
    ("media", 0),
    ("wire", 1),
    ("packager", 1),
    ("slate", 1),
    ("srt", 2),
    ("ingest", 3),
    ("ladder", 3),
    ("origin", 3),
    ("archive", 3),
    ("simulcast", 3),
    ("control", 3),
    ("weir", 4),
];
/// Nothing depends on these, and they may depend on anything.
const FREE: [&str; 3] = ["benches", "tidy", "weir-fuzz"];
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
