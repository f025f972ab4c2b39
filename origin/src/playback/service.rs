//! The service of a connection: routes each request and answers it, blocks it, or passes it to the fallback.
//!
//! A request that can be answered immediately needs no task, no box and no timer. A blocked one first drops the bytes it was
//! parsed from, so that a blocked reader holds little memory.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, Response, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use media::id::PlaybackId;

use crate::api::{FallbackBody, PeerAddress};
use crate::config::Config;
use crate::http::body::Body;
use crate::http::host;
use crate::http::range::Range;
use crate::http::refusal::Refusal;
use crate::http::request::{Head, Request};
use crate::http::response::{self, Answer, ClientPreferences, MEDIA_ETAG};
use crate::playback::broadcast::NextPart;
use crate::playback::directives::Directives;
use crate::playback::request::{Outcome, PlaybackRequest, finish};
use crate::playback::resolver::Playback;
use crate::playback::route::Route;
use crate::playback::watch_page;
use crate::stats::RouteKind;
use crate::worker::activity::{ConnectionActivity, RequestGuard};
use crate::worker::context::WorkerContext;

/// Answers the requests of one connection.
#[derive(Clone)]
pub(crate) struct ConnectionService {
    context: Arc<WorkerContext>,
    activity: Arc<ConnectionActivity>,
    peer: SocketAddr,
}

/// Future of a response for hyper, which may be ready from the start.
pub(crate) enum ServiceFuture {
    Ready(Option<Response<Body>>),
    Later(BoxFuture<'static, Response<Body>>),
}

impl Future for ServiceFuture {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Ready(answer) => answer.take().map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer))),
            Self::Later(future) => future.as_mut().poll(cx).map(Ok),
        }
    }
}

impl hyper::service::Service<http::Request<Incoming>> for ConnectionService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ServiceFuture;

    fn call(&self, request: http::Request<Incoming>) -> ServiceFuture {
        self.activity.note_request();
        let parsed = Request::of(&request);
        if !host::is_named(&request) {
            return ServiceFuture::Ready(Some(self.refuse(&parsed, RouteKind::Unknown, Refusal::Host).into_response()));
        }
        match Route::parse(parsed.path) {
            Route::Other => self.call_fallback(request),
            route => match self.answer(&parsed, route) {
                Outcome::Answer(answer) => ServiceFuture::Ready(Some(answer.into_response())),
                Outcome::Blocked(blocked) => {
                    let waiting = blocked.wait(self.context());
                    ServiceFuture::Later(Box::pin(async move { waiting.await.into_response() }))
                }
            },
        }
    }
}

impl ConnectionService {
    pub(crate) fn new(context: Arc<WorkerContext>, activity: Arc<ConnectionActivity>, peer: SocketAddr) -> Self {
        Self { context, activity, peer }
    }

    pub(crate) fn context(&self) -> Arc<WorkerContext> {
        Arc::clone(&self.context)
    }

    pub(crate) fn activity(&self) -> Arc<ConnectionActivity> {
        Arc::clone(&self.activity)
    }

    pub(crate) fn config(&self) -> &Config {
        &self.context.shared.config
    }

    pub(crate) fn set_multiplexed(&self) {
        self.activity.set_multiplexed();
    }

    /// Answers the plain request at the beginning of `bytes`, and returns its length with the [`Outcome`]. Returns `None` if
    /// the request is incomplete, and length zero without an outcome if it is not plain or not for playback.
    pub(crate) fn answer_plain(&self, bytes: &[u8]) -> Option<(usize, Option<Outcome>)> {
        match Request::parse(bytes) {
            // hyper refuses a head that is too long.
            Head::Partial if bytes.len() < self.config().max_head_bytes => None,
            Head::Partial | Head::Other => Some((0, None)),
            Head::Plain(request, length) => match Route::parse(request.path) {
                Route::Other => Some((0, None)),
                route => Some((length, Some(self.answer(&request, route)))),
            },
        }
    }

