//! Helpers of the tests: a server in a temporary folder, an effect handler that records, and a client.
#![allow(dead_code)] // Each test binary uses only some of the helpers.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use control::lifecycle::Effect;
use control::{Config, Control, EffectHandler, Environment, StreamSettings, Token};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::sync::mpsc;
use tower::ServiceExt;

pub(crate) const ID: &str = "token-id";
pub(crate) const SECRET: &str = "token-secret";

/// Sends the settings of the live stream and the effect of each call to an [`EffectLog`].
pub(crate) struct Recorder {
    to: mpsc::UnboundedSender<(Arc<StreamSettings>, Effect)>,
    can_simulcast: bool,
}

impl Recorder {
    pub(crate) fn new(to: mpsc::UnboundedSender<(Arc<StreamSettings>, Effect)>) -> Self {
        Self { to, can_simulcast: false }
    }
}

impl EffectHandler for Recorder {
    fn handle(&self, settings: &Arc<StreamSettings>, effect: &Effect) {
        let _ = self.to.send((settings.clone(), effect.clone()));
    }

    fn can_simulcast(&self) -> bool {
        self.can_simulcast
    }
}

/// Effects that a [`Recorder`] was called with.
pub(crate) struct EffectLog(mpsc::UnboundedReceiver<(Arc<StreamSettings>, Effect)>);

impl EffectLog {
    /// Waits for the next event and returns its name.
    pub(crate) async fn event(&mut self) -> &'static str {
        loop {
            if let Effect::Event(event) = self.effect().await {
                return event.as_str().trim_start_matches("video.live_stream.");
            }
        }
    }

    /// Waits for the next effect.
    pub(crate) async fn effect(&mut self) -> Effect {
        self.0.recv().await.expect("the recorder is alive").1
    }

    /// Returns all effects so far, with the settings of each.
    pub(crate) fn effects(&mut self) -> Vec<(Arc<StreamSettings>, Effect)> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }

    /// Returns the names of all events so far.
    pub(crate) fn events(&mut self) -> Vec<&'static str> {
        let mut names = Vec::new();
        while let Ok((_, effect)) = self.0.try_recv() {
            if let Effect::Event(event) = effect {
                names.push(event.as_str().trim_start_matches("video.live_stream."));
            }
        }
        names
    }
}

pub(crate) fn config(folder: &Path) -> Config {
    Config {
        store_url: format!("sqlite://{}", folder.join("weir.db").display()),
        key_file: folder.join("secret.key"),
        token: Some(Token { id: ID.to_owned(), secret: SECRET.to_owned() }),
        public_url: "http://localhost:8080".to_owned(),
        environment: Environment::default(),
        max_simulcast_targets: control::MAX_SIMULCAST_TARGETS,
    }
}

pub(crate) async fn open(folder: &Path) -> (Control, EffectLog) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let (control, _) = Control::open(config(folder), Arc::new(Recorder::new(sender))).await.expect("opens");
    (control, EffectLog(receiver))
}

/// Opens a server that can send to simulcast targets.
pub(crate) async fn open_simulcast(folder: &Path) -> (Control, EffectLog) {
    let (to, receiver) = mpsc::unbounded_channel();
    let recorder = Arc::new(Recorder { to, can_simulcast: true });
    let (control, _) = Control::open(config(folder), recorder).await.expect("opens");
    (control, EffectLog(receiver))
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn data(&self) -> &Value {
        &self.body["data"]
    }

    /// Returns the messages of an error, which must have this status and type.
    pub(crate) fn error(&self, status: u16, kind: &str) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.body["error"]["type"], kind);
        let messages = self.body["error"]["messages"].as_array().expect("a list of messages");
        assert!(!messages.is_empty());
        messages.iter().map(|m| m.as_str().expect("text")).collect::<Vec<_>>().join("\n")
    }
}

pub(crate) struct Client(pub(crate) Router);

impl Client {
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let answer = self.0.clone().oneshot(request).await.expect("answers");
        let (parts, body) = answer.into_parts();
        assert!(parts.headers.contains_key("x-request-id"));
        let text = String::from_utf8(body.collect().await.expect("a body").to_bytes().to_vec()).expect("text");
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, text, body }
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let basic = STANDARD.encode(format!("{ID}:{SECRET}"));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Basic {basic}"))
            .header(header::CONTENT_TYPE, "application/json");
        let body = body.map_or_else(Body::empty, |json| Body::from(json.to_string()));
        self.send(request.body(body).expect("a request")).await
    }

    pub(crate) fn token() -> Token {
        Token { id: ID.to_owned(), secret: SECRET.to_owned() }
    }

    /// Sends a POST request with the valid token and only these header fields.
    pub(crate) async fn send_as(&self, path: &str, fields: &[(&str, &str)], body: Body) -> Answer {
        let basic = STANDARD.encode(format!("{ID}:{SECRET}"));
        let request = Request::post(path).header(header::AUTHORIZATION, format!("Basic {basic}"));
        let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.send(request.body(body).expect("a request")).await
    }

    /// Requests `whoami` from an address.
    pub(crate) async fn call_from(&self, token: &Token, address: std::net::IpAddr) -> Answer {
        let basic = STANDARD.encode(format!("{}:{}", token.id, token.secret));
        let request = Request::builder().uri("/system/v1/whoami").extension(control::ClientAddress(address));
        let request = request.header(header::AUTHORIZATION, format!("Basic {basic}"));
        self.send(request.body(Body::empty()).expect("a request")).await
    }

    pub(crate) async fn call_as(&self, token: &Token, path: &str) -> Answer {
        let basic = STANDARD.encode(format!("{}:{}", token.id, token.secret));
        let request = Request::builder().uri(path).header(header::AUTHORIZATION, format!("Basic {basic}"));
        self.send(request.body(Body::empty()).expect("a request")).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PATCH, path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None).await
    }

    /// Creates a live stream with this token.
    pub(crate) async fn create_as(&self, token: &Token) -> (String, Value) {
        let basic = STANDARD.encode(format!("{}:{}", token.id, token.secret));
        let request = Request::post(STREAMS).header(header::AUTHORIZATION, format!("Basic {basic}"));
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let answer = self.send(request.body(Body::from("{}")).expect("a request")).await;
        let data = answer.data().clone();
        (data["id"].as_str().expect("an id").to_owned(), data)
    }

    /// Creates a live stream, and returns its id and the whole of it.
    pub(crate) async fn create(&self, body: Value) -> (String, Value) {
        let answer = self.post(STREAMS, body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        let data = answer.data().clone();
        (data["id"].as_str().expect("an id").to_owned(), data)
    }
}

pub(crate) const STREAMS: &str = "/video/v1/live-streams";
