//! The official SDKs against the API over a real socket: it must accept their requests, and they its responses.
//!
//! The SDKs are installed once into the target folder, from the lock files in `tests/sdk`.
#![allow(clippy::unwrap_used)] // The helpers of tests are tests too.

mod common;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

/// Creates a folder for this test, with the needed files from `tests/sdk`.
fn scratch(name: &str, files: &[&str]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    for file in files {
        std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk").join(file), folder.join(file)).unwrap();
    }
    folder
}

async fn run(folder: &Path, url: &str, program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("WEIR_URL", url)
        .env("WEIR_TOKEN_ID", common::ID)
        .env("WEIR_TOKEN_SECRET", common::SECRET)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|error| panic!("{program} cannot be run: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{out}\n{err}", output.status);
}

/// Runs the installation once for each content of the lock file.
async fn install(folder: &Path, lock: &str, steps: &[(&str, &[&str])]) {
    let wanted = std::fs::read(folder.join(lock)).unwrap();
    let done = folder.join("installed");
    if std::fs::read(&done).is_ok_and(|installed| installed == wanted) {
        return;
    }
    for (program, arguments) in steps {
        run(folder, "", program, arguments).await;
    }
    std::fs::write(done, wanted).unwrap();
}

async fn serve(folder: &Path) -> String {
    let (control, _effects) = common::open(folder).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, control::router(&control)).await });
    url
}

#[tokio::test]
async fn node_sdk_current_and_majors_back() {
    let folder = scratch("sdk-node", &["package.json", "package-lock.json", "conformance.mjs"]);
    install(&folder, "package-lock.json", &[("npm", &["ci", "--no-audit", "--no-fund"])]).await;
    for sdk in ["mux-15", "mux-14", "mux-12", "mux-8"] {
        let data = tempfile::tempdir().unwrap();
        let url = serve(data.path()).await;
        run(&folder, &url, "node", &["conformance.mjs", sdk]).await;
    }
}

#[tokio::test]
async fn python_sdk() {
    let folder = scratch("sdk-python", &["requirements.txt", "conformance.py"]);
    let venv: (&str, &[&str]) = ("python3", &["-m", "venv", "venv"]);
    let pip: (&str, &[&str]) = ("venv/bin/pip", &["install", "--quiet", "--requirement", "requirements.txt"]);
    install(&folder, "requirements.txt", &[venv, pip]).await;
    let data = tempfile::tempdir().unwrap();
    let url = serve(data.path()).await;
    run(&folder, &url, "venv/bin/python", &["conformance.py"]).await;
}
