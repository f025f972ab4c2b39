//! Every setting, where it comes from, and what it is when nobody says.
//!
//! Three layers, the later wins: the defaults below, the TOML file, and the environment, where `http.listen` is
//! `WEIR_HTTP_LISTEN`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use figment::value::{Num, Value};
use serde::{Deserialize, Serialize};

/// The prefix of every environment variable.
const PREFIX: &str = "WEIR_";
/// What the handshake of SRT can carry.
const MAX_SRT_LATENCY: u64 = 65_535;

/// What sound can sensibly be brought to, in LUFS.
const LOUDNESS: std::ops::RangeInclusive<f64> = -40.0..=-10.0;

/// The whole configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Folder for the store, keys and certificates Weir makes itself.
    pub data_dir: PathBuf,
    /// Address that viewers and API clients use, as in `https://live.example.org`; empty: made from `http.listen`.
    pub public_url: String,
    pub http: Http,
    pub https: Tls,
    pub rtmp: Rtmp,
    pub rtmps: Rtmps,
    pub srt: Srt,
    pub ingest: Ingest,
    pub ladder: Ladder,
    pub slate: Slate,
    pub api: Api,
    pub store: Store,
    pub log: Log,
}

/// API, playback, metrics and the watch page.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    pub listen: SocketAddr,
    /// Connections at once; further ones wait in the kernel's backlog.
    pub max_connections: usize,
    /// Seconds without progress after which a slow reader is cut off.
    pub write_stall: u64,
    /// Threads that serve viewers; 0 for one a core.
    pub workers: usize,
}

/// A TLS listener; an empty address turns it off.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    pub listen: String,
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// RTMP and the limits of every encoder connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rtmp {
    pub listen: SocketAddr,
    /// Encoder connections at once, RTMPS included.
    pub max_connections: usize,
    /// Encoder connections at once from one address.
    pub max_connections_per_address: usize,
    /// Seconds from accept to a publish request.
    pub handshake_timeout: u64,
    /// Seconds after which a connection whose other end does not answer any more is taken for dead.
    pub idle_timeout: u64,
    /// Largest message an admitted encoder may send, in bytes.
    pub max_message: usize,
}

/// RTMP over TLS.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rtmps {
    pub listen: String,
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Make a certificate of our own when `cert` is empty.
    pub self_signed: bool,
}

/// SRT; an empty address turns it off. Its connections count among those of `rtmp`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Srt {
    pub listen: String,
    /// Least latency in milliseconds; the encoder may ask for more.
    pub latency_ms: u64,
    /// Encoders encrypt with their live stream's passphrase; false: they must not encrypt.
    pub encryption: bool,
}

/// What encoders may use, whatever they speak.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ingest {
    /// Bits a second that one encoder may send in the long run.
    pub max_bitrate: u64,
    /// Bytes that the media of all encoders may take, the windows of their viewers included; 0 for half of what there is.
    pub max_memory: u64,
    /// Seconds without a frame after which an encoder that stays connected is ended.
    pub media_timeout: u64,
}

/// Encoding of renditions.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ladder {
    /// For live streams that ask for none: `basic` passes the programme through, `plus` and `premium` encode renditions.
    pub quality: Quality,
    /// Encode with the machine's hardware where it can.
    pub hardware: bool,
    /// Loudness in LUFS that the sound of live streams with `normalize_audio` is brought to.
    pub loudness_lufs: f64,
    /// Pass the encoder's own frames on where they can be: H.264 as the largest rendition, HEVC, AV1 and VP9 as one more.
    pub source: bool,
}

/// How much is encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Quality {
    Basic,
    Plus,
    Premium,
}

/// The picture that viewers see while the encoder is away.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slate {
    /// Fetch `reconnect_slate_url` from private addresses as well.
    pub allow_private: bool,
}

/// Who may use the API; both empty: a token is made at the first start and printed once.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Api {
    pub token_id: String,
    pub token_secret: String,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("token_id", &self.token_id).finish_non_exhaustive()
    }
}

/// Where resources are kept; empty: `sqlite://<data_dir>/weir.db`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Store {
    pub url: String,
}

