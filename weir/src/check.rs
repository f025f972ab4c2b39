//! `weir check`: says whether this machine can run the server with this configuration.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use crate::config::{Config, Quality};
use crate::tls;

/// Tries everything `serve` needs, tells each result in a line, and fails if one of them failed.
pub(crate) fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    let mut good = true;
    for (what, result) in checks(config) {
        match result {
            Ok(()) => writeln!(out, "ok    {what}")?,
            Err(error) => {
                good = false;
                writeln!(out, "FAIL  {what}: {error:#}")?;
            }
        }
    }
    writeln!(out, "{}", if good { "This machine can run weir serve." } else { "Mend what failed, then try again." })?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn checks(config: &Config) -> Vec<(String, anyhow::Result<()>)> {
    let mut out = vec![
        (format!("data folder {}", config.data_dir.display()), writable(&config.data_dir)),
        (format!("http.listen {}", config.http.listen), free(config.http.listen)),
        (format!("rtmp.listen {}", config.rtmp.listen), free(config.rtmp.listen)),
        ("open files".to_owned(), files(config)),
    ];
    let listeners = [
        ("https", config.https.address(), &config.https.cert, &config.https.key, false),
        ("rtmps", config.rtmps.address(), &config.rtmps.cert, &config.rtmps.key, config.rtmps.self_signed),
    ];
    for (name, address, cert, key, self_signed) in listeners {
        let Ok(Some(address)) = address else { continue };
        out.push((format!("{name}.listen {address}"), free(address)));
        if !(self_signed && cert.as_os_str().is_empty()) {
            out.push((format!("{name}.cert, {name}.key"), tls::server_config(cert, key, &[]).map(drop)));
        }
    }
    if let Ok(Some(address)) = config.srt.address() {
        out.push((format!("srt.listen {address} (UDP)"), free_udp(address)));
    }
    out.push(encoders(config));
    out.push(slates(ladder::clip::encoders()));
    out
}

/// Which encoders there are; none is no fault where nothing is to be encoded.
fn encoders(config: &Config) -> (String, anyhow::Result<()>) {
    let found = ladder::encoders().map(|mut found| {
        found.retain(|found| config.ladder.hardware || !found.hardware);
        found.iter().map(|found| format!("{} ({})", found.name, found.element)).collect::<Vec<_>>().join(", ")
    });
    let named = |what: &str| format!("H.264 encoders for plus and premium: {what}");
    match found {
        Ok(names) if !names.is_empty() => (named(&names), Ok(())),
        _ if config.ladder.quality == Quality::Basic => (named("none, only basic works"), Ok(())),
        Ok(_) => (named("none"), Err(anyhow::anyhow!("install gstreamer1.0-plugins-ugly for x264"))),
        Err(error) => (named("none"), Err(error.into())),
    }
}

/// The codecs of what is passed through that its slate can be made in; where it cannot, gaps stay gaps, which is no fault.
fn slates(codecs: Result<Vec<(&str, Option<&str>)>, ladder::Error>) -> (String, anyhow::Result<()>) {
    let what = "encoders for the slate of what is passed through";
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
    (format!("{what}: {name}"), result)
}

fn writable(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let probe = folder.join(".weir-check");
    fs::write(&probe, b"x").with_context(|| format!("cannot write in {}", folder.display()))?;
    fs::remove_file(&probe).with_context(|| format!("cannot remove {}", probe.display()))
}

fn free(address: SocketAddr) -> anyhow::Result<()> {
    TcpListener::bind(address).map(drop).with_context(|| format!("cannot listen on {address}: is it in use?"))
}

fn free_udp(address: SocketAddr) -> anyhow::Result<()> {
    UdpSocket::bind(address).map(drop).with_context(|| format!("cannot listen on {address}: is it in use?"))
}

fn files(config: &Config) -> anyhow::Result<()> {
    let limits = fs::read_to_string("/proc/self/limits").context("cannot read /proc/self/limits")?;
    let hard = limits.lines().find(|line| line.starts_with("Max open files")).and_then(|line| {
        let field = line.split_whitespace().nth(4)?;
        if field == "unlimited" { Some(u64::MAX) } else { field.parse().ok() }
    });
    let wanted = (config.http.max_connections + config.rtmp.max_connections) as u64;
    match hard {
        Some(hard) if hard < wanted => anyhow::bail!(
            "the limit is {hard}, but http.max_connections and rtmp.max_connections allow {wanted}: raise LimitNOFILE or lower them"
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_without_an_encoder_are_named_and_are_no_fault() {
        let (said, result) = slates(Ok(vec![("H.264", None), ("HEVC", Some("x265enc"))]));
        assert!(said.ends_with(": H.264, not HEVC (no x265enc)"), "{said}");
        assert!(result.is_ok());
    }
}
