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
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderValue, Method, Response, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use media::id::PlaybackId;
use packager::uri::{self, File};

use crate::answer::{self, Answer, MEDIA_ETAG, Playlist, Refusal, Taste};
use crate::body::{Body, FallbackBody};
use crate::broadcast::{Broadcast, Look, Newest, Position};
use crate::config::Config;
use crate::directory::Playback;
use crate::host;
use crate::pulse::{InFlight, Pulse};
use crate::range::Range;
use crate::request::{Head, Request};
use crate::route::{Directives, Route};
use crate::stats::{Counters, RouteKind};
use crate::watch;
use crate::worker::Worker;

/// Answers what is neither playback nor the watch page: the API, metrics, health. It runs on a playback worker's
/// single-threaded runtime, so it must not block. Requests carry a [`PeerAddress`] extension.
pub trait Fallback: Send + Sync + 'static {
    /// Answers `request`.
    fn call(&self, request: http::Request<Incoming>) -> BoxFuture<'static, Response<FallbackBody>>;
}

impl<F> Fallback for F
where
    F: Fn(http::Request<Incoming>) -> BoxFuture<'static, Response<FallbackBody>> + Send + Sync + 'static,
{
    fn call(&self, request: http::Request<Incoming>) -> BoxFuture<'static, Response<FallbackBody>> {
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
}

/// What became of a request for playback.
pub(crate) enum Outcome {
    /// It is answered.
    Answer(Answer),
    /// It has to wait.
    Parked(Parked),
}

/// An answer that is there, or a way to it, for hyper.
pub(crate) enum Answering {
    Ready(Option<Response<Body>>),
    Later(BoxFuture<'static, Response<Body>>),
}

impl Future for Answering {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Ready(answer) => answer.take().map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer))),
            Self::Later(future) => future.as_mut().poll(cx).map(Ok),
        }
    }
}

impl hyper::service::Service<http::Request<Incoming>> for Visitor {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: http::Request<Incoming>) -> Answering {
        self.pulse.ask();
        let asked = Request::of(&request);
        if !host::is_named(&request) {
            return Answering::Ready(Some(self.refuse(&asked, Refusal::Host).into_response()));
        }
        match Route::parse(asked.path) {
            Route::Other => self.hand_on(request),
            route => match self.answer(&asked, route) {
                Outcome::Answer(answer) => Answering::Ready(Some(answer.into_response())),
                Outcome::Parked(parked) => {
                    let waiting = parked.wait(self.worker());
                    Answering::Later(Box::pin(async move { waiting.await.into_response() }))
                }
            },
        }
    }
}

/// A request that may have to wait, free of the bytes it came in.
struct Ask {
    route: uri::Route,
    directives: Directives,
    taste: Taste,
    sequential: bool,
    newest: Newest,
    busy: InFlight,
}

/// The outcome of an attempt at an answer.
enum Attempt {
    Done(Answer),
    Wait(Ask, Arc<Broadcast>, Position),
}

/// A request that waits for its broadcast.
pub(crate) struct Parked {
    kind: RouteKind,
    ask: Ask,
    broadcast: Arc<Broadcast>,
    position: Position,
}

/// What a request that waits does next.
enum Patience {
    /// It waits on.
    Wait,
    /// It takes what is there.
    Settle,
    /// It is refused.
    Refuse(Refusal),
}

impl Visitor {
    pub(crate) fn new(worker: Arc<Worker>, pulse: Arc<Pulse>, peer: SocketAddr) -> Self {
        Self { worker, pulse, peer }
    }

    pub(crate) fn worker(&self) -> Arc<Worker> {
        Arc::clone(&self.worker)
    }

