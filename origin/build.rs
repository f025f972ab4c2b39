//! Installs the hls.js pinned by the lock file with `npm ci`, and writes it to `OUT_DIR`, plain and gzipped, for
//! embedding.
//!
//! The player's code is not in the tree. It is installed again only when `package.json` or the lock file changes.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Build of hls.js with alternate audio, which the light build lacks.
const PLAYER: &str = "node_modules/hls.js/dist/hls.min.js";
/// Files that pin the player.
const PINS: [&str; 2] = ["package.json", "package-lock.json"];

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let install = out.join("web");
    fs::create_dir_all(&install)?;
    println!("cargo::rerun-if-changed=build.rs");
    for pin in PINS {
        println!("cargo::rerun-if-changed=web/{pin}");
        fs::copy(Path::new("web").join(pin), install.join(pin))?;
    }
    npm_ci(&install)?;
    let player = fs::read(install.join(PLAYER)).map_err(|e| format!("npm installed no {PLAYER}: {e}"))?;
    fs::write(out.join("hls.js"), &player)?;
    fs::write(out.join("hls.js.gz"), gzip(&player)?)?;
    println!("cargo::rustc-env=HLS_JS_VERSION={}", version(&install)?);
    Ok(())
}

fn npm_ci(dir: &Path) -> Result<(), Box<dyn Error>> {
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    let done = Command::new(npm).args(arguments).current_dir(dir).output().map_err(|e| {
        format!("cannot run npm ({e}): the watch page embeds hls.js from its npm package; install Node.js with npm")
    })?;
    if done.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&done.stderr);
    Err(format!("`npm ci` failed in {}, is the package registry reachable? Output:\n{output}", dir.display()).into())
}

/// Returns the installed version, which becomes a part of the player's URL.
fn version(dir: &Path) -> Result<String, Box<dyn Error>> {
    let manifest = fs::read_to_string(dir.join("node_modules/hls.js/package.json"))?;
    let rest = manifest.split_once("\"version\":").ok_or("hls.js's package.json names no version")?.1;
    let version = rest.split('"').nth(1).ok_or("hls.js's version is not a string")?;
    Ok(version.to_owned())
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>, std::io::Error> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}
