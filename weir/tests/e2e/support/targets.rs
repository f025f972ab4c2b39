//! Servers that others wrote, as targets of simulcasts. Each accepts a publication and keeps what arrives in files.
//!
//! A server is ended when it is dropped. All keep their addresses over a restart.

mod certificates;
mod ffmpeg;
mod nginx;
mod node;
mod service;
mod srt;
mod tls_front;

pub(crate) use certificates::Certificates;
pub(crate) use ffmpeg::FfmpegListener;
pub(crate) use nginx::NginxRtmp;
pub(crate) use node::NodeMediaServer;
pub(crate) use service::Service;
pub(crate) use srt::SrtReceiver;
pub(crate) use tls_front::TlsFront;
