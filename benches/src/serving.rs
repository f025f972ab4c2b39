//! Origin: requests a CPU-second for a playlist, a part and a segment, against nginx with the same bytes from memory.
//!
//! Every server runs alone on the servers' core while it is measured; rounds go from one to the next and back, and the
//! medians count. nginx runs with and without `sendfile`, and the better of both is the peer. Over TLS, where `sendfile` is
//! of no use, both speak HTTP/2 as players do that have it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::http::Client;
use crate::peers::{LOAD_CORE, Nginx, SERVER_CORE, command, memory_folder};
use crate::push::loopback;
use crate::synthetic::{Certificate, Synthetic};
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
    /// HTTP/2 over TLS, loaded by h2load with eight streams on a connection, instead of HTTP/1.1, loaded by wrk.
    #[arg(long)]
    http2: bool,
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
const CASES_HTTP2: [Case; 3] = [
    Case { name: "playlist", file: "playlist.m3u8", connections: 32, goal: 1.2 },
    Case { name: "part", file: "part.mp4", connections: 32, goal: 1.0 },
    Case { name: "segment", file: "segment.mp4", connections: 16, goal: 0.9 },
];
/// Requests under way at once on a connection of HTTP/2.
const STREAMS: usize = 8;

/// What the load and the kernel say of a round.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Round {
    per_cpu_second: f64,
    per_second: f64,
    /// The 99th percentile by wrk, the mean by h2load.
    answer_ms: f64,
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
    // A plain request would wait for the next part.
    let playlist = format!("{}?_HLS_msn=0", weir.playlist);
    let paths = [&playlist, &weir.part, &weir.segment];
    let bodies = bodies(&weir, paths)?;
    let (scheme, address, cases) =
        if args.http2 { ("https", weir.tls_address, &CASES_HTTP2) } else { ("http", weir.address, &CASES) };
    let peers = [true, false].map(|sendfile| nginx(sendfile, args.http2, cases, &bodies));
    let peers = peers.into_iter().collect::<Result<Vec<_>>>()?;
    let mut servers = vec![Server { pid: weir.pid(), urls: paths.map(|path| format!("{scheme}://{address}{path}")) }];
    for nginx in &peers {
        let urls = cases.each_ref().map(|case| format!("{scheme}://{}/{}", nginx.address, case.file));
        servers.push(Server { pid: nginx.process.pid(), urls });
    }
    let time = if args.http2 { "mean" } else { "p99" };
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
        &format!("{time} Weir, ms"),
        &format!("{time} that nginx, ms"),
        "requests/s Weir",
        "requests/s that nginx",
    ]);
    for (n, case) in cases.iter().enumerate() {
        let mut rounds = vec![Vec::new(); servers.len()];
        for _ in 0..args.rounds {
            for (server, rounds) in servers.iter().zip(&mut rounds) {
                rounds.push(load(server.pid, &server.urls[n], case.connections, args)?);
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
        format!("{:.2}", median(0, |round| round.answer_ms)),
        format!("{:.2}", median(best, |round| round.answer_ms)),
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

fn nginx(sendfile: bool, http2: bool, cases: &[Case], bodies: &[Vec<u8>]) -> Result<Nginx> {
    let folder = memory_folder()?;
    let files = folder.path().join("files");
    fs::create_dir(&files)?;
    for (case, body) in cases.iter().zip(bodies) {
        fs::write(files.join(case.file), body)?;
    }
    let certificate = if http2 { Some(Certificate::write(folder.path())?) } else { None };
    Nginx::files(folder, sendfile, certificate.as_ref(), SERVER_CORE)
}

/// Loads `url` from the other core.
fn load(pid: u32, url: &str, connections: usize, args: &Args) -> Result<Round> {
    let before = proc::cpu(pid)?;
    let (program, seconds) = (if args.http2 { "h2load" } else { "wrk" }, args.seconds);
    let mut command = command(program, Some(LOAD_CORE));
    if args.http2 {
        command.args([&format!("-c{connections}"), &format!("-m{STREAMS}"), &format!("-D{seconds}"), url]);
    } else {
        command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "--latency", url]);
    }
    let output = command.output().with_context(|| format!("{program} is needed"))?;
    let used = proc::cpu(pid)?.saturating_sub(before);
    let text = String::from_utf8_lossy(&output.stdout);
    let parsed = if args.http2 { of_h2load(&text, used) } else { of_wrk(&text, used) };
    parsed.with_context(|| format!("{program} says {text}"))
}

/// Reads wrk's report; `None` if not all went well.
fn of_wrk(text: &str, used: Duration) -> Option<Round> {
    let line = |name: &str| text.lines().map(str::trim).find(|line| line.contains(name));
    let requests: f64 = line(" requests in ")?.split(' ').next()?.parse().ok()?;
    let per_second = line("Requests/sec:")?.split_whitespace().last()?.parse().ok()?;
    let answer_ms = milliseconds(line("99%")?.split_whitespace().last()?)?;
    let good = requests > 0.0 && !text.contains("Non-2xx") && !text.contains("Socket errors");
    good.then(|| Round { per_cpu_second: requests / used.as_secs_f64(), per_second, answer_ms })
}

/// Reads h2load's report; `None` if not all went well.
fn of_h2load(text: &str, used: Duration) -> Option<Round> {
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let counts: Vec<&str> = line("requests:")?.split(", ").collect();
    let count = |what: &str| counts.iter().find_map(|count| count.strip_suffix(what)?.trim().parse::<f64>().ok());
    let requests = count("succeeded")?;
    let per_second = line("finished in ")?.split(", ").nth(1)?.strip_suffix(" req/s")?.parse().ok()?;
    let answer_ms = milliseconds(line("time for request:")?.split_whitespace().nth(2)?)?;
    let good = requests > 0.0 && count("failed")? == 0.0 && count("errored")? == 0.0;
    good.then(|| Round { per_cpu_second: requests / used.as_secs_f64(), per_second, answer_ms })
}

/// A time as both write it.
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
        let round = of_wrk(text, Duration::from_secs(4)).unwrap();
        assert_eq!(round, Round { per_cpu_second: 12_500.0, per_second: 9_803.92, answer_ms: 2.5 });
        assert_eq!(milliseconds("1.20s"), Some(1_200.0));
        assert!(of_wrk("", Duration::ZERO).is_none());
    }

    #[test]
    fn the_report_of_h2load_is_read() {
        let text = "finished in 5.00s, 6000.00 req/s, 9.00MB/s\n\
            requests: 30000 total, 30256 started, 30000 done, 30000 succeeded, 0 failed, 0 errored, 0 timeout\n\
            \x20                    min         max         mean         sd        +/- sd\n\
            time for request:      100us     10.00ms      1.50ms       500us    80.00%\n";
        let round = of_h2load(text, Duration::from_secs(3)).unwrap();
        assert_eq!(round, Round { per_cpu_second: 10_000.0, per_second: 6_000.0, answer_ms: 1.5 });
        assert!(of_h2load(&text.replace("0 failed", "1 failed"), Duration::from_secs(3)).is_none());
    }
}
