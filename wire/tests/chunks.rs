//! The chunk reader against every form of chunk, at every cut and at every limit.

use proptest::prelude::*;
use wire::rtmp::chunk::{Limits, MessageHeader, RawMessage, Reader, Writer};

const LIMITS: Limits = Limits { message: 1_000, streams: 4, pending: 1_500, block: 0 };

fn read_parts(parts: &[&[u8]]) -> Result<Vec<RawMessage>, String> {
    let mut reader = Reader::new(LIMITS, 0);
    let mut messages = Vec::new();
    for part in parts {
        let mut input = *part;
        while let Some(message) = reader.read(&mut input).map_err(|err| err.to_string())? {
            messages.push(message);
        }
        assert!(input.is_empty() && reader.pending() <= LIMITS.pending);
    }
    Ok(messages)
}

/// Reads `bytes` as a whole and cut at each point, which must give the same.
fn read(bytes: &[u8]) -> Result<Vec<RawMessage>, String> {
    let whole = read_parts(&[bytes]);
    for at in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(at);
        assert_eq!(read_parts(&[head, tail]), whole, "split at {at}");
    }
    assert_eq!(read_parts(&bytes.chunks(1).collect::<Vec<_>>()), whole, "byte by byte");
    whole
}

/// Returns timestamp and payload of each message.
#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn summary(bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
    read(bytes).unwrap().into_iter().map(|m| (m.timestamp, m.payload.to_vec())).collect()
}

#[test]
fn all_four_types_of_chunk() {
    let bytes = [
        &[0x04, 0, 0, 10, 0, 0, 2, 9, 1, 0, 0, 0, b'a', b'b'][..],
        &[0x44, 0, 0, 5, 0, 0, 1, 8, b'c'],
        &[0x84, 0, 0, 7, b'd'],
        &[0xc4, b'e'],
    ]
    .concat();
    let messages = read(&bytes).unwrap();
    let fields: Vec<_> = messages.iter().map(|m| (m.kind, m.stream_id, m.timestamp, m.offset)).collect();
    assert_eq!(fields, [(9, 1, 10, 0), (8, 1, 15, 14), (8, 1, 22, 23), (8, 1, 29, 28)]);
    assert_eq!(messages[0].payload[..], *b"ab");
}

#[test]
fn a_new_message_of_type_3_after_type_0_adds_its_time() {
    // ffmpeg sends a second packet at twice the time of the first like this.
    let bytes = [&[0x04, 0, 0, 23, 0, 0, 1, 8, 1, 0, 0, 0, b'a'][..], &[0xc4, b'b']].concat();
    assert_eq!(summary(&bytes), [(23, b"a".to_vec()), (46, b"b".to_vec())]);
}

#[test]
fn long_chunk_stream_ids() {
    let head = [0, 0, 0, 0, 0, 1, 8, 1, 0, 0, 0];
    let bytes =
        [&[0x00, 5][..], &head, b"a", &[0x01, 5, 1], &head, b"b", &[0xc0, 5], b"c", &[0xc1, 5, 1], b"d"].concat();
    assert_eq!(summary(&bytes).len(), 4);
    let same = [&[0x00, 5][..], &head, b"a", &[0xc1, 5, 0], b"b"].concat();
    assert_eq!(summary(&same).len(), 2, "both forms of id 69 are one chunk stream");
}

fn late(payload: &[u8], repeat: &[u8]) -> Vec<u8> {
    let (first, second) = payload.split_at(128);
    let head = [0x04, 0xff, 0xff, 0xff, 0, 0, payload.len() as u8, 9, 1, 0, 0, 0, 1, 2, 3, 4];
    [&head[..], first, &[0xc4], repeat, second].concat()
}

#[test]
fn extended_timestamps_are_read_whether_type_3_repeats_them_or_not() {
    let payload: Vec<u8> = (0..140).collect();
    let expected = [(0x0102_0304, payload.clone())];
    assert_eq!(summary(&late(&payload, &[1, 2, 3, 4])), expected);
    assert_eq!(summary(&late(&payload, &[])), expected);
}

