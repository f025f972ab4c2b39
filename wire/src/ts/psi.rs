//! Programme tables (ISO/IEC 13818-1 §2.4.4): sections from packets, PAT and PMT from sections.

use media::Language;

use super::unsupported::StreamType;

/// Longest section: a 12-bit length, after 3 bytes.
const MAX_SECTION: usize = 4_098;
/// Bytes up to the length field, inclusive.
const HEAD: usize = 3;
/// Table ids.
const PAT: u8 = 0;
const PMT: u8 = 2;
/// Padding byte after the last section.
const FILLING: u8 = 0xff;

/// Assembles sections from the payloads of one PID.
#[derive(Clone, Debug, Default)]
pub(super) struct Assembler {
    bytes: Vec<u8>,
    /// Whether `bytes` holds the beginning of a section.
    open: bool,
}

impl Assembler {
    /// Takes the payload of a packet and passes each complete section to `out`; `start` is the flag in the packet's
    /// header.
    ///
    /// A section longer than `limit` bytes is dropped, together with the rest of its packet. Returns the number of
    /// those.
    pub(super) fn push(&mut self, payload: &[u8], start: bool, limit: usize, out: &mut impl FnMut(&[u8])) -> u64 {
        if !start {
            return self.take(payload, limit, out).1;
        }
        let Some((pointer, rest)) = payload.split_first() else { return 0 };
        let Some((before, mut rest)) = rest.split_at_checked(usize::from(*pointer)) else {
            self.reset();
            return 0;
        };
        let mut over = self.take(before, limit, out).1;
        self.reset();
        while rest.first().is_some_and(|byte| *byte != FILLING) {
            self.open = true;
            let (left, more) = self.take(rest, limit, out);
            over += more;
            if self.open {
                break;
            }
            rest = if more > 0 { &[] } else { left };
        }
        over
    }

    /// Drops the current section, as after a loss.
    pub(super) fn reset(&mut self) {
        self.bytes.clear();
        self.open = false;
    }

    /// Appends to the current section. Returns the bytes after its end, and 1 if it was over the limit.
    fn take<'a>(&mut self, mut bytes: &'a [u8], limit: usize, out: &mut impl FnMut(&[u8])) -> (&'a [u8], u64) {
        while self.open {
            let total = match *self.bytes.as_slice() {
                [_, high, low, ..] => HEAD + (usize::from(high & 0x0f) << 8 | usize::from(low)),
                _ => HEAD,
            };
            if total > limit.min(MAX_SECTION) {
                self.reset();
                return (&[], 1);
            }
            if self.bytes.len() >= HEAD && self.bytes.len() >= total {
                out(&self.bytes);
                self.reset();
                break;
            }
            let (taken, rest) = bytes.split_at(bytes.len().min(total - self.bytes.len()));
            if taken.is_empty() {
                break;
            }
            self.bytes.extend_from_slice(taken);
            bytes = rest;
        }
        (bytes, 0)
    }
}

/// Returns the CRC in a section's last four bytes, if it is right.
pub(super) fn checked(section: &[u8]) -> Option<u32> {
    let (_, crc) = section.split_last_chunk::<4>()?;
    (crc32(section) == 0).then_some(u32::from_be_bytes(*crc))
}

/// Returns the CRC-32 of MPEG systems: polynomial 0x04c11db7, nothing reflected or inverted. It is zero over a whole
/// valid section.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut n = 0;
        while n < 256 {
            let mut crc = (n as u32) << 24;
            let mut bit = 0;
            while bit < 8 {
                crc = crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 };
                bit += 1;
            }
            table[n] = crc;
            n += 1;
        }
        table
    };
    bytes.iter().fold(u32::MAX, |crc, byte| crc << 8 ^ TABLE[usize::from((crc >> 24) as u8 ^ byte)])
}

