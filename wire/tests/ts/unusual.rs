//! Streams that are unsupported, exceed a limit, or have wrong lengths.

use super::*;

/// MPEG-2 video and MP2, as from a DVB encoder.
const OLD: [Entry<'static>; 2] = [(0x02, VIDEO, &[]), (0x03, SOUND, &[])];

#[test]
fn unsupported_streams_are_reported_once() {
    let mut writer = Writer::default();
    let registered = [0x05, 4, b'B', b'S', b'S', b'D'];
    let entries = [AVC, ENGLISH, OLD[1], (0x24, 0x104, &[][..]), (0x06, 0x105, &registered)];
    (0..3).for_each(|version| writer.tables(version, &entries));
    let mut demuxer = Demuxer::new(Limits::default());
    demuxer.push(&writer.bytes, &mut Vec::new()).unwrap();
    demuxer.finish(&mut Vec::new());
    let reported = reports(&mut demuxer);
    let codecs = "this codec is not carried; video may be H.264 or HEVC, audio AAC, AC-3, E-AC-3 or Opus";
    let expected = [
        format!("the stream with PID 257 (MPEG-1 audio, as MP2 or MP3) is left out: {codecs}"),
        "the stream with PID 260 (HEVC) is left out: a live stream has one video track, and another one came first"
            .into(),
        format!("the stream with PID 261 (SMPTE 302M audio) is left out: {codecs}"),
    ];
    assert_eq!(reported, expected);
    for pid in 0x200..0x300 {
        writer.tables(pid as u8, &[(0x02, pid, &[])]);
    }
    demuxer.push(&writer.bytes, &mut Vec::new()).unwrap();
    assert!(reports(&mut demuxer).len() < 32, "it has an end");
}

#[test]
fn the_reason_for_no_frames_is_named() {
    let reason = |fill: &dyn Fn(&mut Writer)| {
        let (mut writer, mut demuxer) = (Writer::default(), Demuxer::new(Limits::default()));
        fill(&mut writer);
        demuxer.push(&writer.bytes, &mut Vec::new()).unwrap();
        demuxer.no_frames_reason()
    };
    assert_eq!(reason(&|_| {}), NoFramesReason::NoPackets);
    let nulls = |writer: &mut Writer| (0..9).for_each(|_| writer.packet(0x1fff, false, &[0; 184]));
    assert_eq!(reason(&nulls), NoFramesReason::NoProgramme);
    let tables =
        |entries: &'static [Entry<'static>]| move |writer: &mut Writer| (0..9).for_each(|_| writer.tables(0, entries));
    assert_eq!(reason(&tables(&[])), NoFramesReason::NoStreams);
    assert!(matches!(reason(&tables(&OLD)), NoFramesReason::NotCarried(unsupported) if unsupported.pid == VIDEO));
    assert_eq!(reason(&tables(&[(0x15, OTHER, &[])])), NoFramesReason::NoStreams, "metadata alone");
    assert_eq!(reason(&tables(&[AVC])), NoFramesReason::NoFrames);
    let headless = |writer: &mut Writer| {
        writer.tables(0, &[AVC]);
        (0..9).for_each(|n| writer.pes(VIDEO, false, Some((n, n)), &unit(&[&slice(0x65, 9, 250)])));
    };
    assert_eq!(reason(&headless), NoFramesReason::NoParameterSets);
}

#[test]
fn limits_hold() {
    let mut writer = Writer::default();
    writer.tables(0, &[AVC, ENGLISH, GERMAN, (0x0f, 0x103, &[]), (0x24, 0x104, &[])]);
    writer.pes(VIDEO, false, Some((0, 0)), &access_unit(0, 997));
    writer.pes(VIDEO, false, Some((0, 0)), &access_unit(1, 996));
    writer.pes(VIDEO, false, Some((0, 0)), &access_unit(2, 2_000));
    let run = |limits| {
        let (mut demuxer, mut items) = (Demuxer::new(limits), Vec::new());
        demuxer.push(&writer.bytes, &mut items).unwrap();
        demuxer.finish(&mut items);
        (frames(&items, VIDEO_TRACK).len(), *demuxer.stats())
    };
    let limits = Limits { unit: 1_001, tracks: 3, ..Limits::default() };
    let (count, stats) = run(limits);
    assert_eq!((count, stats.dropped, stats.unknown_streams), (2, 1, 2), "a third audio and a second video stream");
    let (count, stats) = run(Limits { unit: 1_000, ..Limits::default() });
    assert_eq!((count, stats.dropped), (1, 2), "the parameter sets of the first are kept");
    assert_eq!(run(Limits { pes: 1_500, ..Limits::default() }).1.dropped, 1);
    assert_eq!(run(Limits { pids: 3, ..Limits::default() }).1.unknown_streams, 4);
    let mut demuxer = Demuxer::new(Limits { unsynced: 5_000, ..Limits::default() });
    let mut items = Vec::new();
    let refused = (0..100).find(|_| demuxer.push(&[0x55; 100], &mut items).is_err());
    assert_eq!(refused, Some(58));
}

