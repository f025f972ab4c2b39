//! Moves the parameter sets of H.264 from the header into the key frames that need them, where they are allowed as
//! well.

use super::publisher::{Tag, VIDEO};

/// Bytes of an FLV video tag before its payload.
const HEAD: usize = 5;
/// Bytes of an `avcC` before its number of sequence parameter sets.
const RECORD: usize = 5;

fn is_header(tag: &Tag) -> bool {
    tag.kind == VIDEO && tag.is_header()
}

/// Returns the sets of an `avcC`, each after a length of four bytes.
fn sets(record: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = &record[RECORD..];
    for mask in [0x1f, 0xff] {
        let count = rest[0] & mask;
        rest = &rest[1..];
        for _ in 0..count {
            let (set, following) = rest[2..].split_at(usize::from(u16::from_be_bytes([rest[0], rest[1]])));
            out.extend((set.len() as u32).to_be_bytes());
            out.extend(set);
            rest = following;
        }
    }
    out
}

/// Copies the sets of the last header to the beginning of each key frame, and keeps the headers whose number `keep`
/// accepts.
fn move_in_band(tags: Vec<Tag>, keep: impl Fn(usize) -> bool) -> Vec<Tag> {
    let (mut current, mut headers, mut out) = (Vec::new(), 0, Vec::new());
    for mut tag in tags {
        if is_header(&tag) {
            current = sets(&tag.body[HEAD..]);
            headers += 1;
            if keep(headers - 1) {
                out.push(tag);
            }
            continue;
        }
        if tag.kind == VIDEO && tag.body[0] >> 4 == 1 && tag.body[1] == 1 {
            tag.body.splice(HEAD..HEAD, current.iter().copied());
        }
        out.push(tag);
    }
    out
}

/// Removes all headers, so that all parameter sets are in-band.
pub(crate) fn in_band(tags: Vec<Tag>) -> Vec<Tag> {
    move_in_band(tags, |_| false)
}

/// Keeps the first `headers` headers only, so that later changes are in-band.
pub(crate) fn changed_in_band(tags: Vec<Tag>, headers: usize) -> Vec<Tag> {
    move_in_band(tags, |number| number < headers)
}
