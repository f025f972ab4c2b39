//! HTTP: connections, requests as they are read, and answers as they are written.

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
