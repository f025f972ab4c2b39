//! What the server needs of the machine before it starts: its sockets and certificates. `weir check` asks for the
//! same things by the same functions.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use ingest::Transport;
use origin::Listener;

use crate::config::Config;
use crate::tls;

/// Every listening socket, bound.
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

/// The certificate of HTTPS.
pub(crate) fn https_settings(config: &Config) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let (cert, key) = (&config.https.cert, &config.https.key);
    tls::server_config(cert, key, &origin::ALPN_PROTOCOLS).context("https.cert, https.key")
}

/// The certificate of RTMPS and its key; `None` where Weir makes them.
pub(crate) fn rtmps_files(config: &Config) -> Option<(PathBuf, PathBuf)> {
    let rtmps = &config.rtmps;
    (!rtmps.cert.as_os_str().is_empty()).then(|| (rtmps.cert.clone(), rtmps.key.clone()))
}

/// Binds the address of a setting.
pub(crate) fn tcp(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listen = || {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        // A restart must not wait for the last process' connections to time out.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        // A crowd that reconnects at once waits in this queue; the kernel cuts it to its own limit.
        socket.listen(4_096)?;
        socket.set_nonblocking(true)?;
        Ok::<_, std::io::Error>(TcpListener::from(socket))
    };
    listen().with_context(|| cannot_listen(key, address))
}

/// Binds the address of a setting for datagrams.
pub(crate) fn udp(key: &str, address: SocketAddr) -> anyhow::Result<UdpSocket> {
    UdpSocket::bind(address).with_context(|| cannot_listen(key, address))
}

fn cannot_listen(key: &str, address: SocketAddr) -> String {
    format!("{key}: cannot listen on {address}: is another server running there?")
}