#[test]
fn a_missing_extended_timestamp_is_recognized_even_if_less_than_four_bytes_are_left() {
    for left in 1..4 {
        let payload: Vec<u8> = (0..128 + left).collect();
        let mut bytes = late(&payload, &[]);
        bytes.extend([0x05, 0, 0, 9, 0, 0, 1, 8, 1, 0, 0, 0, b'x']);
        assert_eq!(summary(&bytes), [(0x0102_0304, payload), (9, b"x".to_vec())], "{left} left");
    }
}

#[test]
fn an_extended_difference_is_added_and_repeated() {
    let head = [0x04, 0, 0, 1, 0, 0, 1, 8, 1, 0, 0, 0, b'a'];
    let delta = [0x84, 0xff, 0xff, 0xff, 1, 0, 0, 0, b'b'];
    let again = [0xc4, 1, 0, 0, 0, b'c'];
    let times: Vec<_> = summary(&[&head[..], &delta, &again].concat()).into_iter().map(|m| m.0).collect();
    assert_eq!(times, [1, 0x0100_0001, 0x0200_0001]);
}

#[test]
fn a_continuation_may_repeat_a_longer_header() {
    let payload: Vec<u8> = (0..130).collect();
    let head = [0x04, 0, 0, 5, 0, 0, 130, 9, 1, 0, 0, 0];
    for again in [&head[..], &[0x44, 0, 0, 0, 0, 0, 130, 9], &[0x84, 0, 0, 0]] {
        let bytes = [&head[..], &payload[..128], again, &payload[128..]].concat();
        assert_eq!(summary(&bytes), [(5, payload.clone())]);
    }
}

#[test]
fn an_unfinished_message_gives_way_to_a_new_one() {
    let bytes = [
        &[0x04, 0, 0, 5, 0, 0, 130, 9, 1, 0, 0, 0][..],
        &[7; 128],
        &[0x04, 0, 0, 6, 0, 0, 2, 9, 1, 0, 0, 0, b'a', b'b'],
    ]
    .concat();
    assert_eq!(summary(&bytes), [(6, b"ab".to_vec())]);
}

#[test]
fn abort_gives_up_a_message() {
    let bytes = [
        &[0x04, 0, 0, 5, 0, 0, 130, 9, 1, 0, 0, 0][..],
        &[7; 128],
        &[0x02, 0, 0, 0, 0, 0, 4, 2, 0, 0, 0, 0, 0, 0, 0, 4],
        &[0xc4],
        &[8; 128],
        &[0xc4, 8, 8],
    ]
    .concat();
    let messages = summary(&bytes);
    assert_eq!((messages.len(), &messages[1].1), (2, &vec![8; 130]));
}

#[test]
fn chunk_sizes_take_effect_at_once_and_have_their_range() {
    let set = |size: [u8; 4]| [&[0x02, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0][..], &size].concat();
    let message = [&[0x04, 0, 0, 5, 0, 0, 3, 9, 1, 0, 0, 0][..], b"a"].concat();
    let cut = [&set([0, 0, 0, 1])[..], &message, &[0xc4, b'b', 0xc4, b'c']].concat();
    assert_eq!(summary(&cut)[1].1, b"abc");
    let large = [&set([0x7f, 0xff, 0xff, 0xff])[..], &message, b"bc"].concat();
    assert_eq!(summary(&large)[1].1, b"abc");
    assert_eq!(read(&set([0, 0, 0, 0])).unwrap_err(), "rtmp byte 0: set chunk size: 0 is out of range");
    assert!(read(&set([0x80, 0, 0, 0])).is_err());
    let short = read(&[0x02, 0, 0, 0, 0, 0, 3, 1, 0, 0, 0, 0, 1, 2, 3]).unwrap_err();
    assert_eq!(short, "rtmp byte 0: protocol control message: ends before the field is complete");
}

#[test]
fn zero_length_messages_are_messages() {
    let bytes = [&[0x04, 0, 0, 5, 0, 0, 0, 20, 0, 0, 0, 0][..], &[0xc4, 0xc4]].concat();
    assert_eq!(summary(&bytes).len(), 3);
}

