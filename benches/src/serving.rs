//! Origin: requests per CPU-second for a playlist, a part and a segment, compared with nginx serving the same bytes
//! from memory.
//!
//! Each server runs alone on the servers' core while it is measured. The servers take turns in each round, and the
//! medians are reported. nginx runs with and without `sendfile`, and Weir is compared with the better of both. Over
//! TLS, where `sendfile` has no effect, both use HTTP/2, as players do.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::http::Client;
use crate::peers::{LOAD_CORE, Nginx, SERVER_CORE, command, memory_folder};
use crate::push::loopback;
use crate::synthetic::{Certificate, Synthetic};
use crate::{proc, report, stats};

/// Options of the benchmark.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds for each server in each round.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Number of rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Use HTTP/2 over TLS, with load from h2load (eight streams per connection), instead of HTTP/1.1 with load from
    /// wrk.
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
/// Concurrent requests on an HTTP/2 connection.
const STREAMS: usize = 8;

/// The results of a round, from the load generator and the kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Round {
    per_cpu_second: f64,
    per_second: f64,
    /// The 99th percentile from wrk, the mean from h2load.
    response_ms: f64,
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
    // A request without this would wait for the next part.
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
        "Weir, requests per CPU-second",
        "nginx, sendfile on",
        "nginx, sendfile off",
        "ratio to the better nginx",
        "goal",
        "met",
        &format!("{time} of Weir, ms"),
        &format!("{time} of that nginx, ms"),
        "requests/s of Weir",
        "requests/s of that nginx",
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
        format!("{:.2}", median(0, |round| round.response_ms)),
        format!("{:.2}", median(best, |round| round.response_ms)),
        format!("{:.0}", median(0, |round| round.per_second)),
        format!("{:.0}", median(best, |round| round.per_second)),
    ]);
}

/// Fetches the responses of the origin, so that nginx serves the same bytes.
fn bodies(weir: &Synthetic, paths: [&String; 3]) -> Result<Vec<Vec<u8>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut client = Client::connect(weir.address, loopback(0)).await?;
        let mut bodies = Vec::new();
        for path in paths {
            let response = client.get(path).await?;
            ensure!(response.status == 200, "{path}: status {}", response.status);
            bodies.push(response.body);
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

/// Generates load on `url` from the other core.
fn load(pid: u32, url: &str, connections: usize, args: &Args) -> Result<Round> {
    let before = proc::cpu(pid)?;
    let (program, seconds) = (if args.http2 { "h2load" } else { "wrk" }, args.seconds);
    let mut command = command(program, Some(LOAD_CORE));
    if args.http2 {
        command.args([&format!("-c{connections}"), &format!("-m{STREAMS}"), &format!("-D{seconds}"), url]);
    } else {
        command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "--latency", url]);
    }
    let output = command.output().with_context(|| format!("{program} is not installed"))?;
    let used = proc::cpu(pid)?.saturating_sub(before);
    let text = String::from_utf8_lossy(&output.stdout);
    let parsed = if args.http2 { parse_h2load(&text, used) } else { parse_wrk(&text, used) };
    parsed.with_context(|| format!("output of {program}: {text}"))
}

/// Parses the report of wrk. Returns `None` if any request failed.
fn parse_wrk(text: &str, used: Duration) -> Option<Round> {
    let line = |name: &str| text.lines().map(str::trim).find(|line| line.contains(name));
    let requests: f64 = line(" requests in ")?.split(' ').next()?.parse().ok()?;
    let per_second = line("Requests/sec:")?.split_whitespace().last()?.parse().ok()?;
    let response_ms = milliseconds(line("99%")?.split_whitespace().last()?)?;
    let good = requests > 0.0 && !text.contains("Non-2xx") && !text.contains("Socket errors");
    good.then(|| Round { per_cpu_second: requests / used.as_secs_f64(), per_second, response_ms })
}

/// Parses the report of h2load. Returns `None` if any request failed.
fn parse_h2load(text: &str, used: Duration) -> Option<Round> {
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let counts: Vec<&str> = line("requests:")?.split(", ").collect();
    let count = |what: &str| counts.iter().find_map(|count| count.strip_suffix(what)?.trim().parse::<f64>().ok());
    let requests = count("succeeded")?;
    let per_second = line("finished in ")?.split(", ").nth(1)?.strip_suffix(" req/s")?.parse().ok()?;
    let response_ms = milliseconds(line("time for request:")?.split_whitespace().nth(2)?)?;
    let good = requests > 0.0 && count("failed")? == 0.0 && count("errored")? == 0.0;
    good.then(|| Round { per_cpu_second: requests / used.as_secs_f64(), per_second, response_ms })
}

/// Parses a time in the format of both programs.
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
    fn the_report_parse_wrk_is_read() {
        let text = "Running 5s test @ http://x/\n  Latency Distribution\n     50%  250.00us\n     99%    2.50ms\n  \
            50000 requests in 5.10s, 1.00GB read\nRequests/sec:   9803.92\nTransfer/sec:    200.00MB\n";
        let round = parse_wrk(text, Duration::from_secs(4)).unwrap();
        assert_eq!(round, Round { per_cpu_second: 12_500.0, per_second: 9_803.92, response_ms: 2.5 });
        assert_eq!(milliseconds("1.20s"), Some(1_200.0));
        assert!(parse_wrk("", Duration::ZERO).is_none());
    }

    #[test]
    fn the_report_parse_h2load_is_read() {
        let text = "finished in 5.00s, 6000.00 req/s, 9.00MB/s\n\
            requests: 30000 total, 30256 started, 30000 done, 30000 succeeded, 0 failed, 0 errored, 0 timeout\n\
            \x20                    min         max         mean         sd        +/- sd\n\
            time for request:      100us     10.00ms      1.50ms       500us    80.00%\n";
        let round = parse_h2load(text, Duration::from_secs(3)).unwrap();
        assert_eq!(round, Round { per_cpu_second: 10_000.0, per_second: 6_000.0, response_ms: 1.5 });
        assert!(parse_h2load(&text.replace("0 failed", "1 failed"), Duration::from_secs(3)).is_none());
    }
}