    pub(crate) fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.pulse)
    }

    pub(crate) fn config(&self) -> &Config {
        &self.worker.shared.config
    }

    pub(crate) fn set_multiplexed(&self) {
        self.pulse.set_multiplexed();
    }

    /// Answers the plain request that `bytes` begin with; says how long it is. `None` if it is not whole; no length and no
    /// outcome if it is not plain or not for playback.
    pub(crate) fn take(&self, bytes: &[u8]) -> Option<(usize, Option<Outcome>)> {
        match Request::parse(bytes) {
            // hyper has the words for a head that is too long.
            Head::Partial if bytes.len() < self.config().max_head_bytes => None,
            Head::Partial | Head::Other => Some((0, None)),
            Head::Plain(request, length) => match Route::parse(request.path) {
                Route::Other => Some((0, None)),
                route => Some((length, Some(self.answer(&request, route)))),
            },
        }
    }

    fn hand_on(&self, mut request: http::Request<Incoming>) -> Answering {
        let busy = InFlight::new(&self.pulse);
        let worker = Arc::clone(&self.worker);
        let last = self.pulse.is_spare();
        let sequential = request.version() < Version::HTTP_2;
        let head_only = request.method() == Method::HEAD;
        request.extensions_mut().insert(PeerAddress(self.peer));
        let answering = worker.shared.fallback.call(request);
        Answering::Later(Box::pin(async move {
            let answer = answering.await;
            let answer = if head_only { without_body(answer, busy) } else { answer.map(|b| Body::streamed(b, busy)) };
            let answer = worker.finish(RouteKind::Fallback, Answer::Response(answer), sequential);
            if last && sequential { closing(answer) } else { answer }.into_response()
        }))
    }

    /// A refusal that needs no look at the route.
    fn refuse(&self, request: &Request<'_>, refusal: Refusal) -> Answer {
        let answer = refusal.answer(request.method == Method::HEAD, InFlight::new(&self.pulse));
        let answer = self.worker.finish(RouteKind::Unknown, Answer::Response(answer), request.sequential);
        if request.sequential { closing(answer) } else { answer }
    }

    fn watch_page(&self, playback: Option<&PlaybackId>, taste: Taste, busy: InFlight) -> Response<Body> {
        let directory = &self.worker.shared.directory;
        let Some(playback) = playback else { return watch::no_page(Refusal::UnknownPlayback, taste, busy) };
        match directory.resolve(playback.as_str(), None) {
            Playback::Unknown => watch::no_page(Refusal::UnknownPlayback, taste, busy),
            Playback::Protected => watch::no_page(Refusal::Protected, taste, busy),
            Playback::Idle | Playback::Live(_) => {
                watch::page(playback, directory.title(playback.as_str()).as_deref(), taste, busy)
            }
        }
    }

    /// The answer, or the request if it has to wait.
    fn answer(&self, request: &Request<'_>, route: Route) -> Outcome {
        if self.pulse.is_spare() {
            return Outcome::Answer(self.refuse(request, Refusal::Full));
        }
        let busy = InFlight::new(&self.pulse);
        let sequential = request.sequential;
        let head_only = request.method == Method::HEAD;
        let kind = kind(&route);
        let done = |answer| Outcome::Answer(self.worker.finish(kind, Answer::Response(answer), sequential));
        if request.method == Method::OPTIONS {
            return done(answer::preflight(busy));
        }
        if !head_only && request.method != Method::GET {
            return done(Refusal::Method.answer(head_only, busy));
        }
        let taste = taste(head_only, request);
        let route = match route {
            Route::Playback(route) => route,
            Route::Watch(id) => return done(self.watch_page(id.as_ref(), taste, busy)),
            Route::Asset(asset) => return done(watch::file(asset, taste, request.if_none_match, busy)),
            Route::Unknown | Route::Other => return done(Refusal::UnknownPath.answer(head_only, busy)),
        };
        let directives = match Directives::parse(request.query) {
            Ok(directives) => directives,
            Err(bad) => return done(Refusal::Directive(bad).answer(head_only, busy)),
        };
        // A player's first request has nothing to compare with yet.
        let first = !head_only && request.if_none_match.is_none();
        let newest = if first { Newest::Awaited } else { Newest::AsItIs };
        let ask = Ask { route, directives, taste, sequential, newest, busy };
        match ask.attempt(&self.worker, None, request.if_none_match) {
            Attempt::Done(answer) => Outcome::Answer(self.worker.finish(kind, answer, sequential)),
            Attempt::Wait(ask, broadcast, position) => Outcome::Parked(Parked { kind, ask, broadcast, position }),
        }
    }
}

