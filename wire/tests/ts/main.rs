//! The demuxer with transport streams that are whole, cut, damaged and unusual.
#![allow(clippy::unwrap_used, reason = "tests")]

mod unusual;
mod writer;

use media::{Access, CodecConfig, Frame, MetadataKind, Timescale, TrackId};
use wire::Item;
use wire::ts::{Demuxer, FIRST_AUDIO_TRACK, Limits, NoFramesReason, Stats, VIDEO_TRACK};
use writer::{Entry, Writer};

const VIDEO: u16 = 0x100;
const SOUND: u16 = 0x101;
const OTHER: u16 = 0x102;
const AVC: Entry<'static> = (0x1b, VIDEO, &[]);
const ENGLISH: Entry<'static> = (0x0f, SOUND, &[0x0a, 4, b'e', b'n', b'g', 0]);
const GERMAN: Entry<'static> = (0x0f, OTHER, &[0x0a, 4, b'd', b'e', b'u', 0]);
const WRAP: u64 = 1 << 33;

// x264, 1280x720 and 640x360, High profile.
const SPS: &[u8] = &[
    0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00,
    0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19,
];
const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb];
const OTHER_PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

/// Returns an access unit in Annex B, with a delimiter in front.
fn unit(nals: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 1, 0x09, 0xf0];
    nals.iter().for_each(|nal| bytes.extend([&[0, 0, 1], *nal].concat()));
    bytes
}

/// Returns a slice of `len` bytes that begins a frame, filled with `fill`.
fn slice(kind: u8, fill: u8, len: usize) -> Vec<u8> {
    let mut nal = vec![kind, 0x88];
    nal.resize(len, fill | 0x80);
    nal
}

fn access_unit(n: u8, len: usize) -> Vec<u8> {
    if n == 0 { unit(&[SPS, PPS, &slice(0x65, n, len)]) } else { unit(&[&slice(0x41, n, len)]) }
}

/// Returns an ADTS frame, AAC-LC, 48 kHz, stereo.
fn adts(fill: u8, len: usize) -> Vec<u8> {
    let size = len + 7;
    let mut frame =
        vec![0xff, 0xf1, 0x4c, 0x80 | (size >> 11) as u8, (size >> 3) as u8, (size << 5) as u8 | 0x1f, 0xfc];
    frame.resize(size, fill);
    frame
}

fn run(parts: &[&[u8]]) -> (Vec<Item>, Stats) {
    let (mut demuxer, mut items) = (Demuxer::new(Limits::default()), Vec::new());
    parts.iter().for_each(|part| demuxer.push(part, &mut items).unwrap());
    demuxer.finish(&mut items);
    (items, *demuxer.stats())
}

fn frames(items: &[Item], track: TrackId) -> Vec<&Frame> {
    items
        .iter()
        .filter_map(|item| if let Item::Frame(f) = item { Some(f) } else { None })
        .filter(|f| f.track == track)
        .collect()
}

/// Returns the details of the reported faults.
fn reports(demuxer: &mut Demuxer) -> Vec<String> {
    let mut items = Vec::new();
    demuxer.report(&mut items);
    let detail = |item| if let Item::Fault(report) = item { report.detail.map(String::from) } else { None };
    items.into_iter().filter_map(detail).collect()
}

/// Returns each track as (number, language, codec).
fn tracks(items: &[Item]) -> Vec<(u32, String, String)> {
    let tracks = items.iter().filter_map(|item| if let Item::Track(track) = item { Some(track) } else { None });
    tracks
        .map(|t| (t.id.0, t.language.map_or(String::new(), |l| l.as_str().to_owned()), t.codec.codec_string()))
        .collect()
}

fn ticks(frame: &Frame) -> (i64, i64) {
    (Timescale::NINETY_KHZ.ticks(frame.pts), Timescale::NINETY_KHZ.ticks(frame.dts))
}

/// Returns ten frames of about four packets each, with audio in two languages between them.
fn programme(base: u64) -> Writer {
    let mut writer = Writer::default();
    writer.tables(0, &[AVC, ENGLISH, GERMAN]);
    for n in 0..10u8 {
        let dts = base + u64::from(n) * 3_600;
        writer.pes(VIDEO, false, Some(((dts + 7_200) % WRAP, dts % WRAP)), &access_unit(n, 600));
        let audio = [adts(n, 150), adts(n, 90)].concat();
        writer.pes(SOUND, true, Some((dts % WRAP, dts % WRAP)), &audio);
        writer.pes(OTHER, true, Some((dts % WRAP, dts % WRAP)), &audio);
    }
    writer
}

