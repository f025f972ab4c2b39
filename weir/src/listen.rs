//! The sockets and certificates that the server needs before it starts. `weir check` opens them with the same
//! functions.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use ingest::Transport;
use origin::Listener;

use crate::config::Config;
use crate::tls;

/// Every listening socket, already bound.
pub(crate) struct Sockets {
    pub(crate) viewers: Vec<Listener>,
    pub(crate) encoders: Vec<(TcpListener, Transport)>,
    pub(crate) srt: Option<UdpSocket>,
}

impl Sockets {
    pub(crate) fn bind(config: &Config) -> anyhow::Result<Self> {
        let mut viewers = vec![Listener::plain(tcp("http.listen", config.http.listen)?)];
        if let Some(address) = config.https.listen.0 {
            let tls = https_settings(config)?;
            viewers.push(Listener::tls(tcp("https.listen", address)?, Arc::new(move || Arc::clone(&tls))));
        }
        let mut encoders = vec![(tcp("rtmp.listen", config.rtmp.listen)?, Transport::Plain)];
        if let Some(address) = config.rtmps.listen.0 {
            let (cert, key) = match rtmps_files(config) {
                Some(files) => files,
                None => tls::self_signed(&config.data_dir.join("tls"))?,
            };
            let tls = tls::server_config(&cert, &key, &[]).context("rtmps.cert, rtmps.key")?;
            encoders.push((tcp("rtmps.listen", address)?, Transport::Tls(tls)));
        }
        let srt = config.srt.listen.0.map(|address| udp("srt.listen", address));
        Ok(Self { viewers, encoders, srt: srt.transpose()? })
    }
}

/// Returns the TLS configuration of HTTPS.
pub(crate) fn https_settings(config: &Config) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let (cert, key) = (&config.https.cert, &config.https.key);
    tls::server_config(cert, key, &origin::ALPN_PROTOCOLS).context("https.cert, https.key")
}

/// Returns the files of the RTMPS certificate and its key; `None` if Weir creates them (see [`tls::self_signed`]).
pub(crate) fn rtmps_files(config: &Config) -> Option<(PathBuf, PathBuf)> {
    let rtmps = &config.rtmps;
    (!rtmps.cert.as_os_str().is_empty()).then(|| (rtmps.cert.clone(), rtmps.key.clone()))
}

/// Listens on the address of a setting.
pub(crate) fn tcp(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listen = || {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        // A restart must not wait until the connections of the last process time out.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        // Many clients may reconnect at the same moment and wait in this queue. The kernel caps it at its own limit.
        socket.listen(4_096)?;
        socket.set_nonblocking(true)?;
        Ok::<_, std::io::Error>(TcpListener::from(socket))
    };
    listen().with_context(|| cannot_listen(key, address))
}

/// Binds a UDP socket to the address of a setting.
pub(crate) fn udp(key: &str, address: SocketAddr) -> anyhow::Result<UdpSocket> {
    UdpSocket::bind(address).with_context(|| cannot_listen(key, address))
}

fn cannot_listen(key: &str, address: SocketAddr) -> String {
    format!("{key}: cannot listen on {address}: is another server running there?")
}
