//! Tests of `tag`.

use super::*;

/// Returns the packets of a body, and the result.
fn packets(kind: Kind, bytes: &[u8]) -> (Vec<Packet>, Result<(), Error>) {
    let mut packets = Vec::new();
    let result = read(kind, &Bytes::copy_from_slice(bytes), |packet| packets.push(packet));
    (packets, result)
}

/// Returns the only packet of a body.
fn one(kind: Kind, bytes: &[u8]) -> Packet {
    let (mut packets, result) = packets(kind, bytes);
    assert_eq!((result, packets.len()), (Ok(()), 1), "{bytes:02x?}");
    packets.remove(0)
}

fn error(kind: Kind, bytes: &[u8]) -> String {
    packets(kind, bytes).1.unwrap_err().to_string()
}

fn frame(composition_ms: i32, payload: &'static [u8]) -> Body {
    Body::Frame { composition_ms, payload: Bytes::from_static(payload) }
}

fn header(payload: &'static [u8]) -> Body {
    Body::Header(Bytes::from_static(payload))
}

#[test]
fn composition_time_is_signed() {
    let cts = |bytes: [u8; 3]| match one(Kind::Video, &[&[0x27, 1], &bytes[..], &[0xaa]].concat()).body {
        Body::Frame { composition_ms, payload } if payload[..] == [0xaa] => composition_ms,
        other => panic!("{other:?}"),
    };
    assert_eq!([cts([0, 0, 80]), cts([0xff, 0xff, 0xd8]), cts([0x80, 0, 0])], [80, -40, -8_388_608]);
    assert_eq!(one(Kind::Video, b"\xa1hvc1\xff\xff\xd8\xaa").body, frame(-40, &[0xaa]));
}

#[test]
fn a_payload_is_a_slice_of_the_message() {
    let legacy = Bytes::from_static(&[0x17, 1, 0, 0, 0, 1, 2, 3]);
    let tracks = Bytes::from_static(b"\x96\x21av01\x00\x00\x00\x01\x0ahvc1\x01\x00\x00\x05\x00\x00\x28\x0b\x0c");
    for (body, places) in [(legacy, vec![5]), (tracks, vec![10, 22])] {
        let mut found = Vec::new();
        read(Kind::Video, &body, |packet| {
            let Body::Frame { payload, .. } = packet.body else { panic!("a frame") };
            found.push(payload.as_ptr() as usize - body.as_ptr() as usize);
        })
        .unwrap();
        assert_eq!(found, places);
    }
}

#[test]
fn legacy_codecs_are_recognized() {
    let read_packets = |kind, bytes: &[u8]| (one(kind, bytes).codec, one(kind, bytes).body);
    assert_eq!(read_packets(Kind::Video, &[0x17, 0, 0, 0, 0, 9]), (Codec::Avc, header(&[9])));
    assert_eq!(read_packets(Kind::Video, &[0x1c, 0, 0, 0, 0, 9]), (Codec::Hevc, header(&[9])));
    assert_eq!(read_packets(Kind::Video, &[0x2c, 1, 0, 0, 40, 9]), (Codec::Hevc, frame(40, &[9])));
    assert_eq!(read_packets(Kind::Video, &[0x12, 7]), (Codec::VideoId(2), frame(0, &[7])));
    assert_eq!(read_packets(Kind::Audio, &[0xaf, 0, 0x11, 0x90]), (Codec::Aac, header(&[0x11, 0x90])));
    assert_eq!(read_packets(Kind::Audio, &[0xaf, 1]), (Codec::Aac, frame(0, &[])));
    assert_eq!(read_packets(Kind::Audio, &[0x2f, 7]), (Codec::SoundFormat(2), frame(0, &[7])));
}

#[test]
fn each_four_cc_is_recognized() {
    let codec = |kind, four_cc: &[u8; 4]| one(kind, &[&[0x90], &four_cc[..], &[1]].concat()).codec;
    let carried = [
        (b"avc1", Codec::Avc),
        (b"hvc1", Codec::Hevc),
        (b"hev1", Codec::Hevc),
        (b"av01", Codec::Av1),
        (b"vp09", Codec::Vp9),
    ];
    for (four_cc, expected) in carried {
        assert_eq!(codec(Kind::Video, four_cc), expected);
        assert_eq!(codec(Kind::Audio, four_cc), Codec::FourCc(*four_cc), "not audio");
    }
    let carried = [
        (b"mp4a", Codec::Aac),
        (b"Opus", Codec::Opus),
        (b"opus", Codec::Opus),
        (b"ac-3", Codec::Ac3),
        (b"ec-3", Codec::Eac3),
        (b"fLaC", Codec::Flac),
    ];
    for (four_cc, expected) in carried {
        assert_eq!(codec(Kind::Audio, four_cc), expected);
    }
    let names = [*b"vp08", *b"vvc1", *b"\x00x\xffz"].map(|four_cc| codec(Kind::Video, &four_cc).to_string());
    assert_eq!(names, ["VP8", "VVC", "FourCC \\x00x\\xffz"]);
}

