//! A server to push to. Every publication is accepted, its video frames are noted, and everything is discarded.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use anyhow::Result;
use media::Kind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use wire::flv::{Body, Tag};
use wire::rtmp::server::{Config, Event, RANDOM_LEN, Session};

use crate::clip::Schedule;

/// Size of the read buffers, as large as that of a server.
const READ_BUFFER: usize = 64 * 1_024;

/// A video frame that arrived at the sink.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// Time at which its last byte was read.
    pub(crate) at: Instant,
    /// Position of the frame in the loop of the [`Schedule`].
    pub(crate) position: usize,
}

/// A running sink. Its tasks end with their runtime.
pub(crate) struct Sink {
    /// Address of the listener.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    schedule: Arc<Schedule>,
    publications: AtomicUsize,
    arrivals: Mutex<Vec<Arrival>>,
}

impl Sink {
    /// Listens on a free port of the loopback address. The frames that arrive are those of `schedule`.
    pub(crate) fn start(runtime: &Handle, schedule: &Arc<Schedule>) -> Result<Self> {
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            schedule: Arc::clone(schedule),
            publications: AtomicUsize::new(0),
            arrivals: Mutex::default(),
        });
        runtime.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared })
    }

    /// Returns the number of publications that have not ended.
    pub(crate) fn publications(&self) -> usize {
        self.shared.publications.load(Relaxed)
    }

    /// Takes the arrivals since the last call, of all publications.
    pub(crate) fn take_arrivals(&self) -> Vec<Arrival> {
        self.shared.arrivals.lock().map(|mut arrivals| std::mem::take(&mut *arrivals)).unwrap_or_default()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((socket, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        // A publication that breaks off is noticed by its missing frames.
        tokio::spawn(async move { receive(socket, &shared).await.ok() });
    }
}

/// Counts a publication for as long as it exists.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

async fn receive(mut socket: TcpStream, shared: &Shared) -> Result<()> {
    socket.set_nodelay(true)?;
    let mut session = Session::new(Config::default(), [0; RANDOM_LEN]);
    let mut buffer = vec![0; READ_BUFFER];
    let mut publication = None;
    loop {
        let len = socket.read(&mut buffer).await?;
        if len == 0 {
            return Ok(());
        }
        let at = Instant::now();
        session.input(&buffer[..len])?;
        while let Some(event) = session.poll() {
            match event {
                Event::Publish(_) => {
                    publication = Some(Counted::new(&shared.publications));
                    session.accept()?;
                }
                Event::Media(tag) => shared.note(at, &tag),
                Event::Ended(_) => drop(publication.take()),
                Event::Metadata(_) | Event::Skipped(_) => {}
            }
        }
        let answer = session.take_output();
        if !answer.is_empty() {
            socket.write_all(&answer).await?;
        }
    }
}

impl Shared {
    fn note(&self, at: Instant, tag: &Tag) {
        let Body::Frame { payload, .. } = &tag.packet.body else { return };
        let position = self.schedule.position(payload).filter(|_| tag.packet.kind == Kind::Video);
        if let (Some(position), Ok(mut arrivals)) = (position, self.arrivals.lock()) {
            arrivals.push(Arrival { at, position });
        }
    }
}
