//! Reads FLV files.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use media::Kind;

/// Bytes of a file's header with the size before the first tag, and bytes of a tag's header.
const FILE_HEADER: usize = 13;
const TAG_HEADER: usize = 11;

/// Returns the audio and video tags of a file of the tree: kind, time, body.
pub(crate) fn tags(name: &str) -> Vec<(Kind, i64, Bytes)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flv").join(name);
    parse(&fs::read(path).expect("a file of the tree").into())
}

/// Returns the complete audio and video tags in the bytes of a file.
pub(crate) fn parse(bytes: &Bytes) -> Vec<(Kind, i64, Bytes)> {
    let (mut tags, mut at) = (Vec::new(), FILE_HEADER);
    while let Some(&[kind, l2, l1, l0, t2, t1, t0, t3, ..]) = bytes.get(at..at + TAG_HEADER) {
        let len = u32::from_be_bytes([0, l2, l1, l0]) as usize;
        if bytes.len() < at + TAG_HEADER + len {
            break;
        }
        let body = bytes.slice(at + TAG_HEADER..at + TAG_HEADER + len);
        let millis = i64::from(u32::from_be_bytes([t3, t2, t1, t0]));
        match kind {
            8 => tags.push((Kind::Audio, millis, body)),
            9 => tags.push((Kind::Video, millis, body)),
            _ => {}
        }
        at += TAG_HEADER + len + 4;
    }
    tags
}
