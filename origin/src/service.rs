//! From a request to its answer.
//!
//! What can be answered at once is answered without a task, a box or a timer. A request that must wait lets go of its
//! own bytes first, so that a blocked reader holds little memory.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::header::{ACCEPT_ENCODING, CONNECTION, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use hyper::body::{Body as _, Incoming};
use packager::log::RenditionId;
use packager::uri::{self, File};
use parking_lot::Mutex;

use crate::answer::{self, Refusal, Taste};
use crate::body::{Body, FallbackBody};
use crate::broadcast::{Broadcast, Look, Position};
use crate::config::Config;
use crate::directory::Resolution;
use crate::pulse::{InFlight, Pulse};
use crate::range::Range;
use crate::route::{Directives, Route};
use crate::stats::{Counters, RouteKind};
use crate::watch;
use crate::worker::Worker;

/// Answers what is neither playback nor the watch page: the API, metrics, health. It runs on a playback worker's
/// single-threaded runtime, so it must not block. Requests carry a [`PeerAddress`] extension.
pub trait Fallback: Send + Sync + 'static {
    /// Answers `request`.
    fn call(&self, request: Request<Incoming>) -> BoxFuture<'static, Response<FallbackBody>>;
}

impl<F> Fallback for F
where
    F: Fn(Request<Incoming>) -> BoxFuture<'static, Response<FallbackBody>> + Send + Sync + 'static,
{
    fn call(&self, request: Request<Incoming>) -> BoxFuture<'static, Response<FallbackBody>> {
        self(request)
    }
}

/// Where a request of the fallback came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerAddress(pub SocketAddr);

/// One connection's view of the server.
#[derive(Clone)]
pub(crate) struct Visitor {
    worker: Arc<Worker>,
    pulse: Arc<Pulse>,
    peer: SocketAddr,
    /// Where a connection leaves a request that waits.
    desk: Arc<Mutex<Option<Box<Parked>>>>,
}

/// An answer that is there, or a way to it.
pub(crate) enum Answering {
    Ready(Option<Response<Body>>),
    Later(BoxFuture<'static, Response<Body>>),
    /// The connection is about to be parked.
    Parked,
}

impl Future for Answering {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Ready(answer) => answer.take().map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer))),
            Self::Later(future) => future.as_mut().poll(cx).map(Ok),
            Self::Parked => Poll::Pending,
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for Visitor {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        let busy = InFlight::new(&self.pulse);
        match Route::parse(request.uri().path()) {
            Route::Other => self.hand_on(request, busy),
            route => self.answer(&request, route, busy),
        }
    }
}

/// A request that may have to wait, free of the bytes it came in.
struct Ask {
    route: uri::Route,
    directives: Directives,
    taste: Taste,
    closes: bool,
    busy: InFlight,
}

/// The outcome of an attempt at an answer.
enum Attempt {
    Done(Response<Body>),
    Wait(Ask, Arc<Broadcast>, Position),
}

/// A request that waits for its broadcast.
pub(crate) struct Parked {
    kind: RouteKind,
    ask: Ask,
    broadcast: Arc<Broadcast>,
    position: Position,
}

impl Visitor {
    pub(crate) fn new(worker: Arc<Worker>, pulse: Arc<Pulse>, peer: SocketAddr) -> Self {
        Self { worker, pulse, peer, desk: Arc::default() }
    }

    pub(crate) fn worker(&self) -> Arc<Worker> {
        Arc::clone(&self.worker)
    }

    /// The request that the connection is to be parked with, if there is one.
    pub(crate) fn take_parked(&self) -> Option<Box<Parked>> {
        self.desk.lock().take()
    }

    pub(crate) fn config(&self) -> &Config {
        &self.worker.shared.config
    }

    pub(crate) fn set_multiplexed(&self) {
        self.pulse.set_multiplexed();
    }

    /// True if nothing would be missed by answering a plain `GET` in place of `request`.
    fn can_park(&self, request: &Request<Incoming>) -> bool {
        request.version() == Version::HTTP_11
            && request.method() == Method::GET
            && !request.headers().contains_key(CONNECTION)
            && request.body().is_end_stream()
            && self.pulse.is_flushed()
    }