#[test]
fn message_length_is_capped_at_the_limit() {
    let head = |len: u16| [&[0x04, 0, 0, 0, 0][..], &len.to_be_bytes(), &[9, 1, 0, 0, 0]].concat();
    assert_eq!(read(&head(1_000)), Ok(vec![]));
    let err = read(&head(1_001)).unwrap_err();
    assert_eq!(err, "rtmp byte 0: chunk > message length: 1001 is over the limit of 1000");
}

#[test]
fn bytes_under_assembly_are_capped_at_the_limit() {
    let start = |id: u8, len: u16| [&[id, 0, 0, 0, 0][..], &len.to_be_bytes(), &[9, 1, 0, 0, 0], &[7; 128]].concat();
    assert_eq!(read(&[start(4, 1_000), start(5, 500)].concat()), Ok(vec![]));
    let err = read(&[start(4, 1_000), start(5, 501)].concat()).unwrap_err();
    assert_eq!(err, "rtmp byte 140: chunk > bytes under assembly: 1501 is over the limit of 1500");
}

#[test]
fn chunk_streams_are_capped_at_the_limit() {
    let on = |id: u8| [id, 0, 0, 0, 0, 0, 0, 9, 1, 0, 0, 0];
    assert_eq!(read(&[on(4), on(5), on(6), on(7)].concat()).unwrap().len(), 4);
    let err = read(&[on(4), on(5), on(6), on(7), on(8)].concat()).unwrap_err();
    assert_eq!(err, "rtmp byte 48: chunk > chunk streams: 5 is over the limit of 4");
}

#[test]
fn a_chunk_stream_cannot_begin_with_a_relative_header() {
    assert!(read(&[0xc4]).is_err() && read(&[0x84, 0, 0, 0]).is_err());
    // A type 1 header lacks only the message stream.
    let messages = read(&[0x42, 0, 0, 9, 0, 0, 4, 3, 0, 0, 0, 1]).unwrap();
    assert_eq!((messages[0].stream_id, messages[0].timestamp), (0, 9));
}

#[test]
fn a_payload_has_an_allocation_of_its_own_length() {
    let bytes = [&[0x04, 0, 0, 5, 0, 0, 3, 9, 1, 0, 0, 0][..], b"abc"].concat();
    let mut reader = Reader::new(LIMITS, 0);
    let message = reader.read(&mut &bytes[..]).unwrap().unwrap();
    let vec = Vec::from(message.payload);
    assert_eq!((vec.len(), vec.capacity()), (3, 3));
}

proptest! {
    #[test]
    fn written_messages_are_read_again(
        messages in prop::collection::vec(
            (2u8..6, 3u8..30, any::<u32>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..400)), 0..8),
        size in 1usize..300,
        cut in any::<prop::sample::Index>(),
    ) {
        let (kind, set) = wire::rtmp::message::Message::SetChunkSize(size as u32).encode();
        let mut writer = Writer::default();
        let mut bytes = Vec::new();
        writer.write(&mut bytes, MessageHeader { chunk_stream: 2, kind, stream_id: 0, timestamp: 0 }, &set);
        writer.set_chunk_size(size);
        for &(chunk_stream, kind, stream_id, timestamp, ref payload) in &messages {
            writer.write(&mut bytes, MessageHeader { chunk_stream, kind, stream_id, timestamp }, payload);
        }
        let (head, tail) = bytes.split_at(cut.index(bytes.len()));
        let read = read_parts(&[head, tail]).unwrap();
        prop_assert_eq!(read.len(), messages.len() + 1);
        for (got, (_, kind, stream_id, timestamp, payload)) in read[1..].iter().zip(&messages) {
            prop_assert_eq!((got.kind, got.stream_id, got.timestamp), (*kind, *stream_id, *timestamp));
            prop_assert_eq!(&got.payload[..], &payload[..]);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused_alike_at_every_cut(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = read(&bytes);
    }
}