impl Parked {
    /// Attempts again whenever there is news, until there is an answer or it is too late for one.
    pub(crate) async fn wait(mut self, worker: Arc<Worker>) -> Answer {
        let _blocked = Blocked::new(&worker.counters);
        let sequential = self.ask.sequential;
        let start = worker.pump.now();
        loop {
            let deadline = self.deadline(&worker, start);
            if let Some(ticket) = self.broadcast.ticket(self.position, &worker.pump, deadline) {
                match self.patience(&worker, deadline) {
                    Patience::Wait => ticket.await,
                    Patience::Settle => {}
                    Patience::Refuse(refusal) => {
                        let answer = refusal.answer(self.ask.taste.head_only, self.ask.busy);
                        return worker.finish(self.kind, Answer::Response(answer), sequential);
                    }
                }
            }
            self.ask.newest = Newest::AsItIs;
            // What names a broadcast still means this one.
            let known = Some(self.broadcast).filter(|_| self.position != Position::Playable);
            match self.ask.attempt(&worker, known, None) {
                Attempt::Done(answer) => return worker.finish(self.kind, answer, sequential),
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
            Position::At(..) | Position::Hinted(..) => Duration::from_secs(self.broadcast.reload_secs()),
            Position::Next(..) => self.broadcast.part_target(),
        };
        start.saturating_add(config.ticks(patience))
    }

    /// Whether to wait on; looked at with a ticket in hand, so that no wake-up is missed.
    fn patience(&self, worker: &Worker, deadline: u32) -> Patience {
        let stopping = worker.pump.stopping();
        if !stopping && worker.pump.now() < deadline {
            return Patience::Wait;
        }
        match self.position {
            Position::Next(..) => Patience::Settle,
            _ if stopping => Patience::Refuse(Refusal::Stopping),
            Position::Playable => Patience::Refuse(Refusal::NotPlayable),
            Position::At(..) | Position::Hinted(..) => Patience::Refuse(Refusal::Stalled),
        }
    }
}

impl Ask {
    /// Answers if that is possible now, from the broadcast that is `known` or the one that the directory has.
    fn attempt(self, worker: &Worker, known: Option<Arc<Broadcast>>, if_none_match: Option<&str>) -> Attempt {
        // An answer that was waited for has news under its URL. What was there already may have been asked for by mistake,
        // and has to be another text when it is asked for again: Video.js 8.24 does so where a segment has just ended.
        let reload = known.is_some() && self.directives.msn.is_some();
        let resolution = known.map_or_else(|| self.resolve(worker), Playback::Live);
        let broadcast = match resolution {
            Playback::Live(broadcast) => broadcast,
            Playback::Idle => return self.refuse(Refusal::Idle),
            Playback::Unknown => return self.refuse(Refusal::UnknownPlayback),
            Playback::Protected => return self.refuse(Refusal::Protected),
        };
        let look = match &self.route {
            uri::Route::Multivariant(playback) => broadcast.multivariant(playback, self.directives.low_latency),
            uri::Route::File(_, id, _) if id != broadcast.id() => Look::Missing,
            uri::Route::File(_, _, File::Playlist(rendition)) => {
                broadcast.media(*rendition, &self.directives, self.newest)
            }
            uri::Route::File(_, _, file) => {
                let file = *file;
                return self.media(broadcast, file, if_none_match);
            }
        };
        match look {
            Look::Found(rendered) => {
                let known = answer::is_known(if_none_match, &rendered.etag);
                let Taste { head_only, gzip, .. } = self.taste;
                let playlist = Playlist { rendered, reload, gzip, busy: self.busy };
                Attempt::Done(if known || head_only {
                    Answer::Response(playlist.head_alone(known))
                } else {
                    Answer::Playlist(playlist)
                })
            }
            Look::Wait(position) => Attempt::Wait(self, broadcast, position),
            Look::Missing => self.refuse(Refusal::UnknownMedia),
            Look::TooFar => self.refuse(Refusal::TooFar),
        }
    }

    fn resolve(&self, worker: &Worker) -> Playback {
        let (playback, broadcast) = match &self.route {
            uri::Route::Multivariant(playback) => (playback, None),
            uri::Route::File(playback, broadcast, _) => (playback, Some(broadcast)),
        };
        worker.shared.directory.resolve(playback.as_str(), broadcast)
    }

    fn media(self, broadcast: Arc<Broadcast>, file: File, if_none_match: Option<&str>) -> Attempt {
        match broadcast.file(file) {
            Look::Found(source) => {
                let known = answer::is_known(if_none_match, &MEDIA_ETAG);
                let answer = answer::media(source, content_type(file), known, self.taste, self.busy);
                Attempt::Done(Answer::Response(answer))
            }
            Look::Wait(position) => Attempt::Wait(self, broadcast, position),
            Look::Missing | Look::TooFar => self.refuse(Refusal::UnknownMedia),
        }
    }

    fn refuse(self, refusal: Refusal) -> Attempt {
        Attempt::Done(Answer::Response(refusal.answer(self.taste.head_only, self.busy)))
    }
}

impl Worker {
    /// Counts an answer; when the server stops, it is the last one on its connection.
    fn finish(&self, kind: RouteKind, answer: Answer, sequential: bool) -> Answer {
        self.counters.count(kind, answer.status());
        if !sequential || !self.pump.stopping() {
            return answer;
        }
        closing(answer)
    }
}

/// The last answer on its connection.
fn closing(answer: Answer) -> Answer {
    let mut last = answer.into_response();
    last.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Answer::Response(last)
}

/// The answer to `HEAD`: hyper takes the body away in HTTP/1.1, but not in HTTP/2.
fn without_body(answer: Response<FallbackBody>, busy: InFlight) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    Response::from_parts(parts, Body::empty(busy))
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
        File::Segment(rendition, _) | File::Part(rendition, ..) | File::Init(rendition, _) if rendition.is_audio() => {
            HeaderValue::from_static("audio/mp4")
        }
        _ => HeaderValue::from_static("video/mp4"),
    }
}

fn taste(head_only: bool, request: &Request<'_>) -> Taste {
    // A range of something else than what the reader has a part of is of no use to it.
    let same = request.if_range.is_none_or(|tag| MEDIA_ETAG.as_bytes() == tag.as_bytes());
    Taste {
        head_only,
        gzip: answer::takes_gzip(request.accept_encoding),
        range: request.range.and_then(Range::parse).filter(|_| same && !head_only),
    }
}
