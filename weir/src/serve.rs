//! `weir serve`: assembles the program, runs it, and takes it down again.

use std::convert::Infallible;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use control::{Control, Token};
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode, header};
use ingest::Limits;
use origin::{Fallback, FallbackBody, PeerAddress};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::data_dir;
use crate::exit;
use crate::home;
use crate::listen::Sockets;
use crate::memory;
use crate::metrics::Sources;
use crate::open_files::{self, OpenFiles};
use crate::studio::{Doors, Studio};

/// How long going down may take; the contract says 10 s. What has not ended by then is cut off.
const DRAIN: Duration = Duration::from_secs(8);
/// How long answers to viewers that are under way may take when the program goes down.
const DRAIN_VIEWERS: Duration = Duration::from_secs(5);

/// Runs the server until a signal ends it. The caller has to leave the process with it ([`crate::exit`]): what did not end in
/// time still runs, and may be inside of C code that nothing can end.
pub(crate) fn run(config: Config) -> anyhow::Result<()> {
    let room = OpenFiles::raise();
    if let Some(warning) = room.warning(&config) {
        exit::say(move || warn!("{warning}"));
    }
    // The thread that can always leave: it waits for signals and for the time limit, and does nothing else.
    let doorman = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    let runtime = ManuallyDrop::new(runtime);
    doorman.block_on(async {
        // Before anything is opened, so that a signal during the start is not lost.
        let signals = Signals::new()?;
        let drain = CancellationToken::new();
        let server = runtime.spawn(serve(config, room, drain.clone()));
        watch(server, signals, drain).await
    })
}

/// Waits for the server's end: by itself, after a signal within [`DRAIN`], or at once with a second signal. An end that was
/// asked for is a success however it came about, because everything acknowledged is stored by then.
async fn watch(
    mut server: JoinHandle<anyhow::Result<()>>,
    mut signals: Signals,
    drain: CancellationToken,
) -> anyhow::Result<()> {
    tokio::select! {
        ended = &mut server => return ended.context("the server went wrong")?,
        () = signals.next() => drain.cancel(),
    }
    tokio::select! {
        ended = tokio::time::timeout(DRAIN, &mut server) => match ended {
            Ok(ended) => return ended.context("the server went wrong")?,
            Err(_) => exit::say(|| warn!("some connections did not end in time and were cut")),
        },
        () = signals.next() => exit::say(|| warn!("second signal: ending at once")),
    }
    Ok(())
}

/// Opens everything, serves until `drain` is cancelled, and takes everything down again.
async fn serve(config: Config, room: OpenFiles, drain: CancellationToken) -> anyhow::Result<()> {
    // The folder and all ports before the store, so that a second server by mistake touches nothing.
    let _lock = data_dir::lock(&config.data_dir)?;
    let sockets = Sockets::bind(&config)?;

    let shutdown = CancellationToken::new();
    let tasks = TaskTracker::new();
    let studio = Studio::new(&config, tasks.clone(), shutdown.clone())?;
    let doors = Doors(Arc::clone(&studio));
    let control = open_control(&config, doors.clone()).await?;
    studio.set_control(control.clone());

    let ingest_stats = Arc::new(ingest::Stats::default());
    let encoders = ingest::Server::new(
        encoder_limits(&config, room),
        Arc::new(doors.clone()),
        Arc::clone(&ingest_stats),
        tasks.clone(),
        shutdown.clone(),
    );
    let back = Arc::new(Back::new(control.clone(), drain.clone()));
    let viewers = origin::Server::start(
        viewer_limits(&config, room),
        Arc::new(doors),
        Arc::clone(&back) as Arc<dyn Fallback>,
        sockets.viewers,
        shutdown.clone(),
    )
    .context("starting the HTTP server")?;
    back.ready(Sources {
        runtime: tokio::runtime::Handle::current(),
        studio: Arc::clone(&studio),
        control: control.clone(),
        ingest: ingest_stats,
        origin: viewers.stats(),
    });
    for (socket, transport) in sockets.encoders {
        encoders.listen(tokio::net::TcpListener::from_std(socket)?, transport);
    }
    if let Some(socket) = sockets.srt {
        encoders.listen_srt(socket, srt_options(&config)).context("listening for SRT")?;
    }
    info!(http = %config.http.listen, rtmp = %config.rtmp.listen, srt = %config.srt.listen, url = config.public_url(), "ready");

    drain.cancelled().await;
    info!("going down: broadcasts end, then listeners close; a second signal ends at once");
    studio.finish().await;
    shutdown.cancel();
    tasks.close();
    tasks.wait().await;
    viewers.stopped().await;
    control.shutdown().await;
    info!("down");
    Ok(())
}

async fn open_control(config: &Config, doors: Doors) -> anyhow::Result<Control> {
    let settings = control_settings(config);
    control::check_store_file(&settings).context("store.url")?;
    let (control, fresh) = Control::open(settings, Arc::new(doors)).await.context("opening the store")?;
    if let Some(token) = fresh {
        print_token(&token);
    }
    Ok(control)
}

