//! Playback: the broadcast in memory, the request that a URL stands for, and the answer to it.

pub(crate) mod broadcast;
pub(crate) mod directives;
mod playlists;
pub(crate) mod rendered;
pub(crate) mod request;
pub(crate) mod resolver;
pub(crate) mod route;
pub(crate) mod service;
mod watch_page;
