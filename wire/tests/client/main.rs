//! A client's session against our own server, against scripted servers, and against other programs.

mod auth;
mod codecs;
#[path = "../common/flv.rs"]
mod flv_file;
mod outcomes;
mod peers;
mod support;
mod wire_format;
