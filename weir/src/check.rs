//! `weir check`: reports whether this machine can run the server with this configuration.
//!
//! The checks call the functions that [`crate::serve`] starts with, so that the two agree.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use control::StoreState;
use simulcast::tls::Roots;

use crate::config::{Config, Quality};
use crate::crate_settings::{control_settings, simulcast_config};
use crate::data_dir;
use crate::listen;
use crate::open_files::OpenFiles;
use crate::tls;

/// The result of a check.
enum Outcome {
    Good,
    /// `serve` runs, but with less than the configuration asks for.
    Warning(String),
    /// `serve` would end with this error.
    Bad(anyhow::Error),
}

impl From<anyhow::Result<()>> for Outcome {
    fn from(result: anyhow::Result<()>) -> Self {
        result.map_or_else(Self::Bad, |()| Self::Good)
    }
}

/// One check, as a line of the report.
struct Check {
    what: String,
    outcome: Outcome,
}

impl Check {
    fn new(what: impl Into<String>, outcome: impl Into<Outcome>) -> Self {
        Self { what: what.into(), outcome: outcome.into() }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Outcome::Good => write!(f, "ok    {}", self.what),
            Outcome::Warning(text) => write!(f, "warn  {}: {text}", self.what),
            Outcome::Bad(error) => write!(f, "FAIL  {}: {error:#}", self.what),
        }
    }
}

/// Tries everything that `serve` needs, prints each result on a line, and fails if one of them failed.
pub(crate) fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    let checks = checks(config)?;
    for check in &checks {
        writeln!(out, "{check}")?;
    }
    let good = !checks.iter().any(|check| matches!(check.outcome, Outcome::Bad(_)));
    writeln!(out, "{}", if good { "This machine can run weir serve." } else { "Fix what failed, then try again." })?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn checks(config: &Config) -> anyhow::Result<Vec<Check>> {
    // Locked until the store has been checked, as a running server locks it.
    let folder = data_dir::lock(&config.data_dir);
    let store = folder.is_ok().then(|| store(config)).transpose()?;
    let mut out = vec![Check::new(format!("data folder {}", config.data_dir.display()), folder.map(drop))];
    out.extend(store);
    out.push(Check::new(
        format!("http.listen {}", config.http.listen),
        listen::tcp("http.listen", config.http.listen).map(drop),
    ));
    out.push(Check::new(
        format!("rtmp.listen {}", config.rtmp.listen),
        listen::tcp("rtmp.listen", config.rtmp.listen).map(drop),
    ));
    if let Some(address) = config.https.listen.0 {
        out.push(Check::new(format!("https.listen {address}"), listen::tcp("https.listen", address).map(drop)));
        out.push(Check::new("https.cert, https.key", listen::https_settings(config).map(drop)));
    }
    if let Some(address) = config.rtmps.listen.0 {
        out.push(Check::new(format!("rtmps.listen {address}"), listen::tcp("rtmps.listen", address).map(drop)));
        if let Some((cert, key)) = listen::rtmps_files(config) {
            out.push(Check::new("rtmps.cert, rtmps.key", tls::server_config(&cert, &key, &[]).map(drop)));
        }
    }
    if let Some(address) = config.srt.listen.0 {
        out.push(Check::new(format!("srt.listen {address} (UDP)"), listen::udp("srt.listen", address).map(drop)));
    }
    let open_files = OpenFiles::raise();
    out.push(Check::new("open files", open_files.warning(config).map_or(Outcome::Good, Outcome::Warning)));
    out.push(encoders(config));
    out.push(slates(ladder::slate_clip::encoders()));
    out.push(tls_roots(&config.simulcast.ca_file, simulcast_config(config).map(|(_, roots)| roots)));
    Ok(out)
}

fn store(config: &Config) -> anyhow::Result<Check> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let state = runtime.block_on(control::check_store(&control_settings(config)));
    Ok(store_check(&config.store_url(), state))
}

/// Reports the state of the store. Pending migrations are fine, because `serve` runs them.
fn store_check(url: &str, state: Result<StoreState, control::Error>) -> Check {
    let note = match &state {
        Ok(StoreState::Outdated(migrations)) => format!(" (migrations that serve will run: {migrations})"),
        Ok(StoreState::Missing | StoreState::Current) | Err(_) => String::new(),
    };
    Check::new(format!("store {url}{note}"), state.map(drop).map_err(anyhow::Error::from))
}