#[test]
fn codecs_that_reorder_have_a_composition_time() {
    assert_eq!(one(Kind::Video, b"\xa3hvc1\x09").body, frame(0, &[9]), "CodedFramesX");
    assert_eq!(one(Kind::Video, b"\xa1avc1\x00\x00\x28\x09").body, frame(40, &[9]));
    assert_eq!(one(Kind::Video, b"\xa1av01\x00\x00\x28\x09").body, frame(0, &[0, 0, 40, 9]));
    assert_eq!(one(Kind::Video, b"\xa1vp09\x09").body, frame(0, &[9]));
    assert_eq!(one(Kind::Video, b"\xa1vvc1\x00\x00\x28\x09").body, frame(40, &[9]));
    assert_eq!(one(Kind::Audio, b"\x91Opus\xfc").body, frame(0, &[0xfc]));
    assert_eq!(one(Kind::Video, b"\x95av01\x80").body, Body::TransportHeader);
}

#[test]
fn bodies_without_media_yield_nothing() {
    let silent: [(Kind, &[u8]); 10] = [
        (Kind::Video, &[]),
        (Kind::Audio, &[]),
        (Kind::Video, &[0x57, 0]),
        (Kind::Video, &[0x17, 2]),
        (Kind::Video, &[0x17, 2, 0, 0, 0]),
        // A command of Enhanced RTMP has no FourCC; metadata has one whatever its frame type.
        (Kind::Video, &[0xd1, 0]),
        (Kind::Video, b"\xd4hvc1\x02\x00\x09colorInfo\x03\x00\x00\x09"),
        (Kind::Video, b"\x92hvc1"),
        (Kind::Audio, b"\x92Opus"),
        (Kind::Audio, b"\x94Opus\x01\x02\x00\x00\x00\x03"),
    ];
    for (kind, bytes) in silent {
        assert_eq!(packets(kind, bytes), (vec![], Ok(())), "{bytes:02x?}");
    }
}

#[test]
fn one_track_of_many_messages() {
    let packet = one(Kind::Audio, b"\x95\x01mp4a\x03\x21\x22");
    assert_eq!((packet.track, packet.codec, packet.body), (3, Codec::Aac, frame(0, &[0x21, 0x22])));
    let packet = one(Kind::Video, b"\x96\x01hvc1\x02\x00\x00\x28\x09");
    assert_eq!((packet.track, packet.codec, packet.body), (2, Codec::Hevc, frame(40, &[9])));
}

#[test]
fn many_tracks_in_a_message() {
    let read_packets = |bytes: &[u8]| {
        let (packets, result) = packets(Kind::Audio, bytes);
        assert_eq!(result, Ok(()));
        packets.into_iter().map(|packet| (packet.track, packet.codec, packet.body)).collect::<Vec<_>>()
    };
    let same = read_packets(b"\x95\x11Opus\x00\x00\x00\x02\xfc\xfd\x01\x00\x00\x01\xfe");
    assert_eq!(same, [(0, Codec::Opus, frame(0, &[0xfc, 0xfd])), (1, Codec::Opus, frame(0, &[0xfe]))]);
    let mixed = read_packets(b"\x95\x20Opus\x00\x00\x00\x01\xfcmp4a\x01\x00\x00\x02\x11\x90");
    assert_eq!(mixed, [(0, Codec::Opus, header(&[0xfc])), (1, Codec::Aac, header(&[0x11, 0x90]))]);
}

#[test]
fn a_message_has_a_limit_of_tracks() {
    let with = |count: usize| [&b"\x95\x11Opus"[..], &[7, 0, 0, 1, 0xfc].repeat(count)].concat();
    assert_eq!(packets(Kind::Audio, &with(MAX_TRACKS)).1, Ok(()));
    let (packets, result) = packets(Kind::Audio, &with(MAX_TRACKS + 1));
    assert_eq!(packets.len(), MAX_TRACKS);
    assert!(matches!(result, Err(Error::Limit { limit: 32, .. })));
}

