//! A process that embeds the origin with one synthetic broadcast, and obeys the lines of its standard input.
//!
//! It is a separate process, so that its CPU time and memory are the origin's alone.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use media::id::{BroadcastId, PlaybackId};
use media::{Kind, TimeDelta, Timestamp, WallTime};
use origin::{Broadcast, Fallback, FallbackBody, Listener, Playback, PlaybackResolver, Server};
use packager::log::{Event, Format, Init, LogReader, LogWriter, Part, Payload, RenditionId, SegmentEnd, Targets};
use packager::uri::{File, Route};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto};
use tokio_util::sync::CancellationToken;

use crate::peers::{Process, SERVER_CORE, command, memory_folder};

/// Parts in a segment.
pub(crate) const PARTS: u32 = 12;
/// A part: its boxes, then six frames.
const BOXES: usize = 640;
const FRAMES: usize = 6;
const PART_BYTES: usize = 100_000;
/// Parts of the open segment, so that the playlist has about 1.5 KB.
const OPEN_PARTS: u32 = 8;
/// Milliseconds in a part.
pub(crate) const PART_MS: i64 = 200;
/// A blocked request times out after three of these; ten thousand readers need a while to connect.
const TARGET_SECS: u32 = 10;
const BLOCK_LIMIT: Duration = Duration::from_secs(25);

/// Arguments of the process.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The certificate.
    cert: PathBuf,
    /// Its private key.
    key: PathBuf,
}

/// The process, as a benchmark sees it.
pub(crate) struct Synthetic {
    process: Process,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    /// Releases whose replies are not read yet.
    posted: usize,
    /// Address of the cleartext listener.
    pub(crate) address: SocketAddr,
    /// Address of the TLS listener.
    pub(crate) tls_address: SocketAddr,
    /// The certificate, as DER.
    pub(crate) certificate: Vec<u8>,
    /// Path of the playlist.
    pub(crate) playlist: String,
    /// Path of a part.
    pub(crate) part: String,
    /// Path of a segment.
    pub(crate) segment: String,
}

impl Synthetic {
    /// Starts the process on the servers' core.
    pub(crate) fn start() -> Result<Self> {
        let folder = memory_folder()?;
        let certificate = Certificate::write(folder.path())?;
        let mut command = command(std::env::current_exe()?, Some(SERVER_CORE));
        command.arg("serve-synthetic").arg(&certificate.cert).arg(&certificate.key);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start(command)?;
        let to = process.child().stdin.take().context("no pipe to the server")?;
        let mut from = BufReader::new(process.child().stdout.take().context("no pipe from the server")?);
        let mut line = String::new();
        from.read_line(&mut line)?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let [address, tls_address, playlist, part, segment] = words[..] else { bail!("the server says {line:?}") };
        let [playlist, part, segment] = [playlist, part, segment].map(str::to_owned);
        let (address, tls_address, certificate) = (address.parse()?, tls_address.parse()?, certificate.der);
        Ok(Self { process, to, from, posted: 0, address, tls_address, certificate, playlist, part, segment })
    }

    /// Returns the process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Publishes the next part. Returns the time that the append took.
    pub(crate) fn release(&mut self) -> Result<Duration> {
        released(&self.command("release")?)
    }

    /// Publishes the next part, without waiting for the reply.
    pub(crate) fn post_release(&mut self) -> Result<()> {
        self.posted += 1;
        Ok(writeln!(self.to, "release")?)
    }

    /// Waits until all posted parts are published. Returns the time that appending each of them took.
    pub(crate) fn await_posted(&mut self) -> Result<Vec<Duration>> {
        let mut appends = Vec::with_capacity(self.posted);
        for _ in 0..std::mem::take(&mut self.posted) {
            let mut reply = String::new();
            self.from.read_line(&mut reply)?;
            appends.push(released(&reply)?);
        }
        Ok(appends)
    }

    /// Returns the query that waits for the next part.
    pub(crate) fn next_part(&mut self) -> Result<String> {
        Ok(self.command("next")?.trim().to_owned())
    }