#[test]
fn a_programme_is_taken_apart() {
    let (items, stats) = run(&[&programme(90_000).bytes]);
    let named = [(1, ""), (2, "eng"), (3, "deu")].map(|(id, language)| (id, language.to_owned()));
    let mut found: Vec<_> = tracks(&items).into_iter().map(|(id, language, _)| (id, language)).collect();
    found.sort();
    assert_eq!(found, named);
    let video = frames(&items, VIDEO_TRACK);
    assert_eq!(video.len(), 10);
    assert_eq!(video[0].payload, [&[0, 0, 2, 0x58][..], &slice(0x65, 0, 600)].concat());
    assert_eq!((video[0].access, video[1].access), (Access::Independent, Access::Dependent));
    assert_eq!((ticks(video[0]), ticks(video[9])), ((97_200, 90_000), (129_600, 122_400)));
    let audio = frames(&items, FIRST_AUDIO_TRACK);
    assert_eq!((audio.len(), audio[0].payload.len(), audio[1].payload.len()), (20, 150, 90));
    assert_eq!((ticks(audio[0]).0, ticks(audio[1]).0), (90_000, 91_920));
    let lost = (stats.continuity_errors, stats.dropped, stats.early, stats.unknown_packets, stats.resyncs);
    assert_eq!(lost, (0, 0, 0, 0, 0));
}

#[test]
fn any_cut_gives_the_same() {
    let bytes = programme(0).bytes;
    let whole = run(&[&bytes]);
    for at in (0..bytes.len()).filter(|at| *at < 1_500 || at % 61 == 0) {
        assert_eq!(run(&[&bytes[..at], &bytes[at..]]), whole, "cut at {at}");
    }
    assert_eq!(run(&bytes.chunks(1).collect::<Vec<_>>()), whole, "byte by byte");
}

#[test]
fn every_packet_size_is_found() {
    let plain = programme(0).bytes;
    let whole = run(&[&plain]).0;
    for (lead, trail) in [(4, 0), (0, 16)] {
        let bytes: Vec<u8> =
            plain.chunks(188).flat_map(|packet| [&vec![0x5a; lead], packet, &vec![0xa5; trail]].concat()).collect();
        let mut demuxer = Demuxer::new(Limits::default());
        let mut items = Vec::new();
        bytes.chunks(1_000).for_each(|part| demuxer.push(part, &mut items).unwrap());
        demuxer.finish(&mut items);
        assert_eq!(demuxer.packet_size(), Some(188 + lead + trail));
        assert_eq!(items, whole);
    }
}

#[test]
fn a_lost_packet_costs_its_frame_and_no_frame_is_ever_wrong() {
    let bytes = programme(0).bytes;
    let packets: Vec<&[u8]> = bytes.chunks(188).collect();
    let frames = |bytes: &[u8]| {
        let (items, stats) = run(&[bytes]);
        (items.into_iter().filter(|item| matches!(item, Item::Frame(_))).collect::<Vec<_>>(), stats)
    };
    let whole = frames(&bytes).0;
    // After the tables, which are sent only once here.
    for missing in 2..packets.len() {
        let (before, after) = (packets[..missing].concat(), packets[missing + 1..].concat());
        let (left, stats) = frames(&[before, after].concat());
        assert!(left.iter().all(|frame| whole.contains(frame)), "packet {missing}: a frame that never was");
        let same = |packet: &&[u8]| packet[2] == packets[missing][2];
        let alone = !packets[2..missing].iter().any(same) || !packets[missing + 1..].iter().any(same);
        assert_eq!(stats.continuity_errors, u64::from(!alone), "packet {missing}");
        // The first frame has the parameter sets of all.
        assert!(missing < 6 || left.len() + 4 >= whole.len(), "packet {missing}: {} of {}", left.len(), whole.len());
    }
}

#[test]
fn packets_that_come_twice_and_null_packets_change_nothing() {
    let bytes = programme(0).bytes;
    let mut null = vec![0x47, 0x1f, 0xff, 0x10];
    null.resize(188, 0xff);
    let twice: Vec<u8> = bytes.chunks(188).flat_map(|packet| [packet, packet, &null].concat()).collect();
    let (items, stats) = run(&[&twice]);
    assert_eq!(items, run(&[&bytes]).0);
    assert_eq!((stats.duplicates, stats.null_packets), (bytes.len() as u64 / 188, bytes.len() as u64 / 188));
    assert_eq!(stats.continuity_errors, 0);
}