    fn call_fallback(&self, mut request: http::Request<Incoming>) -> ServiceFuture {
        let guard = RequestGuard::new(&self.activity);
        let context = Arc::clone(&self.context);
        let has_spare_permit = self.activity.has_spare_permit();
        let sequential = request.version() < Version::HTTP_2;
        let head_only = request.method() == Method::HEAD;
        request.extensions_mut().insert(PeerAddress(self.peer));
        let answering = context.shared.fallback.call(request);
        ServiceFuture::Later(Box::pin(async move {
            let answer = answering.await;
            let answer = if head_only { without_body(answer, guard) } else { answer.map(|b| Body::streamed(b, guard)) };
            let answer = finish(&context, RouteKind::Fallback, Answer::Response(answer), sequential);
            if has_spare_permit && sequential { answer.closing() } else { answer }.into_response()
        }))
    }

    /// Refuses a request whatever its route, and counts it under `kind`.
    fn refuse(&self, request: &Request<'_>, kind: RouteKind, refusal: Refusal) -> Answer {
        let answer = refusal.answer(request.method == Method::HEAD, RequestGuard::new(&self.activity));
        let answer = finish(&self.context, kind, Answer::Response(answer), request.sequential);
        if request.sequential { answer.closing() } else { answer }
    }

    /// Answers a request of any route but [`Route::Other`].
    fn answer(&self, request: &Request<'_>, route: Route) -> Outcome {
        let kind = route.kind();
        if self.activity.has_spare_permit() {
            return Outcome::Answer(self.refuse(request, kind, Refusal::Full));
        }
        let guard = RequestGuard::new(&self.activity);
        let sequential = request.sequential;
        let head_only = request.method == Method::HEAD;
        let done = |answer| Outcome::Answer(finish(&self.context, kind, Answer::Response(answer), sequential));
        if request.method == Method::OPTIONS {
            return done(response::preflight(guard));
        }
        if !head_only && request.method != Method::GET {
            return done(Refusal::Method.answer(head_only, guard));
        }
        let preferences = preferences(head_only, request);
        let route = match route {
            Route::Playback(route) => route,
            Route::Watch(id) => return done(self.watch_page(id.as_ref(), preferences, guard)),
            Route::Asset(asset) => {
                return done(watch_page::file(asset, preferences, request.if_none_match, guard));
            }
            Route::Unknown | Route::Other => return done(Refusal::UnknownPath.answer(head_only, guard)),
        };
        let directives = match Directives::parse(request.query) {
            Ok(directives) => directives,
            Err(bad) => return done(Refusal::Directive(bad).answer(head_only, guard)),
        };
        // The first request of a player has no validator yet.
        let first = !head_only && request.if_none_match.is_none();
        let next_part = if first { NextPart::Await } else { NextPart::DoNotAwait };
        let playback = PlaybackRequest { kind, route, directives, preferences, sequential, next_part, guard };
        match playback.attempt(&self.context, None, request.if_none_match) {
            Outcome::Answer(answer) => Outcome::Answer(finish(&self.context, kind, answer, sequential)),
            blocked @ Outcome::Blocked(_) => blocked,
        }
    }

    fn watch_page(
        &self,
        playback: Option<&PlaybackId>,
        preferences: ClientPreferences,
        guard: RequestGuard,
    ) -> Response<Body> {
        let resolver = &self.context.shared.resolver;
        let Some(playback) = playback else {
            return watch_page::refusal(Refusal::UnknownPlayback, preferences, guard);
        };
        match resolver.resolve(playback.as_str(), None) {
            Playback::Unknown => watch_page::refusal(Refusal::UnknownPlayback, preferences, guard),
            Playback::Protected => watch_page::refusal(Refusal::Protected, preferences, guard),
            Playback::Idle | Playback::Live(_) => {
                watch_page::page(playback, resolver.title(playback.as_str()).as_deref(), preferences, guard)
            }
        }
    }
}

/// Removes the body from the fallback's answer to `HEAD`, because hyper does so in HTTP/1.1 but not in HTTP/2.
fn without_body(answer: Response<FallbackBody>, guard: RequestGuard) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    Response::from_parts(parts, Body::empty(guard))
}

fn preferences(head_only: bool, request: &Request<'_>) -> ClientPreferences {
    // A range is of no use to a reader that holds a part of something else.
    let same = request.if_range.is_none_or(|tag| MEDIA_ETAG.as_bytes() == tag.as_bytes());
    ClientPreferences {
        head_only,
        gzip: response::takes_gzip(request.accept_encoding),
        range: request.range.and_then(Range::parse).filter(|_| same && !head_only),
    }
}