/// Lists the H.264 encoders. An empty list is fine if nothing has to be encoded.
fn encoders(config: &Config) -> Check {
    let found = ladder::encoders().map(|mut found| {
        found.retain(|found| config.ladder.hardware || !found.hardware);
        found.iter().map(|found| format!("{} ({})", found.name, found.element)).collect::<Vec<_>>().join(", ")
    });
    let named = |what: &str| format!("H.264 encoders for plus and premium: {what}");
    match found {
        Ok(names) if !names.is_empty() => Check::new(named(&names), Outcome::Good),
        _ if config.ladder.quality == Quality::Basic => Check::new(named("none, only basic works"), Outcome::Good),
        Ok(_) => Check::new(named("none"), Err(anyhow::anyhow!("install gstreamer1.0-plugins-ugly for x264"))),
        Err(error) => Check::new(named("none"), Err(error.into())),
    }
}

/// Lists the codecs for which a slate in a passthrough programme can be encoded. A missing one is fine: gaps then stay
/// gaps.
fn slates(codecs: Result<Vec<(&str, Option<&str>)>, ladder::Error>) -> Check {
    let (name, result) = match codecs {
        Ok(codecs) => {
            let describe = |(codec, missing): &(&str, Option<&str>)| match missing {
                None => (*codec).to_owned(),
                Some(element) => format!("not {codec} (no {element})"),
            };
            (codecs.iter().map(describe).collect::<Vec<_>>().join(", "), Ok(()))
        }
        Err(error) => ("none".to_owned(), Err(error.into())),
    };
    Check::new(format!("encoders for the slate in passthrough: {name}"), result)
}

/// Names the files of the TLS roots for `rtmps` targets. A machine without any is fine for all other targets.
fn tls_roots(ca_file: &Path, roots: anyhow::Result<Roots>) -> Check {
    let what = "TLS roots for rtmps targets";
    let roots = match roots {
        Ok(roots) => roots,
        Err(error) => return Check::new(what, Outcome::Bad(error)),
    };
    let system = roots.system.iter().map(|path| path.display().to_string());
    let own = (!ca_file.as_os_str().is_empty()).then(|| format!("simulcast.ca_file {}", ca_file.display()));
    let files = system.chain(own).collect::<Vec<_>>().join(", ");
    match roots.certificates {
        0 => {
            let todo = "none, so no rtmps target can be reached: install ca-certificates or set simulcast.ca_file";
            Check::new(what, Outcome::Warning(todo.to_owned()))
        }
        1 => Check::new(format!("{what}: {files}, 1 certificate"), Outcome::Good),
        count => Check::new(format!("{what}: {files}, {count} certificates"), Outcome::Good),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn pending_migrations_are_reported_but_do_not_fail_the_check() {
        let check = store_check("sqlite://weir.db", Ok(StoreState::Outdated(2)));
        assert_eq!(check.to_string(), "ok    store sqlite://weir.db (migrations that serve will run: 2)");
        assert_eq!(
            store_check("sqlite://weir.db", Ok(StoreState::Current)).to_string(),
            "ok    store sqlite://weir.db"
        );
    }

    #[test]
    fn missing_slate_encoders_are_listed_but_do_not_fail_the_check() {
        let check = slates(Ok(vec![("H.264", None), ("HEVC", Some("x265enc"))]));
        assert!(check.what.ends_with(": H.264, not HEVC (no x265enc)"), "{check}");
        assert!(matches!(check.outcome, Outcome::Good));
    }
    #[test]
    fn tls_roots_are_named_and_missing_ones_are_a_warning() {
        let system = Some(PathBuf::from("/etc/ssl/cert.pem"));
        let line = |ca_file: &str, system: &Option<PathBuf>, certificates| {
            tls_roots(Path::new(ca_file), Ok(Roots { system: system.clone(), certificates })).to_string()
        };
        let named = "ok    TLS roots for rtmps targets: ";
        assert_eq!(line("", &system, 140), format!("{named}/etc/ssl/cert.pem, 140 certificates"));
        let both = "/etc/ssl/cert.pem, simulcast.ca_file ca.pem, 141 certificates";
        assert_eq!(line("ca.pem", &system, 141), format!("{named}{both}"));
        assert_eq!(line("ca.pem", &None, 1), format!("{named}simulcast.ca_file ca.pem, 1 certificate"));
        for system in [system, None] {
            assert!(line("", &system, 0).starts_with("warn  TLS roots for rtmps targets: none"));
        }
    }

    #[test]
    fn a_ca_file_that_cannot_be_used_fails_the_check_and_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.simulcast.ca_file = folder.path().join("ca.pem");
        let check = |config: &Config| {
            tls_roots(&config.simulcast.ca_file, simulcast_config(config).map(|(_, roots)| roots)).to_string()
        };
        let missing = check(&config);
        assert!(missing.starts_with("FAIL  TLS roots for rtmps targets: simulcast.ca_file: reading "), "{missing}");
        std::fs::write(&config.simulcast.ca_file, "no PEM").unwrap();
        let empty = check(&config);
        assert!(empty.starts_with("FAIL") && empty.ends_with("ca.pem contains no certificate"), "{empty}");
    }
}