#[test]
fn an_unknown_pid_and_a_wrong_crc_in_mid_stream_change_nothing() {
    let bytes = programme(0).bytes;
    let mut stranger = Writer::default();
    stranger.payload(0x777, &[0x47; 1_000]);
    let mut broken = Writer::default();
    broken.tables(3, &[(0x24, VIDEO, &[])]);
    broken.bytes.drain(..188);
    // The counter continues from the previous map.
    broken.bytes[3] = broken.bytes[3] & 0xf0 | 1;
    broken.bytes[187] ^= 1;
    let mixed = [&bytes[..188 * 20], &stranger.bytes, &broken.bytes, &bytes[188 * 20..]].concat();
    let (items, stats) = run(&[&mixed]);
    assert_eq!(items, run(&[&bytes]).0);
    assert_eq!((stats.bad_crc, stats.unknown_packets), (1, 6));
}

#[test]
fn times_go_on_where_33_bits_end() {
    let (items, _) = run(&[&programme(WRAP - 12_000).bytes]);
    for track in [VIDEO_TRACK, FIRST_AUDIO_TRACK] {
        let times: Vec<i64> = frames(&items, track).iter().map(|frame| ticks(frame).1).collect();
        assert!(times.windows(2).all(|pair| (1..=3_600).contains(&(pair[1] - pair[0]))), "{times:?}");
        assert!(*times.last().unwrap() > WRAP as i64);
    }
}

#[test]
fn a_map_that_changes_changes_the_tracks() {
    let mut writer = Writer::default();
    writer.tables(0, &[AVC, ENGLISH]);
    writer.pes(VIDEO, false, Some((0, 0)), &access_unit(0, 300));
    writer.pes(SOUND, true, Some((0, 0)), &[adts(1, 50), adts(1, 50)].concat());
    writer.tables(1, &[AVC, GERMAN, (0x0f, SOUND, &[0x0a, 4, b'f', b'r', b'a', 0])]);
    writer.pes(VIDEO, false, Some((3_600, 3_600)), &access_unit(1, 300));
    writer.pes(SOUND, true, Some((3_600, 3_600)), &adts(2, 50));
    writer.pes(OTHER, true, Some((3_600, 3_600)), &[adts(3, 50), adts(3, 50)].concat());
    // The first audio track ends, and another one gets its number.
    writer.tables(2, &[AVC, (0x0f, 0x200, &[]), GERMAN]);
    writer.pes(0x200, true, Some((7_200, 7_200)), &[adts(4, 50), adts(4, 50)].concat());
    writer.pes(OTHER, true, Some((7_200, 7_200)), &adts(5, 50));
    writer.pes(VIDEO, false, Some((7_200, 7_200)), &access_unit(2, 300));
    let (items, stats) = run(&[&writer.bytes]);
    let languages: Vec<_> = tracks(&items).into_iter().filter(|t| t.0 > 1).map(|t| (t.0, t.1)).collect();
    assert_eq!(languages, [(2, "eng"), (2, "fra"), (3, "deu"), (2, "")].map(|(id, l)| (id, l.to_owned())));
    let count = [1, 2, 3].map(|id| frames(&items, TrackId(id)).len());
    assert_eq!((count, stats.dropped, stats.continuity_errors), ([3, 5, 3], 0, 0));
}