/// Returns the first programme of a programme association table, as (number, PID of its map). `None` if the section is
/// another table, not yet in force, or names no programme.
pub(super) fn first_programme(section: &[u8]) -> Option<(u16, u16)> {
    let body = body(section, PAT)?;
    body.chunks_exact(4).find_map(|entry| match *entry {
        [a, b, c, d] if (a, b) != (0, 0) => Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c & 0x1f, d]))),
        _ => None,
    })
}

/// A programme map table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Map {
    /// PID of the programme's clock.
    pub(super) clock_pid: u16,
    /// Streams in the order of the table.
    pub(super) streams: Vec<Entry>,
}

/// A stream of a programme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// PID of the stream.
    pub(super) pid: u16,
    /// [`Content`] of the stream; `None` if unsupported.
    pub(super) content: Option<Content>,
    /// [`StreamType`] as declared in the map.
    pub(super) codec: StreamType,
    /// Language of the stream.
    pub(super) language: Option<Language>,
}

/// Content of an elementary stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// H.264, Annex B.
    Avc,
    /// HEVC, Annex B.
    Hevc,
    /// AAC in ADTS frames.
    Adts,
    /// AAC in LOAS and LATM.
    Latm,
    /// AC-3.
    Ac3,
    /// E-AC-3.
    Eac3,
    /// Opus, with the configuration code of its descriptor.
    Opus(u8),
    /// Timed ID3 tags.
    Id3,
    /// SCTE-35 sections.
    Scte35,
}

/// Parses the [`Map`] of programme `number`; `None` if `section` is another one or not in force.
pub(super) fn map(section: &[u8], number: u16) -> Option<Map> {
    let body = body(section, PMT)?;
    if section.get(3..5)? != number.to_be_bytes() {
        return None;
    }
    let (clock, info) = body.split_first_chunk()?;
    let (_, mut rest) = counted(info)?;
    let mut map = Map { clock_pid: u16::from_be_bytes(*clock) & 0x1fff, streams: Vec::new() };
    while let [kind, high, low, info @ ..] = rest {
        // A stream whose descriptors exceed the section ends the list.
        let Some((descriptors, tail)) = counted(info) else { break };
        rest = tail;
        let pid = u16::from_be_bytes([high & 0x1f, *low]);
        map.streams.push(entry(pid, *kind, descriptors));
    }
    Some(map)
}

fn entry(pid: u16, kind: u8, descriptors: &[u8]) -> Entry {
    let (mut registration, mut opus, mut language) = (None, None, None);
    let (mut ac3, mut eac3) = (false, false);
    let mut rest = descriptors;
    while let [tag, len, tail @ ..] = rest {
        let Some((data, tail)) = tail.split_at_checked(usize::from(*len)) else { break };
        rest = tail;
        match (tag, data) {
            (0x05, _) => registration = registration.or(data.first_chunk::<4>()),
            (0x0a, _) => language = language.or(data.first_chunk().and_then(|code| Language::new(*code))),
            (0x6a, _) => ac3 = true,
            (0x7a, _) => eac3 = true,
            // The provisional tag of Opus in an extension descriptor.
            (0x7f, [0x80, code, ..]) => opus = opus.or(Some(*code)),
            _ => {}
        }
    }
    let content = match (kind, registration) {
        (0x1b, _) => Some(Content::Avc),
        (0x24, _) => Some(Content::Hevc),
        (0x0f, _) => Some(Content::Adts),
        (0x11, _) => Some(Content::Latm),
        (0x81, _) | (0x06, Some(b"AC-3")) => Some(Content::Ac3),
        (0x87, _) | (0x06, Some(b"EAC3")) => Some(Content::Eac3),
        (0x06, Some(b"Opus")) => opus.map(Content::Opus),
        (0x06, _) if eac3 => Some(Content::Eac3),
        (0x06, _) if ac3 => Some(Content::Ac3),
        (0x15, None | Some(b"ID3 ")) => Some(Content::Id3),
        (0x86, None | Some(b"CUEI")) => Some(Content::Scte35),
        _ => None,
    };
    let codec = StreamType { number: kind, registration: registration.copied() };
    Entry { pid, content, codec, language }
}

