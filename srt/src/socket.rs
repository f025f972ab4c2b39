//! Sockets of libsrt.

use std::sync::OnceLock;
use std::time::Duration;

use crate::ffi::{self, CallError, SocketId};

/// A socket that is closed when dropped.
#[derive(Debug)]
pub(crate) struct Socket(pub(crate) SocketId);

impl Socket {
    /// Creates a socket; starts libsrt before the first one.
    pub(crate) fn new() -> Result<Self, CallError> {
        static STARTED: OnceLock<Result<(), CallError>> = OnceLock::new();
        STARTED.get_or_init(ffi::start).clone()?;
        ffi::create().map(Self)
    }

    /// Makes calls return at once, with an error if there is nothing to do.
    pub(crate) fn set_nonblocking(&self) -> Result<(), CallError> {
        ffi::set_bool(self.0, ffi::OPT_RCVSYN, false)?;
        ffi::set_bool(self.0, ffi::OPT_SNDSYN, false)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        ffi::close(self.0);
    }
}

/// Returns a duration as options take it.
pub(crate) fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