/// What `control` is told; `weir check` looks at the same store.
pub(crate) fn control_settings(config: &Config) -> control::Config {
    let given = (!config.api.token_id.is_empty())
        .then(|| Token { id: config.api.token_id.clone(), secret: config.api.token_secret.0.clone() });
    control::Config {
        store_url: config.store_url(),
        key_file: config.data_dir.join("secret.key"),
        token: given,
        public_url: config.public_url(),
        environment: control::Environment::default(),
    }
}

/// Shows the token of the first start, once and to whoever started the program; the logs never have it.
fn print_token(token: &Token) {
    use std::io::Write;
    let text = format!(
        "\nAn API token was made. It is shown this once, keep it:\n\n  token id      {}\n  token secret  {}\n\n",
        token.id, token.secret
    );
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn encoder_limits(config: &Config, room: OpenFiles) -> ingest::Config {
    let rtmp = &config.rtmp;
    ingest::Config {
        limits: Limits { connections: room.encoders(config), per_address: rtmp.max_connections_per_address },
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

fn srt_options(config: &Config) -> ingest::srt::Options {
    ingest::srt::Options { latency: Duration::from_millis(config.srt.latency_ms), encryption: config.srt.encryption }
}

fn viewer_limits(config: &Config, room: OpenFiles) -> origin::Config {
    let defaults = origin::Config::default();
    origin::Config {
        workers: if config.http.workers == 0 { defaults.workers } else { config.http.workers },
        max_connections: room.viewers(config),
        spare_connections: open_files::SPARE,
        write_stall: Duration::from_secs(config.http.write_stall),
        drain: DRAIN_VIEWERS,
        ..defaults
    }
}

/// What is not playback: the API, health and metrics.
struct Back {
    api: axum::Router,
    control: Control,
    sources: std::sync::OnceLock<Sources>,
    ready: AtomicBool,
    drain: CancellationToken,
}

impl Back {
    fn new(control: Control, drain: CancellationToken) -> Self {
        let (api, sources, ready) = (control.router(), std::sync::OnceLock::new(), AtomicBool::new(false));
        Self { api, control, sources, ready, drain }
    }

    fn ready(&self, sources: Sources) {
        let _ = self.sources.set(sources);
        self.ready.store(true, Ordering::Release);
    }

    fn health(&self) -> (StatusCode, String) {
        if self.ready.load(Ordering::Acquire) {
            (StatusCode::OK, "ok\n".to_owned())
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "starting\n".to_owned())
        }
    }

    /// Whether everything works. A store that fails is no reason to restart the server, because live streams go on: so this is
    /// another question than [`Self::health`].
    fn readiness(&self) -> (StatusCode, String) {
        let (status, text) = self.health();
        let fault = match self.control.store_status().fault {
            _ if status != StatusCode::OK => text,
            _ if self.drain.is_cancelled() => "going down\n".to_owned(),
            Some(fault) => format!("store: {fault}\n"),
            None => return (StatusCode::OK, "ready\n".to_owned()),
        };
        (StatusCode::SERVICE_UNAVAILABLE, fault)
    }

    fn metrics(&self) -> (StatusCode, String) {
        match self.sources.get().map(Sources::render) {
            Some(Ok(text)) => (StatusCode::OK, text),
            Some(Err(error)) => {
                error!("metrics could not be rendered: {error:#}");
                (StatusCode::INTERNAL_SERVER_ERROR, "metrics could not be rendered\n".to_owned())
            }
            None => (StatusCode::SERVICE_UNAVAILABLE, "starting\n".to_owned()),
        }
    }
}

impl Fallback for Back {
    fn call(&self, mut request: Request<Incoming>) -> BoxFuture<'static, Response<FallbackBody>> {
        match request.uri().path() {
            "/" => home::answer(request.method()),
            "/healthz" => plain(self.health()),
            "/readyz" => plain(self.readiness()),
            "/metrics" => plain(self.metrics()),
            _ => {
                let api = self.api.clone();
                if let Some(PeerAddress(peer)) = request.extensions().get().copied() {
                    request.extensions_mut().insert(control::ClientAddress(peer.ip()));
                }
                Box::pin(async move {
                    let answer: Result<Response<Body>, Infallible> = api.oneshot(request.map(Body::new)).await;
                    let answer = answer.unwrap_or_else(|never| match never {});
                    answer.map(|body| body.map_err(Into::into).boxed_unsync())
                })
            }
        }
    }
}

fn plain((status, text): (StatusCode, String)) -> BoxFuture<'static, Response<FallbackBody>> {
    let body = http_body_util::Full::from(text).map_err(|never| match never {}).boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    Box::pin(std::future::ready(answer))
}

/// SIGTERM and SIGINT, in the order they come. SIGXFSZ is caught: a file that reaches the limit of its size is a full disk to
/// whoever writes it, and no reason to end.
struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        // It stays caught when nobody listens any more.
        drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?);
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}
