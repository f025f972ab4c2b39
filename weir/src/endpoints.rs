//! The HTTP endpoints beside playback: API, health, metrics, and the page at `/`.

use std::convert::Infallible;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use bytes::Bytes;
use control::Control;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode, header};
use origin::{Fallback, FallbackBody, PeerAddress};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tower::ServiceExt;
use tracing::error;

use crate::home;
use crate::metrics::Sources;

/// Answers every request that is not for playback.
pub(crate) struct Endpoints {
    api: axum::Router,
    /// Main runtime, which runs the API.
    runtime: Handle,
    control: Control,
    sources: OnceLock<Sources>,
    ready: AtomicBool,
    drain: CancellationToken,
}

impl Endpoints {
    /// Creates the endpoints. `drain` is cancelled when the program shuts down. Must be called on the main runtime,
    /// which will run the API.
    pub(crate) fn new(control: Control, drain: CancellationToken) -> Self {
        let (api, sources, ready) = (control::router(&control), OnceLock::new(), AtomicBool::new(false));
        Self { api, runtime: Handle::current(), control, sources, ready, drain }
    }

    /// Marks the server as started, and gives `/metrics` its [`Sources`].
    pub(crate) fn set_ready(&self, sources: Sources) {
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

    /// Returns whether everything works, unlike [`Endpoints::health`]. A failing store is no reason to restart the
    /// server, because live streams go on.
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

impl Fallback for Endpoints {
    fn call(&self, mut request: Request<Incoming>) -> BoxFuture<'static, Response<FallbackBody>> {
        match request.uri().path() {
            "/" => home::answer(request.method()),
            "/healthz" => plain(self.health()),
            "/readyz" => plain(self.readiness()),
            "/metrics" => plain(self.metrics()),
            _ => {
                if let Some(PeerAddress(peer)) = request.extensions().get().copied() {
                    request.extensions_mut().insert(control::ClientAddress(peer.ip()));
                }
                call_api(&self.runtime, self.api.clone(), request)
            }
        }
    }
}

/// Answers a request to the API on `runtime`, because its handlers and their transactions would delay the viewers of
/// the playback worker that parsed the request. Dropping the future cancels the handler.
fn call_api<B>(runtime: &Handle, api: axum::Router, request: Request<B>) -> BoxFuture<'static, Response<FallbackBody>>
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let handler = AbortOnDropHandle::new(runtime.spawn(api.oneshot(request.map(Body::new))));
    Box::pin(async move {
        let response: Result<Response<Body>, Infallible> = match handler.await {
            Ok(response) => response,
            Err(error) => {
                error!(%error, "an API request failed");
                return plain((StatusCode::INTERNAL_SERVER_ERROR, "internal error\n".to_owned())).await;
            }
        };
        let response = response.unwrap_or_else(|never| match never {});
        response.map(|body| body.map_err(Into::into).boxed_unsync())
    })
}

fn plain((status, text): (StatusCode, String)) -> BoxFuture<'static, Response<FallbackBody>> {
    let body = http_body_util::Full::from(text).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    Box::pin(std::future::ready(response))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use http_body_util::Empty;
    use std::future::pending;
    use tokio::runtime::{Builder, Runtime};

    fn main_runtime() -> Runtime {
        Builder::new_multi_thread().worker_threads(1).thread_name("main").build().unwrap()
    }

    #[test]
    fn the_api_runs_on_the_main_runtime_and_not_on_the_playback_worker() {
        let (main, worker) = (main_runtime(), Builder::new_current_thread().build().unwrap());
        let thread = || async { std::thread::current().name().unwrap_or_default().to_owned() };
        let api = axum::Router::new().route("/", get(thread));
        let response = worker.block_on(call_api(main.handle(), api, Request::new(Empty::<Bytes>::new())));
        let body = worker.block_on(response.into_body().collect()).unwrap().to_bytes();
        assert_eq!(body, "main");
    }

    #[test]
    fn a_client_that_disconnects_cancels_its_handler() {
        let (main, worker) = (main_runtime(), Builder::new_current_thread().build().unwrap());
        let (sender, mut receiver) = tokio::sync::mpsc::channel::<()>(1);
        let wait = move || async move {
            let _ = sender.send(()).await;
            pending::<String>().await
        };
        let api = axum::Router::new().route("/", get(wait));
        let answering = call_api(main.handle(), api, Request::new(Empty::<Bytes>::new()));
        assert_eq!(worker.block_on(receiver.recv()), Some(()), "the handler runs without being polled");
        drop(answering);
        assert_eq!(worker.block_on(receiver.recv()), None, "the handler has dropped its sender");
    }
}
