//! Playback: the broadcast in memory, what a URL asks of it, and the answer.

pub(crate) mod broadcast;
pub(crate) mod directives;
mod playlists;
pub(crate) mod rendered;
pub(crate) mod request;
pub(crate) mod resolver;
pub(crate) mod route;
pub(crate) mod service;
mod watch_page;