/// Returns a stream in which the lengths of all PES packets of video and audio are off by `by`.
fn with_lengths_off(by: i16) -> Writer {
    let mut writer = Writer::default();
    writer.tables(0, &[AVC, ENGLISH]);
    for n in 0..10u8 {
        let dts = u64::from(n) * 3_600;
        for (pid, payload) in [(VIDEO, access_unit(n, 600)), (SOUND, [adts(n, 150), adts(n, 90)].concat())] {
            let mut packet = writer::pes(true, Some((dts, dts)), &payload);
            let length = u16::from_be_bytes([packet[4], packet[5]]).saturating_add_signed(by);
            packet[4..6].copy_from_slice(&length.to_be_bytes());
            writer.payload(pid, &packet);
        }
    }
    writer
}

#[test]
fn a_wrong_length_of_pes_packets_costs_nothing() {
    let (right, _) = run(&[&with_lengths_off(0).bytes]);
    for by in [-2_000, -200, -100, -3, -1, 1, 3, 100, 2_000] {
        let writer = with_lengths_off(by);
        let (items, stats) = run(&[&writer.bytes]);
        assert_eq!((items == right, stats.dropped), (true, 0), "{by}");
        let mut demuxer = Demuxer::new(Limits::default());
        demuxer.push(&writer.bytes, &mut Vec::new()).unwrap();
        // A length of 0 means unknown.
        let expected = if by == -2_000 { vec![] } else { vec!["PES_packet_length"] };
        assert_eq!(reports(&mut demuxer), expected, "{by}");
    }
}

#[test]
fn audio_whose_channels_are_in_a_program_config_element() {
    // 5.1: front centre and pair, a pair at the back, low frequencies; a comment of one byte.
    let usual = [0xa0, 0x99, 0x00, 0xa0, 0x00, 0x21, 0x10, 1, b'x'];
    let frame = |element: &[u8], fill: u8| {
        let mut frame = adts(fill, element.len() + 100);
        // No channel configuration.
        (frame[2], frame[3]) = (frame[2] & 0xfe, frame[3] & 0x3f);
        frame[7..7 + element.len()].copy_from_slice(element);
        frame
    };
    let stream = |elements: [&[u8]; 2]| {
        let mut writer = Writer::default();
        writer.tables(0, &[AVC, ENGLISH]);
        for n in 0..40u8 {
            let dts = u64::from(n) * 3_840;
            writer.pes(VIDEO, false, Some((dts, dts)), &access_unit(n, 600));
            writer.pes(SOUND, true, Some((dts, dts)), &elements.map(|element| frame(element, n)).concat());
        }
        let (mut demuxer, mut items) = (Demuxer::new(Limits::default()), Vec::new());
        demuxer.push(&writer.bytes, &mut items).unwrap();
        demuxer.finish(&mut items);
        (items, reports(&mut demuxer))
    };
    // A frame without the element is decoded with that of the previous one.
    let (items, reported) = stream([&usual, &[]]);
    let audio = frames(&items, FIRST_AUDIO_TRACK);
    assert_eq!((audio.len(), frames(&items, VIDEO_TRACK).len(), reported), (80, 40, vec![]));
    assert!(audio.iter().all(|frame| frame.payload.len() == 100), "the element is taken out");
    let channels = items.iter().find_map(|item| match item {
        Item::Track(track) => track.codec.channels(),
        _ => None,
    });
    assert_eq!(channels, Some(6));
    // Two pairs, which no channel configuration has.
    let quadraphonic = [0xa0, 0x98, 0x80, 0x80, 0x04, 0x22, 0];
    let (items, reported) = stream([&quadraphonic, &quadraphonic]);
    assert_eq!((frames(&items, FIRST_AUDIO_TRACK).len(), frames(&items, VIDEO_TRACK).len()), (0, 40));
    let reason = "audio is left out: program_config_element > channels: 4 is not supported";
    assert_eq!(reported, [reason], "no frame of it is called damaged");
}
