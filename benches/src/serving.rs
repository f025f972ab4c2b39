//! Origin: requests a CPU-second for a playlist, a part and a segment, against nginx with the same bytes from memory.
//!
//! Every server runs alone on the servers' core while it is measured; rounds go from one to the next and back, and the
//! medians count. nginx runs with and without `sendfile`, and the better of both is the peer.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::http::Client;
use crate::peers::{LOAD_CORE, Nginx, SERVER_CORE, command, memory_folder};
use crate::push::loopback;
use crate::synthetic::Synthetic;
use crate::{proc, report, stats};

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds for each server in each round.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// A kind of request.
struct Case {
    name: &'static str,
    file: &'static str,
    connections: usize,
    goal: f64,
}

const CASES: [Case; 3] = [
    Case { name: "playlist", file: "playlist.m3u8", connections: 256, goal: 1.3 },
    Case { name: "part", file: "part.mp4", connections: 32, goal: 1.0 },
    Case { name: "segment", file: "segment.mp4", connections: 16, goal: 0.9 },
];

/// What wrk and the kernel say of a round.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Round {
    per_cpu_second: f64,
    per_second: f64,
    p99_ms: f64,
}

/// A server in the comparison.
struct Server {
    pid: u32,
    urls: [String; 3],
}

/// Runs the benchmark and prints its table.
pub(crate) fn run(args: &Args) -> Result<()> {
    report::header("Origin");
    let weir = Synthetic::start()?;
    let paths = [&weir.playlist, &weir.part, &weir.segment];
    let bodies = bodies(&weir, paths)?;
    let nginx = [true, false].map(|sendfile| nginx(sendfile, &bodies));
    let [with, without] = nginx;
    let (with, without) = (with?, without?);
    let mut servers =
        vec![Server { pid: weir.pid(), urls: paths.map(|path| format!("http://{}{path}", weir.address)) }];
    for nginx in [&with, &without] {
        let urls = CASES.each_ref().map(|case| format!("http://{}/{}", nginx.address, case.file));
        servers.push(Server { pid: nginx.process.pid(), urls });
    }
    report::table(&[
        "request",
        "bytes",
        "connections",
        "Weir, requests a CPU-second",
        "nginx, sendfile on",
        "nginx, sendfile off",
        "ratio to the better",
        "goal",
        "met",
        "p99 Weir, ms",
        "p99 that nginx, ms",
        "requests/s Weir",
        "requests/s that nginx",
    ]);
    for (n, case) in CASES.iter().enumerate() {
        let mut rounds = vec![Vec::new(); servers.len()];
        for _ in 0..args.rounds {
            for (server, rounds) in servers.iter().zip(&mut rounds) {
                rounds.push(load(server.pid, &server.urls[n], case.connections, args.seconds)?);
            }
        }
        print(case, bodies[n].len(), &rounds);
    }
    Ok(())
}

fn print(case: &Case, bytes: usize, rounds: &[Vec<Round>]) {
    let median =
        |server: usize, of: fn(&Round) -> f64| stats::median(&rounds[server].iter().map(of).collect::<Vec<_>>());
    let rate = |server| median(server, |round| round.per_cpu_second);
    let best = if rate(1) >= rate(2) { 1 } else { 2 };
    let ratio = rate(0) / rate(best);
    report::row(&[
        case.name.to_owned(),
        bytes.to_string(),
        case.connections.to_string(),
        format!("{:.0}", rate(0)),
        format!("{:.0}", rate(1)),
        format!("{:.0}", rate(2)),
        format!("{ratio:.2}"),
        format!("≥ {:.1}", case.goal),
        report::met(ratio >= case.goal).to_owned(),
        format!("{:.2}", median(0, |round| round.p99_ms)),
        format!("{:.2}", median(best, |round| round.p99_ms)),
        format!("{:.0}", median(0, |round| round.per_second)),
        format!("{:.0}", median(best, |round| round.per_second)),
    ]);
}

/// What the origin answers, so that nginx serves the same bytes.
fn bodies(weir: &Synthetic, paths: [&String; 3]) -> Result<Vec<Vec<u8>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut client = Client::connect(weir.address, loopback(0)).await?;
        let mut bodies = Vec::new();
        for path in paths {
            let answer = client.get(path).await?;
            ensure!(answer.status == 200, "{path} answers {}", answer.status);
            bodies.push(answer.body);
        }
        Ok(bodies)
    })
}

fn nginx(sendfile: bool, bodies: &[Vec<u8>]) -> Result<Nginx> {
    let folder = memory_folder()?;
    let files = folder.path().join("files");
    fs::create_dir(&files)?;
    for (case, body) in CASES.iter().zip(bodies) {
        fs::write(files.join(case.file), body)?;
    }
    Nginx::files(folder, sendfile, SERVER_CORE)
}

/// Loads `url` with wrk from the other core.
fn load(pid: u32, url: &str, connections: usize, seconds: u64) -> Result<Round> {
    let before = proc::cpu(pid)?;
    let output = command("wrk", Some(LOAD_CORE))
        .args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "--latency", url])
        .output()
        .context("wrk is needed")?;
    let used = proc::cpu(pid)?.saturating_sub(before);
    let text = String::from_utf8_lossy(&output.stdout);
    let (requests, round) = parse(&text, used).with_context(|| format!("wrk says {text}"))?;
    ensure!(requests > 0.0 && !text.contains("Non-2xx") && !text.contains("Socket errors"), "wrk says {text}");
    Ok(round)
}

/// Reads wrk's report; gives the number of requests and the round.
fn parse(text: &str, used: Duration) -> Option<(f64, Round)> {
    let line = |name: &str| text.lines().map(str::trim).find(|line| line.contains(name));
    let requests: f64 = line(" requests in ")?.split(' ').next()?.parse().ok()?;
    let per_second = line("Requests/sec:")?.split_whitespace().last()?.parse().ok()?;
    let p99_ms = milliseconds(line("99%")?.split_whitespace().last()?)?;
    Some((requests, Round { per_cpu_second: requests / used.as_secs_f64(), per_second, p99_ms }))
}

/// A time as wrk writes it.
fn milliseconds(text: &str) -> Option<f64> {
    for (unit, factor) in [("us", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 6e4)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Some(number.parse::<f64>().ok()? * factor);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_wrk_is_read() {
        let text = "Running 5s test @ http://x/\n  Latency Distribution\n     50%  250.00us\n     99%    2.50ms\n  \
            50000 requests in 5.10s, 1.00GB read\nRequests/sec:   9803.92\nTransfer/sec:    200.00MB\n";
        let (requests, round) = parse(text, Duration::from_secs(4)).unwrap();
        assert_eq!(requests, 50_000.0);
        assert_eq!(round, Round { per_cpu_second: 12_500.0, per_second: 9_803.92, p99_ms: 2.5 });
        assert_eq!(milliseconds("1.20s"), Some(1_200.0));
        assert!(parse("", Duration::ZERO).is_none());
    }
}
