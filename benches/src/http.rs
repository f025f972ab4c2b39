//! A small HTTP/1.1 client with one persistent connection, and the calls of Weir's API that the benchmarks need.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::peers::{TOKEN, Weir};

/// Maximum length of a response. Playlists, parts and responses of the API are shorter.
const MAX_RESPONSE: usize = 64 << 20;

/// A response: status code and body.
pub(crate) struct Response {
    /// The status code.
    pub(crate) status: u16,
    /// The body, decoded from its transfer coding.
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// Returns the body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    host: SocketAddr,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects from `source`.
    pub(crate) async fn connect(host: SocketAddr, source: IpAddr) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(source, 0))?;
        let stream = socket.connect(host).await.with_context(|| format!("connect to {host}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, host, buffer: Vec::new() })
    }

    /// Sends a GET request.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Response> {
        self.request("GET", path, "", "").await
    }

    /// Sends a request with further header lines and a body, and reads the response.
    pub(crate) async fn request(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Result<Response> {
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{headers}{length}\r\n{body}", self.host);
        self.stream.write_all(head.as_bytes()).await?;
        self.response().await.with_context(|| format!("{method} {path}"))
    }

    async fn response(&mut self) -> Result<Response> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill().await?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
        self.buffer.drain(..end);
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).context("no status")?;
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let body = if let Some(length) = header("content-length:") {
            self.take(length.parse()?).await?
        } else if header("transfer-encoding:") == Some("chunked") {
            self.take_chunks().await?
        } else {
            Vec::new()
        };
        Ok(Response { status, body })
    }

    async fn take(&mut self, n: usize) -> Result<Vec<u8>> {
        ensure!(n <= MAX_RESPONSE, "a response of {n} bytes");
        while self.buffer.len() < n {
            self.fill().await?;
        }
        let rest = self.buffer.split_off(n);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    async fn take_chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                if let Some(at) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                    break at;
                }
                self.fill().await?;
            };
            let line = self.take(end + 2).await?;
            let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).context("chunk size")?;
            let chunk = self.take(size.saturating_add(2)).await?;
            if size == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    async fn fill(&mut self) -> Result<()> {
        self.buffer.reserve(16 * 1_024);
        ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the server closed the connection");
        Ok(())
    }
}

/// The fields of a live stream that the benchmarks use.
#[derive(Clone, Debug)]
pub(crate) struct LiveStream {
    /// Stream key of encoders.
    pub(crate) key: String,
    /// Playback id of viewers.
    pub(crate) playback_id: String,
    /// Passphrase of SRT encoders.
    pub(crate) srt_passphrase: String,
}

impl Weir {
    /// Connects to the HTTP listener.
    pub(crate) async fn client(&self) -> Result<Client> {
        Client::connect(self.http, crate::push::loopback(0)).await
    }

    /// Creates `n` live streams in `low` mode.
    pub(crate) async fn create_streams(&self, n: usize, reconnect_window: u32) -> Result<Vec<LiveStream>> {
        self.create_streams_in("low", n, reconnect_window).await
    }

    /// Creates `n` live streams in a latency mode.
    pub(crate) async fn create_streams_in(&self, mode: &str, n: usize, window: u32) -> Result<Vec<LiveStream>> {
        let settings = json!({"playback_policy": ["public"], "latency_mode": mode, "reconnect_window": window});
        let mut streams = Vec::with_capacity(n);
        for _ in 0..n {
            streams.push(self.create(&settings).await?);
        }
        Ok(streams)
    }

    /// Creates a live stream.
    pub(crate) async fn create(&self, settings: &Value) -> Result<LiveStream> {
        let token = STANDARD.encode(format!("{}:{}", TOKEN.0, TOKEN.1));
        let headers = format!("Authorization: Basic {token}\r\nContent-Type: application/json\r\n");
        let mut client = self.client().await?;
        let response = client.request("POST", "/video/v1/live-streams", &headers, &settings.to_string()).await?;
        if response.status != 201 {
            bail!("create a live stream: {} {}", response.status, response.text());
        }
        let json: Value = serde_json::from_slice(&response.body)?;
        let text = |pointer: &str| json.pointer(pointer).and_then(|v| v.as_str()).map(str::to_owned);
        Ok(LiveStream {
            key: text("/data/stream_key").context("no stream_key")?,
            playback_id: text("/data/playback_ids/0/id").context("no playback id")?,
            srt_passphrase: text("/data/srt_passphrase").context("no srt_passphrase")?,
        })
    }

    /// Returns the sum of all samples of the metric `name` over its labels, or `None` if there is no such metric.
    pub(crate) async fn metric(&self, name: &str) -> Result<Option<f64>> {
        let response = self.client().await?.get("/metrics").await?;
        ensure!(response.status == 200, "/metrics: status {}", response.status);
        Ok(sum_of(&response.text(), name))
    }
}

/// Returns the sum of the samples of `name` in a Prometheus text.
pub(crate) fn sum_of(text: &str, name: &str) -> Option<f64> {
    let samples = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        if !rest.starts_with(['{', ' ']) {
            return None;
        }
        rest.rsplit(' ').next()?.parse::<f64>().ok()
    });
    samples.reduce(|a, b| a + b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_over_labels() {
        let text = "# TYPE a gauge\na{s=\"x\"} 2\na{s=\"y\"} 3.5\nab 9\nb 1\n";
        assert_eq!(sum_of(text, "a"), Some(5.5));
        assert_eq!(sum_of(text, "b"), Some(1.0));
        assert_eq!(sum_of(text, "c"), None);
    }

    #[tokio::test]
    async fn chunked_and_plain_responses_are_read() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let responses: &[u8] =
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n\
                HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno";
            socket.write_all(responses).await.unwrap();
            socket
        };
        let client = async {
            let mut client = Client::connect(address, "127.0.0.1".parse().unwrap()).await.unwrap();
            let (first, second) = (client.get("/a").await.unwrap(), client.get("/b").await.unwrap());
            assert_eq!((first.status, first.text().as_str()), (200, "abcde"));
            assert_eq!((second.status, second.text().as_str()), (404, "no"));
        };
        tokio::join!(server, client);
    }
}
