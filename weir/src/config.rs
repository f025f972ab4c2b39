//! The settings: their table, their sources and their bounds.
//!
//! `serve` and `check` both begin with [`Config::load`], so both refuse the same settings.

mod load;
mod table;
mod text;
mod value;

use std::ops::RangeInclusive;
use std::path::Path;

use anyhow::{Context, bail};
use hyper::Uri;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

pub(crate) use table::{Config, Ladder, Slate};
pub(crate) use text::{example, help};
pub(crate) use value::Quality;

/// The maximum that the SRT handshake can carry, in milliseconds.
const MAX_SRT_LATENCY: u64 = 65_535;
/// Sensible target loudness, in LUFS.
const LOUDNESS: RangeInclusive<f64> = -40.0..=-10.0;
/// Times in seconds, from one second to a day.
const SECONDS: RangeInclusive<u64> = 1..=86_400;
/// Connections. Each takes a file descriptor, and Linux has fewer.
const CONNECTIONS: RangeInclusive<u64> = 1..=10_000_000;
/// Simulcast targets of a live stream. The queue of each takes up to 16 MiB.
const SIMULCAST_TARGETS: RangeInclusive<u64> = 0..=100;

impl Config {
    /// Reads and validates the settings. `vars` is the environment.
    pub(crate) fn load(file: Option<&Path>, vars: impl Iterator<Item = (String, String)>) -> anyhow::Result<Self> {
        let config = load::layers(file, vars)?;
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> anyhow::Result<()> {
        self.validate_numbers()?;
        self.log_filter()?;
        control::check_store_url(&self.store_url()).context("store.url")?;
        if !self.public_url.is_empty() && !is_base(&self.public_url) {
            bail!(
                "public_url must be an address such as https://live.example.org, without a path, not {:?}",
                self.public_url
            );
        }
        if self.api.token_id.is_empty() != self.api.token_secret.0.is_empty() {
            bail!("api.token_id and api.token_secret go together: set both, or neither to have a token created");
        }
        if self.api.token_id.contains(':') {
            bail!("api.token_id must be without a colon, which ends the user name in HTTP Basic");
        }
        let given = |cert: &Path, key: &Path| !cert.as_os_str().is_empty() && !key.as_os_str().is_empty();
        if self.https.listen.0.is_some() && !given(&self.https.cert, &self.https.key) {
            bail!("https.listen needs https.cert and https.key (PEM files)");
        }
        if self.rtmps.listen.0.is_some() && !given(&self.rtmps.cert, &self.rtmps.key) && !self.rtmps.self_signed {
            bail!("rtmps.listen needs rtmps.cert and rtmps.key (PEM files), or rtmps.self_signed = true");
        }
        Ok(())
    }

    fn validate_numbers(&self) -> anyhow::Result<()> {
        let (http, rtmp) = (&self.http, &self.rtmp);
        let bounds = [
            ("http.max_connections", http.max_connections as u64, CONNECTIONS),
            ("http.write_stall", http.write_stall, SECONDS),
            ("http.workers", http.workers as u64, 0..=1_024),
            ("rtmp.max_connections", rtmp.max_connections as u64, CONNECTIONS),
            ("rtmp.max_connections_per_address", rtmp.max_connections_per_address as u64, CONNECTIONS),
            ("rtmp.handshake_timeout", rtmp.handshake_timeout, SECONDS),
            ("rtmp.idle_timeout", rtmp.idle_timeout, SECONDS),
            ("rtmp.max_message", rtmp.max_message as u64, 65_536..=1 << 30),
            ("srt.latency_ms", self.srt.latency_ms, 0..=MAX_SRT_LATENCY),
            ("ingest.max_bitrate", self.ingest.max_bitrate, 1..=u64::MAX / 16),
            ("ingest.media_timeout", self.ingest.media_timeout, SECONDS),
            ("simulcast.max_targets", self.simulcast.max_targets as u64, SIMULCAST_TARGETS),
        ];
        for (key, value, range) in bounds {
            if !range.contains(&value) {
                bail!("{key} must be from {} to {}, not {value}", range.start(), range.end());
            }
        }
        if !LOUDNESS.contains(&self.ladder.loudness_lufs) {
            bail!("ladder.loudness_lufs must be from {} to {}", LOUDNESS.start(), LOUDNESS.end());
        }
        Ok(())
    }

    /// Returns the filter of the log.
    pub(crate) fn log_filter(&self) -> anyhow::Result<EnvFilter> {
        let filter = &self.log.filter;
        let wrong = || format!("log.filter must be a filter such as info or ingest=debug,info, not {filter:?}");
        // A single word must be a level. The filter would also accept it as a target, and a mistyped level would
        // silence the log.
        let is_level = |word: &str| word.contains(['=', '[']) || word.parse::<LevelFilter>().is_ok();
        if filter.trim().is_empty() || !filter.split(',').all(|word| is_level(word.trim())) {
            bail!(wrong());
        }
        EnvFilter::try_new(filter).map_err(|_| anyhow::anyhow!(wrong()))
    }

    /// Returns the URL of the store.
    pub(crate) fn store_url(&self) -> String {
        if self.store.url.is_empty() {
            format!("sqlite://{}", self.data_dir.join("weir.db").display())
        } else {
            self.store.url.clone()
        }
    }

    /// Returns the address that is printed and given to API clients.
    pub(crate) fn public_url(&self) -> String {
        if !self.public_url.is_empty() {
            return self.public_url.trim_end_matches('/').to_owned();
        }
        let listen = self.http.listen;
        if listen.ip().is_unspecified() {
            format!("http://localhost:{}", listen.port())
        } else {
            format!("http://{listen}")
        }
    }
}

/// Returns true for a URL to which paths can be appended.
fn is_base(text: &str) -> bool {
    text.parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && matches!(uri.path_and_query().map(|path| path.as_str()), None | Some("/"))
    })
}