    fn hand_on(&self, mut request: Request<Incoming>, busy: InFlight) -> Answering {
        let worker = Arc::clone(&self.worker);
        let sequential = request.version() < Version::HTTP_2;
        request.extensions_mut().insert(PeerAddress(self.peer));
        let answering = worker.shared.fallback.call(request);
        Answering::Later(Box::pin(async move {
            let answer = answering.await.map(|body| Body::streamed(body, busy));
            worker.finish(RouteKind::Fallback, answer, sequential)
        }))
    }

    fn answer(&self, request: &Request<Incoming>, route: Route, busy: InFlight) -> Answering {
        let closes = request.version() < Version::HTTP_2;
        let head_only = request.method() == Method::HEAD;
        let kind = kind(&route);
        let done = |answer| Answering::Ready(Some(self.worker.finish(kind, answer, closes)));
        if request.method() == Method::OPTIONS {
            return done(answer::preflight(busy));
        }
        if !head_only && request.method() != Method::GET {
            return done(Refusal::Method.answer(head_only, busy));
        }
        let taste = taste(head_only, request.headers());
        let route = match route {
            Route::Playback(route) => route,
            Route::Watch(id) => return done(watch::page(&id, taste, busy)),
            Route::Asset(asset) => return done(watch::file(asset, taste, request.headers(), busy)),
            Route::Unknown | Route::Other => return done(Refusal::UnknownPath.answer(head_only, busy)),
        };
        let directives = match Directives::parse(request.uri().query().unwrap_or_default()) {
            Ok(directives) => directives,
            Err(bad) => return done(Refusal::Directive(bad).answer(head_only, busy)),
        };
        let ask = Ask { route, directives, taste, closes, busy };
        match ask.attempt(&self.worker, request.headers().get(IF_NONE_MATCH)) {
            Attempt::Done(answer) => done(answer),
            Attempt::Wait(ask, broadcast, position) => {
                let parked = Parked { kind, ask, broadcast, position };
                if !self.can_park(request) {
                    return Answering::Later(Box::pin(parked.wait(self.worker())));
                }
                *self.desk.lock() = Some(Box::new(parked));
                Answering::Parked
            }
        }
    }
}

impl Parked {
    /// Attempts again whenever there is news, until there is an answer or it is too late for one.
    pub(crate) async fn wait(mut self, worker: Arc<Worker>) -> Response<Body> {
        let _blocked = Blocked::new(&worker.counters);
        let closes = self.ask.closes;
        let start = worker.pump.now();
        loop {
            if let Some(ticket) = self.broadcast.ticket(self.position, &worker.pump, self.deadline(&worker, start)) {
                if let Some(refusal) = self.refusal(&worker, start) {
                    let answer = refusal.answer(self.ask.taste.head_only, self.ask.busy);
                    return worker.finish(self.kind, answer, closes);
                }
                ticket.await;
                continue;
            }
            match self.ask.attempt(&worker, None) {
                Attempt::Done(answer) => return worker.finish(self.kind, answer, closes),
                Attempt::Wait(ask, broadcast, position) => {
                    self = Self { kind: self.kind, ask, broadcast, position };
                }
            }
        }
    }

    fn deadline(&self, worker: &Worker, start: u32) -> u32 {
        let config = &worker.shared.config;
        let patience = match self.position {
            Position::Playable => config.first_answer,
            Position::At(..) => Duration::from_secs(self.broadcast.reload_secs()),
        };
        start.saturating_add(config.ticks(patience))
    }

    /// Why there is no use in waiting on; looked at with a ticket in hand, so that no wake-up is missed.
    fn refusal(&self, worker: &Worker, start: u32) -> Option<Refusal> {
        if worker.pump.stopping() {
            return Some(Refusal::Stopping);
        }
        let late = worker.pump.now() >= self.deadline(worker, start);
        late.then_some(match self.position {
            Position::Playable => Refusal::NotPlayable,
            Position::At(..) => Refusal::Stalled,
        })
    }
}