/// What is logged and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    /// A tracing filter: `info`, `debug`, `weir=debug,info`.
    pub filter: String,
    /// One JSON object a line instead of text.
    pub json: bool,
}

impl Default for Config {
    fn default() -> Self {
        let any = |port| SocketAddr::from(([0, 0, 0, 0], port));
        Self {
            data_dir: "./data".into(),
            public_url: String::new(),
            http: Http { listen: any(8080), max_connections: 100_000, write_stall: 10, workers: 0 },
            https: Tls { listen: String::new(), cert: PathBuf::new(), key: PathBuf::new() },
            rtmp: Rtmp {
                listen: any(1935),
                max_connections: 1_000,
                max_connections_per_address: 100,
                handshake_timeout: 10,
                idle_timeout: 30,
                max_message: 16 << 20,
            },
            rtmps: Rtmps { listen: String::new(), cert: PathBuf::new(), key: PathBuf::new(), self_signed: false },
            srt: Srt { listen: any(6001).to_string(), latency_ms: 200, encryption: true },
            ingest: Ingest { max_bitrate: 100_000_000, max_memory: 0, media_timeout: 300 },
            ladder: Ladder { quality: Quality::Basic, hardware: true, loudness_lufs: -24.0, source: false },
            slate: Slate { allow_private: false },
            api: Api { token_id: String::new(), token_secret: String::new() },
            store: Store { url: String::new() },
            log: Log { filter: "info".into(), json: false },
        }
    }
}

impl Config {
    /// Reads the three layers. `vars` is the environment.
    pub(crate) fn load(file: Option<&Path>, vars: impl Iterator<Item = (String, String)>) -> anyhow::Result<Self> {
        let defaults = Figment::from(Serialized::defaults(Self::default()));
        let keys = keys(&defaults)?;
        let mut figment = defaults;
        if let Some(path) = file {
            if !path.is_file() {
                bail!("there is no configuration file at {}", path.display());
            }
            figment = figment.merge(Toml::file_exact(path));
        }
        for (name, text) in vars {
            let Some((key, default)) = keys.iter().find(|(key, _)| variable(key) == name) else { continue };
            let value = typed(&text, default).with_context(|| format!("{name} (for {key})"))?;
            figment = figment.merge((key.as_str(), value));
        }
        let config: Self = figment.extract().map_err(|e| anyhow::anyhow!("configuration: {e}"))?;
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> anyhow::Result<()> {
        if self.api.token_id.is_empty() != self.api.token_secret.is_empty() {
            bail!("api.token_id and api.token_secret go together: set both, or neither to have them made");
        }
        if self.https.address()?.is_some()
            && (self.https.cert.as_os_str().is_empty() || self.https.key.as_os_str().is_empty())
        {
            bail!("https.listen needs https.cert and https.key (PEM files)");
        }
        let rtmps_files = !self.rtmps.cert.as_os_str().is_empty() && !self.rtmps.key.as_os_str().is_empty();
        if self.rtmps.address()?.is_some() && !rtmps_files && !self.rtmps.self_signed {
            bail!("rtmps.listen needs rtmps.cert and rtmps.key (PEM files), or rtmps.self_signed = true");
        }
        self.srt.address()?;
        if !LOUDNESS.contains(&self.ladder.loudness_lufs) {
            bail!("ladder.loudness_lufs is from {} to {}", LOUDNESS.start(), LOUDNESS.end());
        }
        if self.srt.latency_ms > MAX_SRT_LATENCY {
            bail!("srt.latency_ms is at most {MAX_SRT_LATENCY}: SRT has two bytes for it");
        }
        Ok(())
    }

    /// The store's address.
    pub(crate) fn store_url(&self) -> String {
        if self.store.url.is_empty() {
            format!("sqlite://{}", self.data_dir.join("weir.db").display())
        } else {
            self.store.url.clone()
        }
    }

    /// The address to print and hand out.
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

impl Tls {
    pub(crate) fn address(&self) -> anyhow::Result<Option<SocketAddr>> {
        optional_address("https.listen", &self.listen)
    }
}

impl Rtmps {
    pub(crate) fn address(&self) -> anyhow::Result<Option<SocketAddr>> {
        optional_address("rtmps.listen", &self.listen)
    }
}

impl Srt {
    pub(crate) fn address(&self) -> anyhow::Result<Option<SocketAddr>> {
        optional_address("srt.listen", &self.listen)
    }
}

fn optional_address(key: &str, text: &str) -> anyhow::Result<Option<SocketAddr>> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).with_context(|| format!("{key}: {text:?} is not an address such as 0.0.0.0:443"))
}

