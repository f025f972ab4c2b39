//! The programme association table and the programme map table (ISO/IEC 13818-1 §2.4.4), of one programme.

use super::super::packet::NULL_PID;
use super::super::psi;
use super::stream::Stream;

/// PID of the programme association table.
pub(super) const ASSOCIATION_PID: u16 = 0;
/// PID of the programme map table.
pub(super) const MAP_PID: u16 = 0x1000;
/// Number of the programme.
pub(super) const PROGRAMME: u16 = 1;
/// Table ids.
const ASSOCIATION: u8 = 0;
const MAP: u8 = 2;

/// Returns the programme association table, which never changes.
pub(super) fn association() -> Vec<u8> {
    let [high, low] = MAP_PID.to_be_bytes();
    let [number_high, number_low] = PROGRAMME.to_be_bytes();
    section(ASSOCIATION, 0, &[number_high, number_low, 0xe0 | high, low])
}

/// Returns the programme map table. `clock_pid` is the PID with the programme clock references, if any.
pub(super) fn map(version: u8, clock_pid: Option<u16>, streams: &[Stream]) -> Vec<u8> {
    let [high, low] = clock_pid.unwrap_or(NULL_PID).to_be_bytes();
    let mut body = vec![0xe0 | high, low];
    put_counted(&mut body, |body| {
        streams.iter().for_each(|stream| stream.put_programme_descriptors(PROGRAMME, body));
    });
    for stream in streams {
        let [high, low] = stream.pid.number.to_be_bytes();
        body.extend([stream.stream_type(), 0xe0 | high, low]);
        put_counted(&mut body, |body| stream.put_descriptors(body));
    }
    section(MAP, version, &body)
}

/// Appends what `put` appends, after its length of 12 bits.
fn put_counted(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend([0, 0]);
    put(out);
    // The number of streams keeps whole sections below 1 021 bytes.
    let length = (out.len() - at - 2) as u16 | 0xf000;
    if let Some(place) = out.get_mut(at..at + 2) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

/// Returns the only section of a table. Both tables have the number 1 after their length: the transport stream's or the
/// programme's.
fn section(table: u8, version: u8, body: &[u8]) -> Vec<u8> {
    // The length counts the five bytes after it, the body and the CRC.
    let length = (5 + body.len() + 4) as u16 | 0xb000;
    let mut bytes = vec![table];
    bytes.extend(length.to_be_bytes());
    bytes.extend(PROGRAMME.to_be_bytes());
    bytes.extend([0xc1 | (version & 0x1f) << 1, 0, 0]);
    bytes.extend_from_slice(body);
    bytes.extend(psi::crc32(&bytes).to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use media::{Language, MetadataKind, Track, TrackId, codec::opus};

    use super::super::super::psi::Content;
    use super::super::packets::Pid;
    use super::super::stream::{Source, TrackStream};
    use super::*;

    #[test]
    fn the_association_is_the_one_of_ffmpeg() {
        assert_eq!(association(), [0, 0xb0, 0x0d, 0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0, 0x2a, 0xb1, 0x04, 0xb2]);
        assert_eq!(psi::first_programme(&association()), Some((PROGRAMME, MAP_PID)));
    }

    #[test]
    fn the_map_is_read_as_written() {
        let mut track =
            Track::new(TrackId(3), media::CodecConfig::Opus(opus::Config::new(6).expect("six channels are usual")));
        track.language = Language::new(*b"fra");
        let sources = [
            Source::Track(Box::new(TrackStream::new(&track).expect("it has a form"))),
            Source::Metadata(MetadataKind::Id3),
            Source::Metadata(MetadataKind::Scte35),
        ];
        let streams: Vec<_> = (0x100..).zip(sources).map(|(pid, source)| Stream::new(Pid::new(pid), source)).collect();
        let section = map(31, Some(0x100), &streams);
        assert!(psi::checked(&section).is_some());
        assert_eq!(section[5], 0xff, "version 31, in force");
        let map = psi::map(&section, PROGRAMME).expect("a map");
        assert_eq!(map.clock_pid, 0x100);
        let found: Vec<_> = map.streams.iter().map(|entry| (entry.pid, entry.content)).collect();
        let expected = [Content::Opus(6), Content::Id3, Content::Scte35].map(Some);
        assert_eq!(found, (0x100..).zip(expected).collect::<Vec<_>>());
        assert_eq!(map.streams[0].language, track.language);
    }
}