/// Returns the bytes between header and CRC of a section of table `id` that is in force.
fn body(section: &[u8], id: u8) -> Option<&[u8]> {
    let [table, high, _, _, _, version, _, _, rest @ ..] = section else { return None };
    let (body, _) = rest.split_last_chunk::<4>()?;
    (*table == id && high & 0x80 != 0 && version & 1 == 1).then_some(body)
}

/// Splits off as many bytes as the 12-bit length in front declares.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length) & 0x0fff))
}

#[cfg(test)]
mod tests {
    use super::*;

    // As ffmpeg 5.1 writes them for one H.264 and one AAC stream in English.
    const PAT: [u8; 16] = [0, 0xb0, 0x0d, 0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0, 0x2a, 0xb1, 0x04, 0xb2];

    #[test]
    fn a_real_table_is_read() {
        assert_eq!(checked(&PAT), Some(0x2ab1_04b2));
        assert_eq!(first_programme(&PAT), Some((1, 0x1000)));
        let mut wrong = PAT;
        wrong[9] ^= 1;
        assert_eq!(checked(&wrong), None);
        let mut later = PAT;
        later[5] &= !1;
        assert_eq!(first_programme(&later), None, "not yet in force");
    }

    #[test]
    fn sections_come_out_of_any_packets() {
        let gather = |payloads: &[(&[u8], bool)]| {
            let (mut assembler, mut out) = (Assembler::default(), Vec::new());
            let over: u64 =
                payloads.iter().map(|(p, start)| assembler.push(p, *start, 100, &mut |s| out.push(s.to_vec()))).sum();
            (out, over)
        };
        let two = [&[0][..], &PAT, &PAT, &[0xff; 9]].concat();
        assert_eq!(gather(&[(&two, true)]).0, [PAT, PAT]);
        for at in 1..PAT.len() {
            let (head, tail) = PAT.split_at(at);
            let (first, second) = ([&[0], head].concat(), [tail, &[0xff; 4]].concat());
            assert_eq!(gather(&[(&first, true), (&second, false)]).0, [PAT], "cut at {at}");
            let pointed = [&[tail.len() as u8], tail, &PAT].concat();
            assert_eq!(gather(&[(&first, true), (&pointed, true)]).0, [PAT, PAT], "cut at {at}, then another");
            assert!(gather(&[(tail, false)]).0.is_empty(), "joined in the middle");
        }
        assert_eq!(gather(&[(&[0, 2, 0xb0, 98, 0], true), (&PAT, false)]), (vec![], 1), "over the limit");
        assert_eq!(gather(&[(&[9, 0], true)]), (vec![], 0), "the pointer passes the end");
    }

    #[test]
    fn descriptors_identify_private_streams() {
        let content = |kind, descriptors: &[u8]| entry(1, kind, descriptors).content;
        assert_eq!(content(0x06, &[0x05, 4, b'O', b'p', b'u', b's', 0x7f, 2, 0x80, 2]), Some(Content::Opus(2)));
        assert_eq!(content(0x06, &[0x05, 4, b'O', b'p', b'u', b's']), None);
        assert_eq!(content(0x06, &[0x6a, 1, 0]), Some(Content::Ac3));
        assert_eq!(content(0x06, &[0x7a, 1, 0]), Some(Content::Eac3));
        assert_eq!(content(0x06, &[0x7a, 9, 0]), None, "cut off");
        assert_eq!(content(0x15, &[0x05, 4, b'K', b'L', b'V', b'A']), None);
        assert_eq!(entry(1, 0x0f, &[0x0a, 4, b'D', b'e', b'u', 0]).language, Language::new(*b"deu"));
        assert_eq!(entry(1, 0x0f, &[0x0a, 4, b'u', b'n', b'd', 0]).language, None);
    }
}
