//! The only way in which the process ends: without exit handlers.
//!
//! `exit(3)` runs the exit handlers of C libraries. libsrt's handler closes every socket and waits for libsrt's
//! threads, while another thread may still be inside `srt_accept` or hold one of the locks that the handler takes. The
//! process then hangs until SIGKILL. GStreamer's pipelines run on threads of their own as well. The process needs no
//! exit handlers, because everything that has to outlive it is written before it is acknowledged.

use std::io::Write;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Time limit for the last lines of output, because the reader of the log may have stopped reading.
const OUTPUT_TIMEOUT: Duration = Duration::from_millis(500);

/// Writes last lines of output without blocking the exit for longer than [`OUTPUT_TIMEOUT`].
pub(crate) fn print_last(write: impl FnOnce() + Send + 'static) {
    let (written, done) = mpsc::channel::<()>();
    let writer = thread::Builder::new().spawn(move || {
        write();
        drop(written);
    });
    if writer.is_ok() {
        // An error means that the thread is done, or that it takes too long. There is nothing to wait for in either
        // case.
        let _ = done.recv_timeout(OUTPUT_TIMEOUT);
    }
}

/// Flushes standard output and ends the process with this exit code.
pub(crate) fn leave(code: u8) -> ! {
    print_last(|| drop(std::io::stdout().flush()));
    srt::exit(code)
}