#[test]
fn parameter_sets_make_a_track_only_where_they_change() {
    let mut writer = Writer::default();
    writer.tables(0, &[AVC]);
    writer.pes(VIDEO, false, Some((0, 0)), &unit(&[&slice(0x41, 9, 50)]));
    writer.pes(VIDEO, false, Some((3_600, 3_600)), &access_unit(0, 300));
    writer.pes(VIDEO, false, Some((7_200, 7_200)), &access_unit(0, 300));
    writer.pes(VIDEO, false, Some((10_800, 10_800)), &unit(&[SPS, OTHER_PPS, &[6, 4, 1, 0x80], &slice(0x65, 3, 300)]));
    let (mut items, stats) = run(&[&writer.bytes]);
    // At the map, and at the access unit without its parameter sets.
    let expected = items.extract_if(.., |item| *item == Item::VideoExpected).count();
    assert_eq!(expected, 2);
    let order: Vec<bool> = items.iter().map(|item| matches!(item, Item::Track(_))).collect();
    assert_eq!(order, [true, false, false, true, false]);
    assert_eq!((stats.early, stats.dropped), (1, 0));
    let Item::Track(track) = &items[3] else { panic!("a track") };
    let CodecConfig::Avc(config) = &track.codec else { panic!("H.264") };
    assert_eq!(config.parameter_sets().1, [OTHER_PPS]);
    let last = frames(&items, VIDEO_TRACK)[2];
    let sets = [&[0, 0, 0, 25][..], SPS, &[0, 0, 0, 6], OTHER_PPS].concat();
    assert_eq!(last.payload[..sets.len()], sets, "those that are new are in the frame too");
    assert_eq!(last.payload[sets.len()..][..8], [0, 0, 0, 4, 6, 4, 1, 0x80], "SEI stays");
    let again = frames(&items, VIDEO_TRACK)[1];
    assert_eq!(again.payload[..5], [0, 0, 0x01, 0x2c, 0x65], "parameter sets that are known do not");
}

#[test]
fn frames_and_pes_packets_need_not_coincide() {
    let mut writer = Writer::default();
    writer.tables(0, &[AVC, ENGLISH]);
    let (first, second, third) = (access_unit(0, 900), access_unit(1, 400), access_unit(2, 400));
    let (head, tail) = first.split_at(300);
    writer.pes(VIDEO, true, Some((90_000, 90_000)), head);
    writer.pes(VIDEO, true, None, tail);
    writer.pes(VIDEO, true, Some((93_000, 93_000)), &[second, third].concat());
    let audio = [adts(1, 100), adts(2, 100), adts(3, 100)].concat();
    writer.pes(SOUND, true, Some((90_000, 90_000)), &audio[..150]);
    writer.pes(SOUND, true, Some((90_000 + 3_840, 90_000 + 3_840)), &audio[150..]);
    let (items, stats) = run(&[&writer.bytes]);
    let video = frames(&items, VIDEO_TRACK);
    assert_eq!(video.iter().map(|frame| frame.payload.len()).collect::<Vec<_>>(), [904, 404, 404]);
    // The parameter set declares 30 frames per second.
    assert_eq!(video.iter().map(|frame| ticks(frame).0).collect::<Vec<_>>(), [90_000, 93_000, 96_000]);
    let audio = frames(&items, FIRST_AUDIO_TRACK);
    assert_eq!(audio.iter().map(|frame| ticks(frame).0).collect::<Vec<_>>(), [90_000, 91_920, 93_840]);
    assert_eq!(stats.dropped, 0);
}

#[test]
fn a_frame_of_more_packets_than_a_byte_counts_is_complete() {
    let mut writer = Writer::default();
    writer.tables(0, &[AVC]);
    writer.pes(VIDEO, false, Some((90_000, 90_000)), &access_unit(0, 100_000));
    writer.pes(VIDEO, false, Some((93_000, 93_000)), &access_unit(1, 100_000));
    let (items, stats) = run(&[&writer.bytes]);
    assert_eq!(frames(&items, VIDEO_TRACK).iter().map(|frame| frame.payload.len()).collect::<Vec<_>>(), [100_004; 2]);
    assert_eq!(stats.dropped, 0);
}

#[test]
fn timed_metadata_is_kept() {
    let mut writer = Writer::default();
    let descriptor = [0x05, 4, b'I', b'D', b'3', b' '];
    writer.tables(0, &[AVC, (0x15, 0x200, &descriptor), (0x86, 0x201, &[])]);
    writer.pes(VIDEO, false, Some((90_000, 90_000)), &access_unit(0, 300));
    writer.pes(0x200, true, Some((91_000, 91_000)), b"ID3 anything");
    writer.section(0x201, &[0xfc, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xf0, 5, 6, 0xfe, 0, 2, 0xbf, 0x20, 0, 0]);
    let (items, _) = run(&[&writer.bytes]);
    let metadata: Vec<_> =
        items.iter().filter_map(|item| if let Item::Metadata(m) = item { Some(m) } else { None }).collect();
    let found: Vec<_> = metadata.iter().map(|m| (m.kind, Timescale::NINETY_KHZ.ticks(m.pts))).collect();
    assert_eq!(found, [(MetadataKind::Id3, 91_000), (MetadataKind::Scte35, 180_000)]);
    assert_eq!((&metadata[0].payload[..], metadata[1].payload.len()), (&b"ID3 anything"[..], 25));
}