#[cfg(test)]
mod tests {
    use super::value::Listen;
    use super::*;

    fn load(toml: &str, vars: &[(&str, &str)]) -> anyhow::Result<Config> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("weir.toml");
        std::fs::write(&path, toml)?;
        Config::load(Some(&path), vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    #[test]
    fn environment_variables_override_the_file() {
        let config = load(
            "data_dir = '/srv/weir'\n[http]\nlisten = '127.0.0.1:1'\n[rtmp]\nidle_timeout = 7\n",
            &[("WEIR_HTTP_LISTEN", "127.0.0.1:2"), ("WEIR_API_TOKEN_ID", "123"), ("WEIR_API_TOKEN_SECRET", "456")],
        )
        .unwrap();
        assert_eq!(config.http.listen.port(), 2);
        assert_eq!(config.rtmp.idle_timeout, 7);
        assert_eq!(config.rtmp.listen.port(), 1935);
        assert_eq!(config.api.token_id, "123");
        assert_eq!(config.store_url(), "sqlite:///srv/weir/weir.db");
        assert_eq!(config.public_url(), "http://127.0.0.1:2");
        assert_eq!(load("[srt]\nlisten = ''\n", &[]).unwrap().srt.listen, Listen(None));
    }

    #[test]
    fn numbers_may_be_negative_and_fractional() {
        let loudness = |toml, vars| load(toml, vars).unwrap().ladder.loudness_lufs;
        assert_eq!(loudness("", &[]), -24.0);
        assert_eq!(loudness("[ladder]\nloudness_lufs = -16\n", &[]), -16.0);
        assert_eq!(loudness("[ladder]\nloudness_lufs = -16\n", &[("WEIR_LADDER_LOUDNESS_LUFS", "-23.5")]), -23.5);
    }

    /// Words from the errors of the libraries that read the settings.
    const INTERNALS: [&str; 8] = ["invalid type", "expected", "u64", "usize", "f64", "figment", "struct", "profile"];

    #[test]
    fn errors_in_the_file_name_the_key() {
        for (toml, message) in [
            ("[htp]\nlisten = 'x'\n", "htp is not a setting of Weir"),
            ("[http]\nlisen = 'x'\n", "http.lisen is not a setting of Weir: did you mean http.listen?"),
            ("color = 1\n", "color is not a setting of Weir"),
            (
                "[http]\nlisten = 8080\n",
                "http.listen must be an address with a port, such as 0.0.0.0:8080 or [::]:8080, not 8080",
            ),
            ("[http]\nlisten = 'localhost:8080'\n", "http.listen must be an address with a port"),
            ("[http]\nmax_connections = 'many'\n", "http.max_connections must be a whole number, not \"many\""),
            ("[http]\nmax_connections = -1\n", "http.max_connections must be a whole number, not -1"),
            ("[http]\nmax_connections = 0\n", "http.max_connections must be from 1 to 10000000, not 0"),
            ("[rtmp]\nidle_timeout = 1.5\n", "rtmp.idle_timeout must be a whole number, not 1.5"),
            ("[rtmp]\nhandshake_timeout = 1000000\n", "rtmp.handshake_timeout must be from 1 to 86400"),
            ("[rtmps]\nself_signed = 'yes'\n", "rtmps.self_signed must be true or false, not \"yes\""),
            ("[ladder]\nquality = 'best'\n", "ladder.quality must be basic, plus or premium, not \"best\""),
            ("[ladder]\nloudness_lufs = -5\n", "ladder.loudness_lufs must be from -40 to -10"),
            ("data_dir = 3\n", "data_dir must be a path, as a string, not 3"),
            ("http = 3\n", "http is a section and must be written as [http]"),
            ("[http\n", "is not valid TOML"),
            ("[api]\ntoken_secret = hush-hush\n", "is not valid TOML: TOML parse error at line 2"),
            ("[https]\nlisten = '0.0.0.0:443'\n", "https.listen needs https.cert"),
            ("[https]\nlisten = '443'\n", "https.listen must be an address with a port"),
            ("[rtmps]\nlisten = '0.0.0.0:443'\n", "rtmps.listen needs rtmps.cert"),
            ("[srt]\nlisten = '6001'\n", "srt.listen must be an address with a port"),
            ("[api]\ntoken_id = 'x'\n", "api.token_id and api.token_secret go together"),
            ("[api]\ntoken_id = 'a:b'\ntoken_secret = 'c'\n", "api.token_id must be without a colon"),
            ("[simulcast]\nmax_targets = 101\n", "simulcast.max_targets must be from 0 to 100, not 101"),
            ("[simulcast]\nca_file = 1\n", "simulcast.ca_file must be a path, as a string, not 1"),
            ("[store]\nurl = 'postgres://x/y'\n", "store.url"),
            ("[log]\nfilter = 'inof'\n", "log.filter must be a filter such as info"),
            ("[log]\nfilter = 'ingest=loud'\n", "log.filter must be a filter"),
            ("[log]\nfilter = ''\n", "log.filter must be a filter"),
            ("public_url = 'live.example.org'\n", "public_url must be an address such as"),
            ("public_url = 'https://live.example.org/weir'\n", "public_url must be an address such as"),
        ] {
            let error = format!("{:#}", load(toml, &[]).unwrap_err());
            assert!(error.contains(message), "{toml:?}: {error}");
            assert!(!error.contains("hush"), "a secret in {error}");
            let internal = INTERNALS.into_iter().find(|word| error.contains(word) && !message.contains("TOML"));
            assert_eq!(internal, None, "{toml:?}: {error}");
        }
    }

    #[test]
    fn errors_in_the_environment_name_the_variable() {
        for (name, value, message) in [
            ("WEIR_RTMP_IDLE_TIMEOUT", "soon", "WEIR_RTMP_IDLE_TIMEOUT must be a whole number, not \"soon\""),
            ("WEIR_LADDER_LOUDNESS_LUFS", "loud", "WEIR_LADDER_LOUDNESS_LUFS must be a number"),
            ("WEIR_LOG_JSON", "1", "WEIR_LOG_JSON must be true or false, not \"1\""),
            ("WEIR_HTTP_LISTEN", "8080", "WEIR_HTTP_LISTEN must be an address with a port, such as"),
            ("WEIR_LADDER_QUALITY", "best", "WEIR_LADDER_QUALITY must be basic, plus or premium, not \"best\""),
            ("WEIR_SRT_LATENCY_MS", "65536", "srt.latency_ms must be from 0 to 65535"),
            (
                "WEIR_HTP_LISTEN",
                "0.0.0.0:1",
                "WEIR_HTP_LISTEN is not a setting of Weir: did you mean WEIR_HTTP_LISTEN?",
            ),
            ("WEIR_HTTP_PORT", "8080", "WEIR_HTTP_PORT is not a setting of Weir"),
        ] {
            let error = format!("{:#}", load("", &[(name, value)]).unwrap_err());
            assert!(error.contains(message), "{name}: {error}");
            assert_eq!(INTERNALS.into_iter().find(|word| error.contains(word)), None, "{name}: {error}");
        }
    }

    #[test]
    fn variables_that_other_programs_set_are_ignored() {
        let others = [
            ("WEIR_CONFIG", "/etc/weir.toml"),
            ("WEIR_SERVICE_HOST", "10.0.0.1"),
            ("WEIR_SERVICE_PORT_HTTP", "8080"),
            ("WEIR_PORT", "tcp://10.0.0.1:8080"),
            ("WEIR_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("WEIR_E2E_SECONDS", "15"),
            ("WEIRD", "x"),
            ("PATH", "/bin"),
        ];
        load("", &others).unwrap();
    }

    #[test]
    fn secrets_are_not_printed() {
        let config = load("[api]\ntoken_id = 'id'\ntoken_secret = 'hush'\n", &[]).unwrap();
        assert!(!format!("{config:?}").contains("hush"));
        let error = load("[api]\ntoken_id = 'id'\ntoken_secret = 123456\n", &[]).unwrap_err();
        assert!(format!("{error:#}").ends_with("api.token_secret must be a string"), "{error:#}");
    }
}
