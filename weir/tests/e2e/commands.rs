//! The first commands of an operator.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::support::{Encoder, alone, free_ports, shared, until_within};

/// More than the demo may take, which waits for at most 20 s at each step.
const DEMO_TIMEOUT: Duration = Duration::from_secs(90);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace").to_path_buf()
}

/// Runs `weir check` with the example configuration, which has every key, on free ports.
fn check(more: &[(&str, &str)]) -> Output {
    weir("check", more)
}

fn weir(command: &str, more: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [http, rtmp, srt] = free_ports();
    Command::new(env!("CARGO_BIN_EXE_weir"))
        .args([command, "--config"])
        .arg(root().join("deploy/weir.example.toml"))
        .env("WEIR_DATA_DIR", folder.path())
        .env("WEIR_HTTP_LISTEN", format!("127.0.0.1:{http}"))
        .env("WEIR_RTMP_LISTEN", format!("127.0.0.1:{rtmp}"))
        .env("WEIR_SRT_LISTEN", format!("127.0.0.1:{srt}"))
        // Low limits, so that the limit of open files of this machine does not matter.
        .env("WEIR_HTTP_MAX_CONNECTIONS", "10")
        .env("WEIR_RTMP_MAX_CONNECTIONS", "10")
        .envs(more.iter().copied())
        .output()
        .expect("weir runs")
}

#[test]
fn check_accepts_the_example_configuration() {
    let _machine = shared();
    let run = check(&[]);
    assert!(run.status.success(), "{run:?}");
    let output = String::from_utf8_lossy(&run.stdout);
    let slates = "passthrough: H.264, HEVC, AV1, VP9, AAC, AC-3, E-AC-3, FLAC\n";
    assert!(output.contains(slates), "{output}");
}

#[test]
fn check_names_the_setting_that_is_wrong() {
    let _machine = shared();
    let run = check(&[("WEIR_HTTP_LISTEN", "192.0.2.1:80")]);
    let output = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(!run.status.success(), "{output}");
    assert!(output.contains("http.listen"), "{output}");
}

/// Invalid settings, and the text that the error must contain.
const INVALID: [(&str, &str, &str); 9] = [
    ("WEIR_HTTP_LISTEN", "192.0.2.1:80", "http.listen"),
    ("WEIR_RTMP_LISTEN", "192.0.2.1:80", "rtmp.listen"),
    ("WEIR_SRT_LISTEN", "nowhere", "WEIR_SRT_LISTEN must be an address"),
    ("WEIR_LOG_FILTER", "inof", "log.filter"),
    ("WEIR_STORE_URL", "postgres://host/db", "store.url"),
    ("WEIR_STORE_URL", "sqlite:///nowhere/at/all/weir.db", "/nowhere/at/all/weir.db"),
    ("WEIR_HTP_LISTEN", "127.0.0.1:1", "did you mean WEIR_HTTP_LISTEN?"),
    ("WEIR_DATA_DIR", "/proc/weir", "/proc/weir"),
    ("WEIR_SIMULCAST_CA_FILE", "/nowhere/ca.pem", "simulcast.ca_file: reading /nowhere/ca.pem"),
];

#[test]
fn check_and_serve_fail_on_the_same_settings() {
    let _machine = shared();
    for (name, value, message) in INVALID {
        for command in ["check", "serve"] {
            let run = weir(command, &[(name, value)]);
            let output = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
            assert!(!run.status.success() && output.contains(message), "{command} with {name}={value}:\n{output}");
        }
    }
}

#[test]
fn check_only_warns_if_serve_only_warns() {
    let _machine = shared();
    let run = check(&[("WEIR_HTTP_MAX_CONNECTIONS", "9999999")]);
    let output = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success(), "{output}");
    assert!(output.contains("warn  open files") && output.contains("LimitNOFILE"), "{output}");
}

#[test]
fn config_prints_the_example_file() {
    let _machine = shared();
    let run = Command::new(env!("CARGO_BIN_EXE_weir")).arg("config").output().expect("weir runs");
    let file = std::fs::read_to_string(root().join("deploy/weir.example.toml")).expect("the example");
    assert_eq!(String::from_utf8_lossy(&run.stdout), file);
}

#[test]
fn help_lists_commands_and_settings() {
    let _machine = shared();
    let run = Command::new(env!("CARGO_BIN_EXE_weir")).arg("--help").output().expect("weir runs");
    let output = String::from_utf8_lossy(&run.stdout).into_owned();
    for word in
        ["serve", "check", "WEIR_HTTP_LISTEN", "WEIR_RTMP_LISTEN", "WEIR_SRT_LISTEN", "WEIR_DATA_DIR", "api.token_id"]
    {
        assert!(output.contains(word), "{word} is not in the help:\n{output}");
    }
}

/// Runs `make demo` without packages and build, on other ports.
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
    let status = until_within(DEMO_TIMEOUT, "the demo to end", || demo.exit_status());
    assert!(status.success(), "the demo ended with {status}:\n{}", demo.output());
    assert!(demo.output().contains("/watch/"), "the demo prints the address of the watch page:\n{}", demo.output());
}
