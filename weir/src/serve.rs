//! `weir serve`: assembles the server, runs it, and shuts it down.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use control::{Control, Token};
use origin::Fallback;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::adapters::AppHandle;
use crate::app::App;
use crate::config::Config;
use crate::crate_settings::{control_settings, encoder_limits, srt_options, viewer_limits};
use crate::data_dir;
use crate::endpoints::Endpoints;
use crate::exit;
use crate::listen::Sockets;
use crate::metrics::Sources;
use crate::open_files::OpenFiles;

/// Time limit of the shutdown; the documentation promises 10 s. Connections that have not ended by then are closed.
const DRAIN: Duration = Duration::from_secs(8);

/// Runs the server until a signal ends it.
///
/// The caller has to end the process afterwards (see [`exit::leave`]), because tasks that did not end in time still
/// run. One of them may be inside C code that nothing can interrupt.
pub(crate) fn run(config: Config) -> anyhow::Result<()> {
    let open_files = OpenFiles::raise();
    if let Some(warning) = open_files.warning(&config) {
        exit::print_last(move || warn!("{warning}"));
    }
    // The runtime of this thread, which can always return, because it only waits for signals and for the time limit.
    let supervisor =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    // Never dropped, because that would wait for tasks which may never end.
    let runtime = ManuallyDrop::new(runtime);
    supervisor.block_on(async {
        // Before anything is opened, so that a signal during startup is not lost.
        let signals = Signals::new()?;
        let drain = CancellationToken::new();
        let server = runtime.spawn(serve(config, open_files, drain.clone()));
        supervise(server, signals, drain).await
    })
}

/// Waits until the server ends by itself, within [`DRAIN`] after a signal, or at once after a second signal.
///
/// A requested shutdown is a success even if it is cut short, because everything acknowledged is stored by then. Only
/// an error of the server itself is a failure.
async fn supervise(
    mut server: JoinHandle<anyhow::Result<()>>,
    mut signals: Signals,
    drain: CancellationToken,
) -> anyhow::Result<()> {
    tokio::select! {
        ended = &mut server => return ended.context("the server failed")?,
        () = signals.next() => drain.cancel(),
    }
    tokio::select! {
        ended = tokio::time::timeout(DRAIN, &mut server) => match ended {
            Ok(ended) => return ended.context("the server failed")?,
            Err(_) => exit::print_last(|| warn!("closing the connections that did not end in time")),
        },
        () = signals.next() => exit::print_last(|| warn!("second signal: ending at once")),
    }
    Ok(())
}

/// Opens everything, serves until `drain` is cancelled, and shuts everything down: first the broadcasts end, then a
/// second token, `shutdown`, closes the listeners and ends the tasks.
async fn serve(config: Config, open_files: OpenFiles, drain: CancellationToken) -> anyhow::Result<()> {
    // Lock the folder and bind all ports before the store is opened, so that a second server started by mistake changes
    // nothing.
    let _lock = data_dir::lock(&config.data_dir)?;
    let sockets = Sockets::bind(&config)?;
    // A bad CA file ends the program here, as `weir check` says.

    let shutdown = CancellationToken::new();
    let tasks = TaskTracker::new();
    let app = App::new(&config, tasks.clone(), shutdown.clone())?;
    let handle = AppHandle(Arc::clone(&app));
    let control = open_control(&config, handle.clone()).await?;
    app.set_control(control.clone());

    let endpoints = Arc::new(Endpoints::new(control.clone(), drain.clone()));
    let viewers = origin::Server::start(
        viewer_limits(&config, open_files),
        Arc::new(handle.clone()),
        Arc::clone(&endpoints) as Arc<dyn Fallback>,
        sockets.viewers,
        shutdown.clone(),
    )
    .context("starting the HTTP server")?;
    let ingest_stats = Arc::new(ingest::Stats::default());
    let encoders = ingest::Server::new(
        encoder_limits(&config, open_files),
        Arc::new(handle),
        Arc::clone(&ingest_stats),
        tasks.clone(),
        shutdown.clone(),
    );
    endpoints.set_ready(Sources {
        runtime: tokio::runtime::Handle::current(),
        app: Arc::clone(&app),
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
    info!("shutting down: broadcasts end, then listeners close; a second signal ends the process at once");
    app.finish().await;
    shutdown.cancel();
    tasks.close();
    tasks.wait().await;
    viewers.stopped().await;
    control.shutdown().await;
    info!("shut down");
    Ok(())
}

async fn open_control(config: &Config, handle: AppHandle) -> anyhow::Result<Control> {
    let settings = control_settings(config);
    control::check_store_file(&settings).context("store.url")?;
    let (control, fresh) = Control::open(settings, Arc::new(handle)).await.context("opening the store")?;
    if let Some(token) = fresh {
        print_token(&token);
    }
    Ok(control)
}

/// Prints the API token of the first start to standard output, once. The logs never contain it.
fn print_token(token: &Token) {
    use std::io::Write;
    let text = format!(
        "\nCreated an API token. Keep it: it is not shown again.\n\n  token id      {}\n  token secret  {}\n\n",
        token.id, token.secret
    );
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// SIGTERM and SIGINT, in the order in which they arrive.
///
/// SIGXFSZ is caught too, so that a file that reaches the process's file size limit does not end the process: the
/// writer of the file gets an error, as on a full disk.
struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        // The signal stays caught after its listener is dropped.
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
