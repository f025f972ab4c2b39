//! Bodies of the fuzz targets, so that they compile with what they test.

use crate::srt::stream_id::{Request, parse};

/// Asserts that a key is a part of its stream id, and that surrounding whitespace does not change it.
pub fn stream_id(data: &[u8]) {
    let Request::Publish(key) = parse(data) else { return };
    assert!(key.0.len() <= data.len(), "a key that is longer than the stream id");
    let spaced = [b" ", data, b"\n"].concat();
    if let Request::Publish(again) = parse(&spaced) {
        assert!(again.0 == key.0, "space changes the key");
    }
}
