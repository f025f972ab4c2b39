//! Support of the end-to-end tests: servers, a client of the API, real encoders, and a client that checks playback.

mod api;
mod boxes;
mod clip;
mod encoder;
mod ffmpeg9;
pub(crate) mod flashes;
mod http;
mod lossy;
mod machine;
mod npm;
mod playback;
mod playlist;
pub(crate) mod prometheus;
mod relay;
mod server;
pub(crate) mod targets;
mod wait;
mod watcher;

pub(crate) use api::{Api, Stream};
pub(crate) use boxes::{EventMessage, Fragment, codec, event_messages, fragments, timescale};
pub(crate) use clip::{Clip, Hashes, audio_hashes, clip, encode, hashes, kept, video_hashes};
pub(crate) use encoder::Encoder;
pub(crate) use ffmpeg9::ffmpeg9;
pub(crate) use http::{Answer, Client};
pub(crate) use lossy::{Link, Lossy};
pub(crate) use machine::{alone, shared};
pub(crate) use npm::npm_folder;
pub(crate) use playback::{Playback, Rendition, resolve};
pub(crate) use playlist::{MediaPlaylist, Part, Segment, attribute};
pub(crate) use relay::Relay;
pub(crate) use server::{OPEN_FILES, Server, free_ports};
pub(crate) use wait::{BOUND, until, until_within};
pub(crate) use watcher::{Seen, Watcher};
