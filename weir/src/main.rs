//! Weir, a live media server: RTMP, RTMPS and SRT in, HLS and low-latency HLS out.
//!
//! This file is the command line; [`serve`] wires the crates together.

mod adapters;
mod app;
mod broadcast;
mod check;
mod config;
mod crate_settings;
mod data_dir;
mod endpoints;
mod exit;
mod faults;
mod home;
mod listen;
mod memory;
mod metrics;
mod open_files;
mod package_latency;
mod serve;
mod slate_image;
mod tls;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use config::Config;

/// A live media server: encoders push RTMP, RTMPS and SRT, viewers pull HLS and low-latency HLS, an API controls it.
#[derive(Parser)]
#[command(version, after_help = config::help())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server.
    #[command(after_help = config::help())]
    Serve(Options),
    /// Check whether this machine can run the server: folders, store, ports, certificates, limits, encoders.
    #[command(after_help = config::help())]
    Check(Options),
    /// Print a configuration file with every setting, its meaning and its default.
    Config,
}

#[derive(clap::Args)]
struct Options {
    /// Configuration file (TOML). Without it, every setting has its default.
    #[arg(long, value_name = "FILE", env = "WEIR_CONFIG")]
    config: Option<PathBuf>,
}

fn main() {
    let command = Cli::parse().command;
    let result = match command {
        Command::Serve(options) => load(&options).and_then(|config| {
            start_logs(&config)?;
            serve::run(config).map(|()| ExitCode::SUCCESS)
        }),
        Command::Check(options) => load(&options).and_then(|config| check::run(&config)),
        Command::Config => print_settings(),
    };
    let code = result.unwrap_or_else(|error| {
        // Standard error, because logging may not be set up yet.
        exit::print_last(move || drop(writeln!(std::io::stderr(), "weir: {error:#}")));
        ExitCode::FAILURE
    });
    exit::leave(u8::from(code != ExitCode::SUCCESS))
}

fn load(options: &Options) -> anyhow::Result<Config> {
    // A name that is not UTF-8 cannot be a setting. Errors quote a value that is not UTF-8 as far as it can be read.
    let vars = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())));
    Config::load(options.config.as_deref(), vars)
}

fn print_settings() -> anyhow::Result<ExitCode> {
    std::io::stdout().write_all(config::example().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn start_logs(config: &Config) -> anyhow::Result<()> {
    let logs = tracing_subscriber::fmt()
        .with_env_filter(config.log_filter()?)
        .with_writer(std::io::stderr)
        // If the log goes to a full disk, the report of that error would fail as well and panic the task that logs.
        .log_internal_errors(false);
    if config.log.json {
        logs.json().init();
    } else {
        logs.with_ansi(std::io::stderr().is_terminal()).init();
    }
    Ok(())
}