    /// Waits until exactly `readers` readers are blocked.
    pub(crate) fn await_blocked(&mut self, readers: usize) -> Result<()> {
        let deadline = Instant::now() + BLOCK_LIMIT;
        loop {
            let blocked: usize = self.command("blocked")?.trim().parse()?;
            if blocked == readers {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{blocked} readers are blocked, not {readers}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn command(&mut self, command: &str) -> Result<String> {
        writeln!(self.to, "{command}")?;
        let mut answer = String::new();
        self.from.read_line(&mut answer)?;
        Ok(answer)
    }
}

/// Parses the reply to a release: the nanoseconds that the append took.
fn released(reply: &str) -> Result<Duration> {
    let nanoseconds = reply.trim().strip_prefix("released ").with_context(|| format!("the server says {reply:?}"))?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}

/// The broadcast, and the position of the next part.
struct Programme {
    broadcast: Arc<Broadcast>,
    log: LogWriter,
    msn: u64,
    index: u32,
    pieces: Arc<[Bytes]>,
}

impl Programme {
    fn new(broadcast: Arc<Broadcast>) -> Self {
        let frame = (PART_BYTES - BOXES) / FRAMES;
        let mut pieces = vec![Bytes::from(vec![0x5a; PART_BYTES - frame * FRAMES])];
        pieces.extend((0..FRAMES).map(|n| Bytes::from(vec![n as u8; frame])));
        let format = Format { resolution: Some((1_920, 1_080)), ..Format::new(Kind::Video, "avc1.64001F") };
        let init = Init { rendition: RenditionId::VIDEO, number: 0, bytes: Bytes::from(vec![1; 700]), format };
        let part = Some(TimeDelta::from_millis(PART_MS));
        let targets = Targets { segment_secs: TARGET_SECS, part, part_grid: None, max_stall: TimeDelta::ZERO };
        let mut log = LogWriter::new();
        broadcast.append(&[Event::Targets(targets), Event::Init(Arc::new(init))].map(|event| log.append(event)));
        let mut programme = Self { broadcast, log, msn: 0, index: 0, pieces: pieces.into() };
        for _ in 0..2 * PARTS + OPEN_PARTS {
            programme.release();
        }
        programme
    }

    /// Publishes the next part, and the end of its segment after the last one. Returns the time that the append took.
    fn release(&mut self) -> Duration {
        let number = self.msn as i64 * i64::from(PARTS) + i64::from(self.index);
        let part = Part {
            rendition: RenditionId::VIDEO,
            msn: self.msn,
            index: self.index,
            init: 0,
            start: Timestamp::ZERO + TimeDelta::from_millis(number * PART_MS),
            duration: TimeDelta::from_millis(PART_MS),
            independent: self.index == 0,
            discontinuity: false,
            discontinuity_sequence: 0,
            wall: WallTime::from_unix_millis(1_800_000_000_000 + number * PART_MS),
            frames: FRAMES as u32,
            data: Payload::new(self.pieces.clone()),
        };
        let mut events = vec![Event::Part(Arc::new(part))];
        self.index += 1;
        if self.index == PARTS {
            let duration = TimeDelta::from_millis(PART_MS * i64::from(PARTS));
            events.push(Event::Segment(SegmentEnd::new(RenditionId::VIDEO, self.msn, duration)));
            (self.msn, self.index) = (self.msn + 1, 0);
        }
        let entries: Vec<_> = events.into_iter().map(|event| self.log.append(event)).collect();
        let start = Instant::now();
        self.broadcast.append(&entries);
        start.elapsed()
    }
}

/// Resolves every playback id to the one broadcast.
struct OnlyOne(Arc<Broadcast>);

impl PlaybackResolver for OnlyOne {
    fn resolve(&self, _playback_id: &str, _broadcast: Option<&BroadcastId>) -> Playback {
        Playback::Live(Arc::clone(&self.0))
    }

    fn title(&self, _playback_id: &str) -> Option<String> {
        None
    }
}

/// Answers 404.
struct NotFound;

impl Fallback for NotFound {
    fn call(&self, _request: Request<Incoming>) -> BoxFuture<'static, Response<FallbackBody>> {
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let mut answer = Response::new(body);
        *answer.status_mut() = StatusCode::NOT_FOUND;
        Box::pin(std::future::ready(answer))
    }
}

/// Files of a self-signed certificate for `localhost`.
pub(crate) struct Certificate {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) der: Vec<u8>,
}

impl Certificate {
    /// Creates the files in `folder`.
    pub(crate) fn write(folder: &Path) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        fs::write(&cert, made.cert.pem())?;
        fs::write(&key, made.signing_key.serialize_pem())?;
        Ok(Self { cert, key, der: made.cert.der().to_vec() })
    }
}

/// Returns the TLS settings of a client that trusts this one certificate.
pub(crate) fn trusting(certificate: &[u8]) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate.to_vec()))?;
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Returns the TLS settings that Weir uses.
fn server_config(cert: &Path, key: &Path) -> Result<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<Vec<_>, _>>()?;
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = config.with_no_client_auth().with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.alpn_protocols = origin::ALPN_PROTOCOLS.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

fn listen() -> Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(4_096)?;
    Ok(socket.into())
}

/// Runs the process: serves until its standard input ends.
pub(crate) fn serve(args: &Args) -> Result<()> {
    crate::proc::raise_open_files(20_000)?;
    let (playback, id) = (PlaybackId::generate(), BroadcastId::generate());
    let broadcast = Arc::new(Broadcast::new(id.clone()));
    let mut programme = Programme::new(Arc::clone(&broadcast));
    let (plain, tls) = (listen()?, listen()?);
    let addresses = format!("{} {}", plain.local_addr()?, tls.local_addr()?);
    let settings = Arc::new(server_config(&args.cert, &args.key)?);
    let listeners = vec![Listener::plain(plain), Listener::tls(tls, Arc::new(move || Arc::clone(&settings)))];
    let stop = CancellationToken::new();
    let config = origin::Config { workers: 1, ..origin::Config::default() };
    let directory = Arc::new(OnlyOne(broadcast));
    let server = Server::start(config, directory, Arc::new(NotFound), listeners, stop.clone())?;
    let stats = server.stats();
    let paths = [
        File::Playlist(RenditionId::VIDEO),
        File::Part(RenditionId::VIDEO, 0, 1),
        File::Segment(RenditionId::VIDEO, 0),
    ];
    let paths = paths.map(|file| Route::File(playback.clone(), id.clone(), file).to_string());
    println!("{addresses} {}", paths.join(" "));
    for line in std::io::stdin().lines() {
        match line?.as_str() {
            "release" => {
                let append = programme.release();
                println!("released {}", append.as_nanos());
            }
            "next" => println!("_HLS_msn={}&_HLS_part={}", programme.msn, programme.index),
            "blocked" => println!("{}", stats.blocked_readers()),
            other => bail!("{other:?} is no command"),
        }
    }
    stop.cancel();
    Ok(())
}