impl Ask {
    /// Answers if that is possible now.
    fn attempt(self, worker: &Worker, if_none_match: Option<&HeaderValue>) -> Attempt {
        let (playback, broadcast) = match &self.route {
            uri::Route::Multivariant(playback) => (playback, None),
            uri::Route::File(playback, broadcast, _) => (playback, Some(broadcast)),
        };
        let broadcast = match worker.shared.directory.resolve(playback.as_str(), broadcast) {
            Resolution::Live(broadcast) => broadcast,
            Resolution::Idle => return self.refuse(Refusal::Idle),
            Resolution::Unknown => return self.refuse(Refusal::UnknownPlayback),
        };
        let look = match &self.route {
            uri::Route::Multivariant(playback) => broadcast.multivariant(playback, self.directives.low_latency),
            uri::Route::File(_, id, _) if id != broadcast.id() => Look::Missing,
            uri::Route::File(_, _, File::Playlist(rendition)) => broadcast.media(*rendition, &self.directives),
            uri::Route::File(_, _, file) => {
                let file = *file;
                return self.media(broadcast, file, if_none_match);
            }
        };
        match look {
            Look::Found(rendered) => {
                let known = answer::is_known(if_none_match, &rendered.etag);
                let reload = self.directives.msn.is_some();
                Attempt::Done(answer::playlist(&rendered, reload, known, self.taste, self.busy))
            }
            Look::Wait(position) => Attempt::Wait(self, broadcast, position),
            Look::Missing => self.refuse(Refusal::UnknownMedia),
            Look::TooFar => self.refuse(Refusal::TooFar),
        }
    }

    fn media(self, broadcast: Arc<Broadcast>, file: File, if_none_match: Option<&HeaderValue>) -> Attempt {
        match broadcast.file(file) {
            Look::Found(pieces) => {
                let known = answer::is_known(if_none_match, &answer::MEDIA_ETAG);
                Attempt::Done(answer::media(pieces, content_type(file), known, self.taste, self.busy))
            }
            Look::Wait(position) => Attempt::Wait(self, broadcast, position),
            Look::Missing | Look::TooFar => self.refuse(Refusal::UnknownMedia),
        }
    }

    fn refuse(self, refusal: Refusal) -> Attempt {
        Attempt::Done(refusal.answer(self.taste.head_only, self.busy))
    }
}

impl Worker {
    /// Counts an answer; when the server stops, it is the last one on its connection.
    fn finish(&self, kind: RouteKind, mut answer: Response<Body>, sequential: bool) -> Response<Body> {
        self.counters.count(kind, answer.status());
        if sequential && self.pump.stopping() {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

/// A reader counted as blocked.
struct Blocked(Arc<Counters>);

impl Blocked {
    fn new(counters: &Arc<Counters>) -> Self {
        counters.blocked.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counters))
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        self.0.blocked.fetch_sub(1, Ordering::Relaxed);
    }
}

const fn kind(route: &Route) -> RouteKind {
    match route {
        Route::Playback(uri::Route::Multivariant(_)) => RouteKind::Multivariant,
        Route::Playback(uri::Route::File(_, _, File::Playlist(_))) => RouteKind::Playlist,
        Route::Playback(uri::Route::File(_, _, File::Init(..))) => RouteKind::Init,
        Route::Playback(uri::Route::File(_, _, File::Segment(..))) => RouteKind::Segment,
        Route::Playback(uri::Route::File(_, _, File::Part(..))) => RouteKind::Part,
        Route::Watch(_) | Route::Asset(_) => RouteKind::Watch,
        Route::Unknown => RouteKind::Unknown,
        Route::Other => RouteKind::Fallback,
    }
}

fn content_type(file: File) -> HeaderValue {
    match file {
        File::Segment(RenditionId::AUDIO, _)
        | File::Part(RenditionId::AUDIO, ..)
        | File::Init(RenditionId::AUDIO, _) => HeaderValue::from_static("audio/mp4"),
        _ => HeaderValue::from_static("video/mp4"),
    }
}

fn taste(head_only: bool, headers: &HeaderMap) -> Taste {
    let range = headers.get(RANGE).and_then(|range| Range::parse(range.to_str().ok()?));
    // A range of something else than what the reader has a part of is of no use to it.
    let same = headers.get(IF_RANGE).is_none_or(|tag| *tag == answer::MEDIA_ETAG);
    Taste {
        head_only,
        gzip: answer::takes_gzip(headers.get(ACCEPT_ENCODING)),
        range: range.filter(|_| same && !head_only),
    }
}
