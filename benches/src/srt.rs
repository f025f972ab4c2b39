//! The cost of SRT over a lossy network: Weir packages the streams, and srt-live-transmit writes the same streams to
//! files, in one run.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::clip::{self, Quality};
use crate::http::LiveStream;
use crate::lossy::{Link, Lossy};
use crate::peers::{self, LOAD_CORE, Process, SERVER_CORE, Weir};
use crate::{proc, report};

const GOAL: f64 = 1.0;
/// Delay in each direction, for a round trip of 50 ms.
const DELAY: Duration = Duration::from_millis(25);
const LATENCY: Duration = Duration::from_millis(500);
/// Time for all connections to be established and the windows to fill.
const WARM_UP: Duration = Duration::from_secs(12);
/// Maximum difference of the bytes that both servers receive, as a share, because they connect at different times.
const MAX_DIFFERENCE: f64 = 0.02;
const PASSPHRASE: &str = "a-passphrase-of-no-worth";

/// Options of the benchmark.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The binary of Weir.
    #[arg(long, default_value = "target/release/weir")]
    weir: PathBuf,
    /// Numbers of encoders to measure, one after another.
    #[arg(long, value_delimiter = ',', default_value = "1,5")]
    publishers: Vec<usize>,
    /// Latency modes to measure, one after another.
    #[arg(long, value_delimiter = ',', default_value = "low,standard")]
    modes: Vec<String>,
    /// Packets lost out of a thousand.
    #[arg(long, default_value_t = 50)]
    per_mille: u64,
    /// Seconds of the measurement.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// CPU time and bytes of one program.
#[derive(Clone, Copy, Default)]
struct Cost {
    cpu: Duration,
    bytes: f64,
}

impl Cost {
    fn since(self, before: Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(before.cpu), bytes: self.bytes - before.bytes }
    }

    fn plus(self, other: Self) -> Self {
        Self { cpu: self.cpu + other.cpu, bytes: self.bytes + other.bytes }
    }

    fn megabits(self) -> f64 {
        self.bytes * 8.0 / 1e6
    }

    /// Returns the CPU milliseconds per megabit, which are thousandths of a core per Mbit/s.
    fn per_megabit(self) -> f64 {
        self.cpu.as_secs_f64() * 1e3 / self.megabits()
    }
}

struct Outcome {
    weir: Cost,
    peer: Cost,
    /// Packets that were missing when they were due.
    lost: f64,
    /// Packets that did not arrive in time after a retransmission either.
    dropped: f64,
    continuity_errors: f64,
}

/// Runs the benchmark and prints its table.
pub(crate) fn run(args: &Args) -> Result<()> {
    report::header("SRT ingest");
    proc::pin_self(LOAD_CORE)?;
    let clip = clip::file(Quality::FULL_HD)?;
    report::table(&[
        "encoders",
        "mode",
        "Mbit/s",
        "Weir, CPU ms per Mbit",
        "srt-live-transmit, CPU ms per Mbit",
        "ratio",
        "goal ≤ 1.0",
        "packets lost",
        "packets not recovered",
        "gaps in the transport stream",
    ]);
    for mode in &args.modes {
        for n in &args.publishers {
            let outcome = measure(args, mode, *n, &clip).with_context(|| format!("{n} encoders, {mode}"))?;
            print(args, mode, *n, &outcome);
        }
    }
    Ok(())
}