/// Every key in its dotted form with its default value.
fn keys(defaults: &Figment) -> anyhow::Result<Vec<(String, Value)>> {
    fn walk(prefix: &str, value: Value, out: &mut Vec<(String, Value)>) {
        match value {
            Value::Dict(_, dict) => dict.into_iter().for_each(|(k, v)| {
                let key = if prefix.is_empty() { k } else { format!("{prefix}.{k}") };
                walk(&key, v, out);
            }),
            leaf => out.push((prefix.to_owned(), leaf)),
        }
    }
    let mut out = Vec::new();
    for (key, value) in defaults.extract::<figment::value::Dict>()? {
        walk(&key, value, &mut out);
    }
    Ok(out)
}

/// The environment variable of a key: `api.token_id` is `WEIR_API_TOKEN_ID`.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_uppercase())
}

/// `text` as a value of the default's type.
fn typed(text: &str, default: &Value) -> anyhow::Result<Value> {
    Ok(match default {
        Value::Bool(..) => Value::from(text.parse::<bool>().context("true or false is wanted")?),
        Value::Num(_, Num::F32(_) | Num::F64(_)) => Value::from(text.parse::<f64>().context("a number is wanted")?),
        Value::Num(..) => Value::from(text.parse::<u64>().context("a whole number is wanted")?),
        _ => Value::from(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(toml: &str, vars: &[(&str, &str)]) -> anyhow::Result<Config> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("weir.toml");
        std::fs::write(&path, toml)?;
        Config::load(Some(&path), vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    #[test]
    fn the_environment_wins_over_the_file() {
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
    }

    #[test]
    fn numbers_may_be_negative_and_broken() {
        let loudness = |toml, vars| load(toml, vars).unwrap().ladder.loudness_lufs;
        assert_eq!(loudness("", &[]), -24.0);
        assert_eq!(loudness("[ladder]\nloudness_lufs = -16\n", &[]), -16.0);
        assert_eq!(loudness("[ladder]\nloudness_lufs = -16\n", &[("WEIR_LADDER_LOUDNESS_LUFS", "-23.5")]), -23.5);
    }

    #[test]
    fn mistakes_are_named() {
        let error = |toml, vars: &[(&str, &str)]| format!("{:#}", load(toml, vars).unwrap_err());
        assert!(error("[htp]\nlisten = 'x'\n", &[]).contains("htp"));
        assert!(error("", &[("WEIR_RTMP_IDLE_TIMEOUT", "soon")]).contains("WEIR_RTMP_IDLE_TIMEOUT"));
        assert!(error("[https]\nlisten = '0.0.0.0:443'\n", &[]).contains("https.cert"));
        assert!(error("[https]\nlisten = '443'\n", &[]).contains("https.listen"));
        assert!(error("[srt]\nlisten = '6001'\n", &[]).contains("srt.listen"));
        assert!(error("", &[("WEIR_SRT_LATENCY_MS", "65536")]).contains("srt.latency_ms"));
        assert!(error("[ladder]\nloudness_lufs = -5\n", &[]).contains("ladder.loudness_lufs"));
        assert!(error("", &[("WEIR_LADDER_LOUDNESS_LUFS", "loud")]).contains("WEIR_LADDER_LOUDNESS_LUFS"));
        assert!(error("[api]\ntoken_id = 'x'\n", &[]).contains("token_secret"));
    }

    #[test]
    fn secrets_are_not_printed() {
        let config = load("[api]\ntoken_id = 'id'\ntoken_secret = 'hush'\n", &[]).unwrap();
        assert!(!format!("{config:?}").contains("hush"));
    }
}
