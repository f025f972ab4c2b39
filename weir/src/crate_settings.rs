//! The configurations of the crates below, made from the [`Config`] and the limits of the machine.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use control::Token;
use ingest::Limits;
use simulcast::address::Policy;
use simulcast::tls::{self, Roots};

use crate::config::Config;
use crate::memory;
use crate::open_files::{self, OpenFiles};

/// Time for responses that are being sent to viewers when the program shuts down.
const DRAIN_VIEWERS: Duration = Duration::from_secs(5);

/// The configuration of [`control::Control`]. `weir check` opens the same store with it.
pub(crate) fn control_settings(config: &Config) -> control::Config {
    let given = (!config.api.token_id.is_empty())
        .then(|| Token { id: config.api.token_id.clone(), secret: config.api.token_secret.0.clone() });
    control::Config {
        store_url: config.store_url(),
        key_file: config.data_dir.join("secret.key"),
        token: given,
        public_url: config.public_url(),
        environment: control::Environment::default(),
        max_simulcast_targets: config.simulcast.max_targets,
    }
}

/// The configuration of [`ingest::Server`].
pub(crate) fn encoder_limits(config: &Config, open_files: OpenFiles) -> ingest::Config {
    let rtmp = &config.rtmp;
    ingest::Config {
        limits: Limits { connections: open_files.encoders(config), per_address: rtmp.max_connections_per_address },
        handshake_timeout: Duration::from_secs(rtmp.handshake_timeout),
        idle_timeout: Duration::from_secs(rtmp.idle_timeout),
        media_timeout: Duration::from_secs(config.ingest.media_timeout),
        max_message: rtmp.max_message,
        max_bitrate: config.ingest.max_bitrate,
        max_memory: match config.ingest.max_memory {
            0 => memory::available() / 2,
            bytes => bytes,
        },
    }
}

/// The options of the SRT listener.
pub(crate) fn srt_options(config: &Config) -> ingest::srt::Options {
    ingest::srt::Options { latency: Duration::from_millis(config.srt.latency_ms), encryption: config.srt.encryption }
}

/// The configuration of each [`simulcast::Simulcast`], and the TLS roots in it. Reads the files of the roots, so it is
/// called once.
///
/// The targets of each rendition have a [`simulcast::Simulcast`] of their own, and all targets of a live stream may be of
/// one rendition. Hence the limit is the same in both.
pub(crate) fn simulcast_config(config: &Config) -> anyhow::Result<(simulcast::Config, Roots)> {
    let settings = &config.simulcast;
    let ca_file = Some(settings.ca_file.as_path()).filter(|path| *path != Path::new(""));
    let (tls, roots) = tls::client_config(ca_file).context("simulcast.ca_file")?;
    let addresses = Policy {
        section: "simulcast",
        allow_private: settings.allow_private,
        allow_link_local: settings.allow_link_local,
    };
    let config = simulcast::Config { max_targets: settings.max_targets, addresses, ..simulcast::Config::new(tls) };
    Ok((config, roots))
}

/// The configuration of [`origin::Server`].
pub(crate) fn viewer_limits(config: &Config, open_files: OpenFiles) -> origin::Config {
    let defaults = origin::Config::default();
    origin::Config {
        workers: if config.http.workers == 0 { defaults.workers } else { config.http.workers },
        max_connections: open_files.viewers(config),
        spare_connections: open_files::SPARE,
        write_stall: Duration::from_secs(config.http.write_stall),
        drain: DRAIN_VIEWERS,
        ..defaults
    }
}
