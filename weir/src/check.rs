//! `weir check`: says whether this machine can run the server with this configuration.
//!
//! It asks by the functions that `serve` starts with, so that the two agree.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;

use crate::config::{Config, Quality};
use crate::data_dir;
use crate::listen;
use crate::open_files::OpenFiles;
use crate::serve::control_settings;
use crate::tls;

/// How a check came out.
enum Verdict {
    Good,
    /// `serve` runs, with less than was asked for.
    Warning(String),
    /// `serve` would end with this.
    Bad(anyhow::Error),
}

impl From<anyhow::Result<()>> for Verdict {
    fn from(result: anyhow::Result<()>) -> Self {
        result.map_or_else(Self::Bad, |()| Self::Good)
    }
}

/// What was checked, and how it came out.
struct Check {
    what: String,
    verdict: Verdict,
}

impl Check {
    fn new(what: impl Into<String>, verdict: impl Into<Verdict>) -> Self {
        Self { what: what.into(), verdict: verdict.into() }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Good => write!(f, "ok    {}", self.what),
            Verdict::Warning(text) => write!(f, "warn  {}: {text}", self.what),
            Verdict::Bad(error) => write!(f, "FAIL  {}: {error:#}", self.what),
        }
    }
}

/// Tries everything `serve` needs, tells each result in a line, and fails if one of them failed.
pub(crate) fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    let checks = checks(config)?;
    for check in &checks {
        writeln!(out, "{check}")?;
    }
    let good = !checks.iter().any(|check| matches!(check.verdict, Verdict::Bad(_)));
    writeln!(out, "{}", if good { "This machine can run weir serve." } else { "Mend what failed, then try again." })?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn checks(config: &Config) -> anyhow::Result<Vec<Check>> {
    // Held until the store was looked at, as a server holds it.
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
    let room = OpenFiles::raise();
    out.push(Check::new("open files", room.warning(config).map_or(Verdict::Good, Verdict::Warning)));
    out.push(encoders(config));
    out.push(slates(ladder::clip::encoders()));
    Ok(out)
}

fn store(config: &Config) -> anyhow::Result<Check> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let opened = runtime.block_on(control::check_store(&control_settings(config)));
    Ok(Check::new(format!("store {}", config.store_url()), opened.map_err(anyhow::Error::from)))
}

/// Which encoders there are; none is no fault where nothing is to be encoded.
fn encoders(config: &Config) -> Check {
    let found = ladder::encoders().map(|mut found| {
        found.retain(|found| config.ladder.hardware || !found.hardware);
        found.iter().map(|found| format!("{} ({})", found.name, found.element)).collect::<Vec<_>>().join(", ")
    });
    let named = |what: &str| format!("H.264 encoders for plus and premium: {what}");
    match found {
        Ok(names) if !names.is_empty() => Check::new(named(&names), Verdict::Good),
        _ if config.ladder.quality == Quality::Basic => Check::new(named("none, only basic works"), Verdict::Good),
        Ok(_) => Check::new(named("none"), Err(anyhow::anyhow!("install gstreamer1.0-plugins-ugly for x264"))),
        Err(error) => Check::new(named("none"), Err(error.into())),
    }
}

/// The codecs of what is passed through that its slate can be made in; where it cannot, gaps stay gaps, which is no fault.
fn slates(codecs: Result<Vec<(&str, Option<&str>)>, ladder::Error>) -> Check {
    let (name, result) = match codecs {
        Ok(codecs) => {
            let of = |(codec, lacks): &(&str, Option<&str>)| match lacks {
                None => (*codec).to_owned(),
                Some(element) => format!("not {codec} (no {element})"),
            };
            (codecs.iter().map(of).collect::<Vec<_>>().join(", "), Ok(()))
        }
        Err(error) => ("none".to_owned(), Err(error.into())),
    };
    Check::new(format!("encoders for the slate of what is passed through: {name}"), result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_without_an_encoder_are_named_and_are_no_fault() {
        let check = slates(Ok(vec![("H.264", None), ("HEVC", Some("x265enc"))]));
        assert!(check.what.ends_with(": H.264, not HEVC (no x265enc)"), "{check}");
        assert!(matches!(check.verdict, Verdict::Good));
    }
}
