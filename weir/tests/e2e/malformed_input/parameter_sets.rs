//! Parameter sets of H.264 put where they may stand as well: in front of the pictures that need them.

use super::publisher::{Tag, VIDEO};

/// Bytes of an FLV video tag in front of its payload.
const HEAD: usize = 5;
/// Bytes of an `avcC` in front of its number of sequence parameter sets.
const RECORD: usize = 5;

fn is_header(tag: &Tag) -> bool {
    tag.kind == VIDEO && tag.is_header()
}

/// The sets of an `avcC`, each behind a length of four bytes.
fn sets(record: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = &record[RECORD..];
    for mask in [0x1f, 0xff] {
        let count = rest[0] & mask;
        rest = &rest[1..];
        for _ in 0..count {
            let (set, behind) = rest[2..].split_at(usize::from(u16::from_be_bytes([rest[0], rest[1]])));
            out.extend((set.len() as u32).to_be_bytes());
            out.extend(set);
            rest = behind;
        }
    }
    out
}

/// Each key frame begins with the sets of the header before it; headers stay as long as `keep` says, by their number.
fn moved(tags: Vec<Tag>, keep: impl Fn(usize) -> bool) -> Vec<Tag> {
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

/// No header, sets in the pictures only.
pub(crate) fn in_band(tags: Vec<Tag>) -> Vec<Tag> {
    moved(tags, |_| false)
}

/// The first `headers` of them only: what changes behind is in the pictures.
pub(crate) fn changed_in_band(tags: Vec<Tag>, headers: usize) -> Vec<Tag> {
    moved(tags, |number| number < headers)
}
