//! The one door out of the process.
//!
//! `exit(3)` runs the exit handlers of C libraries, and libsrt's is no way out: it closes every socket and waits for
//! libsrt's threads while another thread may still be inside of `srt_accept` or holds one of the locks it takes; then the
//! process hangs until SIGKILL. GStreamer's pipelines run on threads of their own as well. So the process ends without
//! exit handlers, always: what has to outlive it is written when it is acknowledged, and needs none.

use std::io::Write;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long the last lines may take: whoever reads the log may have stopped reading.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Says something without being kept from leaving by it.
pub(crate) fn say(words: impl FnOnce() + Send + 'static) {
    let (said, done) = mpsc::channel::<()>();
    let speaker = thread::Builder::new().spawn(move || {
        words();
        drop(said);
    });
    if speaker.is_ok() {
        // An error says that it is done, or that it takes too long: there is nothing more to wait for in both cases.
        let _ = done.recv_timeout(LAST_WORDS);
    }
}

/// Ends the process with this exit code.
pub(crate) fn leave(code: u8) -> ! {
    say(|| drop(std::io::stdout().flush()));
    ingest::srt::exit(code)
}
