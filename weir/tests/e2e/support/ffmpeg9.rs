//! An ffmpeg with Enhanced RTMP, which that of Debian 12 lacks. It is installed from PyPI's imageio-ffmpeg, pinned by a
//! lock file.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// Returns the path of ffmpeg 9: that of `WEIR_E2E_FFMPEG9`, or one that is installed into the target folder on first
/// use.
pub(crate) fn ffmpeg9() -> &'static str {
    static PATH: LazyLock<String> = LazyLock::new(|| {
        let given = std::env::var("WEIR_E2E_FFMPEG9").ok();
        given.unwrap_or_else(|| install().to_str().expect("a UTF-8 path").to_owned())
    });
    &PATH
}

fn install() -> PathBuf {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/encoders/requirements.txt");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("encoders");
    std::fs::create_dir_all(&folder).expect("a folder for encoders");
    let venv = folder.join("venv");
    let wanted = std::fs::read(&lock).expect("the lock file is in the repository");
    // Written last, so that an interrupted installation is repeated.
    let marker = folder.join("installed");
    if std::fs::read(&marker).is_ok_and(|installed| installed == wanted) {
        return binary(&venv);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
    let pip = ["install", "--quiet", "--no-deps", "--require-hashes", "--requirement"];
    run(Command::new(venv.join("bin/pip")).args(pip).arg(&lock));
    std::fs::write(&marker, wanted).expect("the marker");
    binary(&venv)
}

/// Returns the path of the program of the package.
fn binary(venv: &Path) -> PathBuf {
    let ask = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())";
    PathBuf::from(run(Command::new(venv.join("bin/python")).args(["-c", ask])).trim())
}

/// Runs a program to its end and returns its output.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
