//! What an operator types first.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::support::{Encoder, alone, free_ports, shared, until_within};

/// The demo waits for 20 s at each step before it gives up, and this is more.
const DEMO: Duration = Duration::from_secs(90);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace").to_path_buf()
}

/// `weir check` with the annotated example, which has every key; the ports are free ones.
fn check(more: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [http, rtmp, srt] = free_ports();
    Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["check", "--config"])
        .arg(root().join("deploy/weir.example.toml"))
        .env("WEIR_DATA_DIR", folder.path())
        .env("WEIR_HTTP_LISTEN", format!("127.0.0.1:{http}"))
        .env("WEIR_RTMP_LISTEN", format!("127.0.0.1:{rtmp}"))
        .env("WEIR_SRT_LISTEN", format!("127.0.0.1:{srt}"))
        // The limit of open files is this machine's affair.
        .env("WEIR_HTTP_MAX_CONNECTIONS", "10")
        .env("WEIR_RTMP_MAX_CONNECTIONS", "10")
        .envs(more.iter().copied())
        .output()
        .expect("weir runs")
}

#[test]
fn check_is_content_with_the_example_configuration() {
    let _machine = shared();
    let run = check(&[]);
    assert!(run.status.success(), "{run:?}");
    let said = String::from_utf8_lossy(&run.stdout);
    let slates = "passed through: H.264, HEVC, AV1, VP9, AAC, AC-3, E-AC-3, FLAC\n";
    assert!(said.contains(slates), "{said}");
}

#[test]
fn check_names_what_is_wrong() {
    let _machine = shared();
    let run = check(&[("WEIR_HTTP_LISTEN", "192.0.2.1:80")]);
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(!run.status.success(), "{said}");
    assert!(said.contains("http.listen"), "{said}");
}

#[test]
fn help_is_complete() {
    let _machine = shared();
    let run = Command::new(env!("CARGO_BIN_EXE_weir")).arg("--help").output().expect("weir runs");
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    for word in
        ["serve", "check", "WEIR_HTTP_LISTEN", "WEIR_RTMP_LISTEN", "WEIR_SRT_LISTEN", "WEIR_DATA_DIR", "api.token_id"]
    {
        assert!(said.contains(word), "{word} is not in the help:\n{said}");
    }
}

/// `make demo` without packages and build, on other ports.
#[test]
fn the_demo_plays() {
    let _machine = alone();
    let [http, rtmp, srt] = free_ports();
    let script = root().join("deploy/demo.sh");
    let set = [
        format!("DEMO_HTTP_PORT={http}"),
        format!("DEMO_RTMP_PORT={rtmp}"),
        format!("DEMO_SRT_PORT={srt}"),
        format!("DEMO_BINARY={}", env!("CARGO_BIN_EXE_weir")),
        "DEMO_SECONDS=4".to_owned(),
        script.display().to_string(),
    ];
    let mut demo = Encoder::run("env", &set.each_ref().map(String::as_str));
    let status = until_within(DEMO, "the demo to end", || demo.exit_status());
    assert!(status.success(), "the demo ended with {status}:\n{}", demo.output());
    assert!(demo.output().contains("/watch/"), "it names the page to watch:\n{}", demo.output());
}
