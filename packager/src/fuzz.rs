//! Bodies of the fuzz targets, compiled with the library so that a change of it cannot leave them behind.

use bytes::Bytes;

use crate::log::{LogWriter, wire};
use crate::window::Window;

/// Reads `data` as an entry of the log. An entry that is accepted is written back as the same bytes; a window folds
/// it, and a writer continues after it.
pub fn log_entry(data: &[u8]) {
    let Ok(entry) = wire::decode(Bytes::copy_from_slice(data)) else { return };
    assert_eq!(wire::encode(&entry).pieces().concat(), data, "the form of an entry is unique");
    Window::new().apply(&entry.event);
    let next = entry.seq + 1;
    assert_eq!(LogWriter::resume(&[entry]).next_seq(), next);
}