fn measure(args: &Args, mode: &str, n: usize, clip: &Path) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let weir = Weir::start_with_srt(&args.weir, Some(SERVER_CORE))?;
    let listener = weir.srt.context("SRT is enabled")?;
    let streams = runtime.block_on(weir.create_streams_in(mode, n, 60))?;
    let peers: Vec<_> = (0..n).map(|_| Peer::start()).collect::<Result<_>>()?;

    let mut pushes = Vec::with_capacity(2 * n);
    for (i, (stream, peer)) in streams.iter().zip(&peers).enumerate() {
        let link = Link { per_mille: args.per_mille, delay: DELAY, seed: i as u64 };
        let LiveStream { key, srt_passphrase, .. } = stream;
        let query = format!("streamid={key}&passphrase={srt_passphrase}");
        pushes.push(push(clip, link, listener, &query)?);
        pushes.push(push(clip, link, peer.address, &format!("passphrase={PASSPHRASE}"))?);
    }
    std::thread::sleep(WARM_UP);
    let cost_of_weir = || -> Result<Cost> {
        let bytes = runtime.block_on(weir.metric("weir_ingest_bytes_total"))?.context("no bytes in /metrics")?;
        Ok(Cost { cpu: proc::cpu(weir.process.pid())?, bytes })
    };
    let cost_of_peers = || peers.iter().try_fold(Cost::default(), |sum, peer| peer.cost().map(|cost| sum.plus(cost)));
    let before = (cost_of_weir()?, cost_of_peers()?);
    std::thread::sleep(Duration::from_secs(args.seconds));
    let after = (cost_of_weir()?, cost_of_peers()?);
    let (weir_cost, peer_cost) = (after.0.since(before.0), after.1.since(before.1));
    let difference = (weir_cost.bytes - peer_cost.bytes).abs() / peer_cost.bytes;
    ensure!(
        difference < MAX_DIFFERENCE,
        "Weir received {} bytes, srt-live-transmit {}",
        weir_cost.bytes,
        peer_cost.bytes
    );
    ensure!(pushes.iter().all(|(_, lossy)| lossy.lost() > 0 || args.per_mille == 0), "a relay lost nothing");
    let metric = |name| runtime.block_on(weir.metric(name))?.with_context(|| format!("{name} is not in /metrics"));
    Ok(Outcome {
        weir: weir_cost,
        peer: peer_cost,
        lost: metric("weir_srt_lost_packets_total")?,
        dropped: metric("weir_srt_dropped_packets_total")?,
        continuity_errors: metric("weir_srt_continuity_errors_total")?,
    })
}

/// Pushes the clip in a loop through a separate relay.
fn push(clip: &Path, link: Link, server: SocketAddr, query: &str) -> Result<(Process, Lossy)> {
    let lossy = Lossy::start(link, server)?;
    let mut command = peers::command("ffmpeg", Some(LOAD_CORE));
    command.args(["-hide_banner", "-nostdin", "-loglevel", "error", "-re", "-stream_loop", "-1", "-i"]).arg(clip);
    let url = format!("srt://{}?{query}&latency={}&pkt_size=1316", lossy.address(), LATENCY.as_micros());
    command.args(["-c", "copy", "-f", "mpegts", &url]).stdin(Stdio::null()).stderr(Stdio::null());
    Ok((Process::start(command)?, lossy))
}

/// srt-live-transmit, which writes the received stream to a file in memory.
struct Peer {
    process: Process,
    address: SocketAddr,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Peer {
    fn start() -> Result<Self> {
        let folder = peers::memory_folder()?;
        let file = folder.path().join("received.ts");
        // There is no need to wait for the listener, because the caller repeats its handshake until there is one.
        let address = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = peers::command("srt-live-transmit", Some(SERVER_CORE));
        let url = format!("srt://{address}?mode=listener&passphrase={PASSPHRASE}&latency={}", LATENCY.as_millis());
        command.args(["-q", "-loglevel:fatal", &url, "file://con"]).stdin(Stdio::null()).stderr(Stdio::null());
        command.stdout(File::create(&file)?);
        Ok(Self { process: Process::start(command)?, address, file, _folder: folder })
    }

    fn cost(&self) -> Result<Cost> {
        let bytes = self.file.metadata()?.len() as f64;
        Ok(Cost { cpu: proc::cpu(self.process.pid())?, bytes })
    }
}

fn print(args: &Args, mode: &str, n: usize, outcome: &Outcome) {
    let Outcome { weir, peer, .. } = outcome;
    let ratio = weir.per_megabit() / peer.per_megabit();
    report::row(&[
        n.to_string(),
        mode.to_owned(),
        format!("{:.1}", weir.megabits() / args.seconds as f64),
        format!("{:.2}", weir.per_megabit()),
        format!("{:.2}", peer.per_megabit()),
        format!("{ratio:.2}"),
        report::met(ratio <= GOAL).to_owned(),
        format!("{}", outcome.lost),
        format!("{}", outcome.dropped),
        format!("{}", outcome.continuity_errors),
    ]);
}
