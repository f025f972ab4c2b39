//! HTTP: connections, parsing of requests, and writing of answers.

pub(crate) mod body;
pub(crate) mod connection;
mod cork;
pub(crate) mod host;
mod http1;
mod prefixed;
pub(crate) mod range;
pub(crate) mod refusal;
pub(crate) mod request;
pub(crate) mod response;
mod socket;