#[test]
fn mod_ex_moves_the_time_and_unknown_types_are_skipped() {
    // 500 000 ns, then a type that is not defined yet with 256 bytes, then the frame.
    let mut bytes = vec![0x97, 2, 0x07, 0xa1, 0x20, 0x07, 0xff, 0, 255];
    bytes.extend([0; 256]);
    bytes.extend(b"\x51Opus\xfc");
    let packet = one(Kind::Audio, &bytes);
    assert_eq!((packet.nanos, packet.body), (500_000, frame(0, &[0xfc])));
    let packet = one(Kind::Video, b"\xa7\x03\xff\xff\xff\xff\x03hvc1\x09");
    assert_eq!((packet.nanos, packet.body), (999_999, frame(0, &[9])), "stays below a millisecond");
    let packet = one(Kind::Audio, b"\x97\x02\x00\x00\x01\x05\x01Opus\x01\xfc");
    assert_eq!((packet.nanos, packet.track), (1, 1), "a multitrack message after it");
    let short = "flv byte 4: audio > ModEx > nanosecond offset: ends before the field is complete";
    assert_eq!(error(Kind::Audio, b"\x97\x01\x00\x00\x01Opus"), short.replace("byte 4", "byte 5"));
}

#[test]
fn errors_name_their_place() {
    let cases: [(Kind, &[u8], &str); 9] = [
        (Kind::Video, &[0x17, 1, 0, 0], "flv byte 2: video > composition time: ends before the field is complete"),
        (Kind::Video, &[0x17, 3, 0, 0, 0], "flv byte 1: video > AVCPacketType: 3 is out of range"),
        (Kind::Audio, &[0xaf], "flv byte 1: audio > AACPacketType: ends before the field is complete"),
        (Kind::Audio, &[0xaf, 9], "flv byte 1: audio > AACPacketType: 9 is out of range"),
        (Kind::Audio, b"\x96Opus", "flv byte 0: audio > packet type: 6 is out of range"),
        (Kind::Video, b"\x90hvc", "flv byte 1: video > FourCC: ends before the field is complete"),
        (Kind::Video, b"\x96\x06hvc1", "flv byte 1: video > multitrack type: 6 is out of range"),
        (Kind::Video, b"\x96\x30hvc1", "flv byte 1: video > multitrack type: 48 is out of range"),
        (
            Kind::Audio,
            b"\x95\x11Opus\x00\x00\x00\x02\xfc",
            "flv byte 10: audio > track: ends before the field is complete",
        ),
    ];
    for (kind, bytes, expected) in cases {
        assert_eq!(error(kind, bytes), expected);
    }
    // Packets before the error are valid, and a track's size includes its composition time.
    let (before, result) =
        packets(Kind::Video, b"\x96\x11hvc1\x00\x00\x00\x04\x00\x00\x28\x09\x01\x00\x00\x02\x00\x00");
    assert_eq!((before.len(), result.is_err()), (1, true));
}

#[test]
fn every_cut_gives_no_more_than_a_beginning() {
    let bodies: [(Kind, &[u8]); 6] = [
        (Kind::Video, &[0x17, 1, 0, 0, 40, 0x65]),
        (Kind::Audio, &[0xaf, 1, 0x21]),
        (Kind::Video, b"\xa1hvc1\x00\x00\x28\x09"),
        (Kind::Audio, b"\x95\x20Opus\x00\x00\x00\x01\xfcmp4a\x01\x00\x00\x02\x11\x90"),
        (Kind::Video, b"\x96\x11hvc1\x00\x00\x00\x04\x00\x00\x28\x09\x01\x00\x00\x04\x00\x00\x28\x09"),
        (Kind::Audio, b"\x97\x02\x00\x00\x01\x05\x01Opus\x01\xfc"),
    ];
    for (kind, bytes) in bodies {
        let (whole, result) = packets(kind, bytes);
        assert_eq!(result, Ok(()));
        for end in 1..bytes.len() {
            let (cut, result) = packets(kind, &bytes[..end]);
            assert!(result.is_err() || !cut.is_empty(), "{bytes:02x?} cut at {end}: not a word of it");
            // Only the payload at the cut may be shorter. Sizes, if there are any, reveal the cut.
            if let [before @ .., last] = &cut[..] {
                assert_eq!(before, &whole[..before.len()]);
                let twin = &whole[before.len()];
                assert_eq!((last.track, last.codec, last.nanos), (twin.track, twin.codec, twin.nanos));
            }
        }
    }
}
