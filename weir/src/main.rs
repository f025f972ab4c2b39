//! Weir, a live media server: RTMP, RTMPS and SRT in, HLS and low-latency HLS out.
//!
//! This file is the command line; [`serve`] wires the crates together.

mod broadcast;
mod check;
mod config;
mod data_dir;
mod encoding;
mod exit;
mod faults;
mod figures;
mod gaps;
mod memory;
mod metrics;
mod packaging;
mod serve;
mod slate_image;
mod studio;
mod tls;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use config::Config;
use tracing_subscriber::EnvFilter;

/// A live media server: encoders push RTMP, RTMPS and SRT, viewers pull HLS and low-latency HLS, an API controls it.
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server.
    #[command(after_help = AFTER_HELP)]
    Serve(Options),
    /// Say whether this machine can run the server: folders, ports, certificates, store.
    #[command(after_help = AFTER_HELP)]
    Check(Options),
}

#[derive(clap::Args)]
struct Options {
    /// The configuration file (TOML); without one the defaults hold.
    #[arg(long, value_name = "FILE", env = "WEIR_CONFIG")]
    config: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Settings: every key of the configuration file has an environment variable, WEIR_<SECTION>_<KEY>, which wins.

  data_dir       WEIR_DATA_DIR        ./data            store, keys, certificates made by Weir
  public_url     WEIR_PUBLIC_URL      http://localhost:<port of http.listen>
  http.listen    WEIR_HTTP_LISTEN     0.0.0.0:8080      API, playback, metrics, watch page
  http.max_connections, http.write_stall (seconds), http.workers (0: one a core)
  https.listen   WEIR_HTTPS_LISTEN    off               with https.cert and https.key (PEM files)
  rtmp.listen    WEIR_RTMP_LISTEN     0.0.0.0:1935
  rtmp.max_connections, rtmp.max_connections_per_address, rtmp.handshake_timeout (seconds),
  rtmp.idle_timeout (seconds), rtmp.max_message (bytes)
  rtmps.listen   WEIR_RTMPS_LISTEN    off               with rtmps.cert and rtmps.key, or rtmps.self_signed=true
  srt.listen     WEIR_SRT_LISTEN      0.0.0.0:6001      UDP; an empty address turns it off
  srt.latency_ms (the least), srt.encryption (false: encoders come without a passphrase)
  ingest.max_bitrate (bits a second of one encoder), ingest.max_memory (bytes of all; 0: half of what there is),
  ingest.media_timeout (seconds without a frame that an encoder may stay connected)
  ladder.quality WEIR_LADDER_QUALITY  basic             of live streams that ask for none: basic, plus, premium
  ladder.hardware (true: encode with the machine's hardware where it can), ladder.loudness_lufs (-24: of normalized sound)
  api.token_id, api.token_secret      made at the first start and printed once
  store.url      WEIR_STORE_URL       sqlite://<data_dir>/weir.db
  log.filter     WEIR_LOG_FILTER      info              a tracing filter
  log.json       WEIR_LOG_JSON        false             one JSON object a line";

fn main() {
    let command = Cli::parse().command;
    let result = match command {
        Command::Serve(options) => load(&options).and_then(|config| {
            start_logs(&config);
            serve::run(config).map(|()| ExitCode::SUCCESS)
        }),
        Command::Check(options) => load(&options).and_then(|config| check::run(&config)),
    };
    let code = result.unwrap_or_else(|error| {
        // Logs may not be set up yet, and whoever started the program looks here.
        exit::say(move || drop(writeln!(std::io::stderr(), "weir: {error:#}")));
        ExitCode::FAILURE
    });
    exit::leave(u8::from(code != ExitCode::SUCCESS))
}

fn load(options: &Options) -> anyhow::Result<Config> {
    Config::load(options.config.as_deref(), std::env::vars())
}

fn start_logs(config: &Config) {
    let filter = EnvFilter::try_new(&config.log.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Where the log goes to a full disk, to complain of that on the same way would be a panic of whoever logs.
        .log_internal_errors(false);
    if config.log.json {
        logs.json().init();
    } else {
        logs.with_ansi(std::io::stderr().is_terminal()).init();
    }
}
