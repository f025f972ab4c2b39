//! Tests of `demux`.

use super::*;
use crate::flv::read;

// x264, 1280x720, High profile; then a idr parameter set.
const AVCC: [u8; 36] = [
    1, 0x64, 0x00, 0x1f, 0xff, 0xe1, 0, 25, 0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10,
    0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19, 1, 0, 0,
];
const AAC: &[u8] = &[0x11, 0x90];

/// A demuxer, and its reports.
#[derive(Default)]
struct Tested {
    demuxer: Demuxer,
    unsupported: Vec<String>,
}

impl std::ops::Deref for Tested {
    type Target = Demuxer;

    fn deref(&self) -> &Demuxer {
        &self.demuxer
    }
}

/// Passes on one body with nothing after it; returns the tracks and frames.
fn push(tested: &mut Tested, kind: Kind, millis: i64, bytes: &[u8]) -> Vec<Item> {
    let mut items = Vec::new();
    let body = Bytes::copy_from_slice(bytes);
    read(kind, &body, |packet| items.extend(tested.demuxer.push(Tag { millis, packet }))).unwrap();
    items.extend(tested.demuxer.finish());
    for report in items.extract_if(.., |item| !matches!(item, Item::Track(_) | Item::Frame(_))) {
        if let Item::Fault(FaultReport { fault: Fault::TrackLeftOut, detail, .. }) = report {
            tested.unsupported.extend(detail.map(String::from));
        }
    }
    items
}

fn video(demuxer: &mut Tested, millis: i64, bytes: &[u8]) -> Vec<Item> {
    push(demuxer, Kind::Video, millis, bytes)
}

fn audio(demuxer: &mut Tested, millis: i64, bytes: &[u8]) -> Vec<Item> {
    push(demuxer, Kind::Audio, millis, bytes)
}

fn avc_header() -> Vec<u8> {
    [&[0x17, 0, 0, 0, 0][..], &AVCC].concat()
}

/// Returns an AAC header for one track of several.
fn aac_header(track: u8) -> Vec<u8> {
    [&b"\x95\x00mp4a"[..], &[track], AAC].concat()
}

fn frame(items: Vec<Item>) -> Frame {
    match <[Item; 1]>::try_from(items) {
        Ok([Item::Frame(frame)]) => frame,
        other => panic!("{other:?}"),
    }
}

fn unsupported(tested: &mut Tested) -> Vec<String> {
    std::mem::take(&mut tested.unsupported)
}

#[test]
fn a_header_makes_a_track_once() {
    let demuxer = &mut Tested::default();
    let items = video(demuxer, 0, &avc_header());
    assert!(matches!(&items[..], [Item::Track(t)] if t.id == VIDEO_TRACK && t.kind() == Kind::Video));
    assert_eq!(video(demuxer, 0, &avc_header()), []);
    assert!(matches!(&audio(demuxer, 0, &[0xaf, 0, 0x11, 0x90])[..], [Item::Track(t)] if t.id == audio_track(0)));
    assert_eq!(audio(demuxer, 0, &[0xaf, 0, 0x11, 0x90]), []);
    assert!(matches!(audio(demuxer, 9, &[0xaf, 0, 0x12, 0x10])[..], [Item::Track(_)]), "a changed header");
    // By FourCC it is the same track and the same header.
    assert_eq!(video(demuxer, 9, &[&b"\x90avc1"[..], &AVCC].concat()), []);
}

#[test]
fn frames_before_their_header_are_dropped_and_counted() {
    let demuxer = &mut Tested::default();
    assert_eq!(video(demuxer, 0, &[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65]), []);
    assert_eq!(audio(demuxer, 0, &[0xaf, 1, 0x21]), []);
    video(demuxer, 0, &avc_header());
    assert_eq!(audio(demuxer, 0, &[0xaf, 1, 0x21]), [], "the header of the other track does not count");
    assert_eq!(video(demuxer, 0, &[0x17, 1, 0, 0, 0]), [], "an empty frame");
    assert_eq!((demuxer.dropped(), unsupported(demuxer)), (4, vec![]));
}

#[test]
fn parameter_sets_without_a_slice_go_with_the_next_frame() {
    let demuxer = &mut Tested::default();
    video(demuxer, 0, &avc_header());
    let set = [0, 0, 0, 3, 0x68, 0xee, 0x3c];
    assert_eq!(video(demuxer, 40, &[&[0x17, 1, 0, 0, 0][..], &set].concat()), [], "no frame");
    let idr = [0, 0, 0, 2, 0x65, 0x88];
    let frame = frame(video(demuxer, 80, &[&[0x17, 1, 0, 0, 0][..], &idr].concat()));
    assert_eq!(frame.payload, [&set[..], &idr].concat());
    assert!(frame.access.is_independent());
    let next = [&[0x27, 1, 0, 0, 0][..], &[0, 0, 0, 2, 0x41, 0x9a]].concat();
    assert_eq!(self::frame(video(demuxer, 120, &next)).payload.len(), 6, "they are sent once");
    assert_eq!(video(demuxer, 160, &[&[0x17, 1, 0, 0, 0][..], &set].concat()), [], "no frame");
    video(demuxer, 200, &[&avc_header()[..], &[0]].concat());
    let frame = self::frame(video(demuxer, 200, &[&[0x17, 1, 0, 0, 0][..], &idr].concat()));
    assert_eq!(frame.payload.len(), idr.len(), "another header makes them void");
}

#[test]
fn the_nal_units_decide_what_is_a_key_frame() {
    let demuxer = &mut Tested::default();
    video(demuxer, 0, &avc_header());
    let mut key =
        |flag: u8, nal: u8| frame(video(demuxer, 40, &[flag, 1, 0, 0, 80, 0, 0, 0, 1, nal])).access.is_independent();
    assert_eq!([key(0x17, 0x65), key(0x27, 0x65), key(0x17, 0x41)], [true, true, false]);
}

#[test]
fn presentation_is_decoding_and_composition_time() {
    let demuxer = &mut Tested::default();
    video(demuxer, 0, &avc_header());
    let cut = frame(video(demuxer, 1 << 33, &[0x27, 1, 0xff, 0xff, 0xd8, 0, 0, 0, 1, 0x41]));
    assert_eq!((Timescale::MILLIS.ticks(cut.dts), (cut.pts - cut.dts).as_millis()), (1 << 33, -40));
    // 333 333 ns after 33 ms is a thirtieth of a second.
    let fine = frame(video(demuxer, 33, b"\xa7\x02\x05\x16\x15\x01avc1\x00\x00\x28\x00\x00\x00\x01\x41"));
    assert_eq!(Timescale::NINETY_KHZ.ticks(fine.dts), 3_000);
    assert_eq!((fine.pts - fine.dts).as_millis(), 40);
}

#[test]
fn each_audio_track_has_its_number() {
    let demuxer = &mut Tested::default();
    assert!(matches!(&audio(demuxer, 0, &aac_header(3))[..], [Item::Track(t)] if t.id == TrackId(5)));
    assert_eq!(frame(audio(demuxer, 0, b"\x95\x01mp4a\x03\x21")).track, TrackId(5));
    assert_eq!(audio(demuxer, 0, &[0xaf, 1, 0x21]), [], "track 0 has no header");
}

#[test]
fn an_unsupported_track_is_reported_once_and_harms_no_other() {
    let demuxer = &mut Tested::default();
    for _ in 0..3 {
        video(demuxer, 0, b"\x90vp08\x01");
        video(demuxer, 0, b"\x91vp08\x01");
        audio(demuxer, 0, &[0x2f, 0xff]);
        audio(demuxer, 0, &aac_header(1));
    }
    assert_eq!(frame(audio(demuxer, 9_000, b"\x95\x01mp4a\x01\x21")).track, audio_track(1));
    let codecs =
        "this codec is not carried; video may be H.264, HEVC, AV1 or VP9, audio AAC, Opus, AC-3, E-AC-3 or FLAC";
    let expected =
        [format!("video track 0 (VP8) is left out: {codecs}"), format!("audio track 0 (MP3) is left out: {codecs}")];
    assert_eq!((unsupported(demuxer), demuxer.dropped()), (expected.to_vec(), 6));
    assert_eq!(demuxer.unsupported_reason(), None, "one track is carried");
}

#[test]
fn a_bad_header_leaves_its_track_out_until_a_good_one() {
    let demuxer = &mut Tested::default();
    video(demuxer, 0, &avc_header());
    video(demuxer, 0, &[0x17, 0, 0, 0, 0, 2]);
    let idr = [0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65];
    assert_eq!(video(demuxer, 0, &idr), []);
    let why = "its sequence header cannot be used: avcC > configurationVersion: 2 is not supported";
    assert_eq!(unsupported(demuxer), [format!("video track 0 (H.264) is left out: {why}")]);
    assert!(matches!(video(demuxer, 0, &avc_header())[..], [Item::Track(_)]));
    frame(video(demuxer, 0, &idr));
}

#[test]
fn av1_in_the_form_of_mpeg_2_ts_is_refused() {
    let demuxer = &mut Tested::default();
    assert_eq!(video(demuxer, 0, b"\x95av01\x80"), []);
    let why = "it comes in the form of MPEG-2 TS; the encoder has to send a plain sequence header";
    assert_eq!(unsupported(demuxer), [format!("video track 0 (AV1) is left out: {why}")]);
}

#[test]
fn audio_tracks_have_a_limit() {
    let demuxer = &mut Tested::default();
    for track in 0..MAX_AUDIO as u8 {
        assert_eq!(audio(demuxer, 0, &aac_header(track)).len(), 1);
    }
    assert_eq!(audio(demuxer, 0, &aac_header(200)), []);
    assert_eq!(audio(demuxer, 0, b"\x95\x01mp4a\xc8\x21"), []);
    let why = "a live stream has no more than 8 audio tracks";
    assert_eq!(unsupported(demuxer), [format!("audio track 200 (AAC) is left out: {why}")]);
}

#[test]
fn memory_and_log_have_a_limit() {
    let demuxer = &mut Tested::default();
    for track in 0..=255 {
        audio(demuxer, 0, &[&b"\x95\x01.mp3"[..], &[track, 1]].concat());
    }
    assert_eq!((demuxer.tracks.len(), demuxer.reported), (MAX_TRACK_STATES, MAX_REPORTS));
    assert_eq!(unsupported(demuxer).len(), MAX_REPORTS as usize);
    audio(demuxer, 0, b"\x95\x01?????");
    assert_eq!(unsupported(demuxer), Vec::<String>::new());
}

#[test]
fn a_contribution_without_a_supported_track_is_unsupported_after_a_while() {
    let demuxer = &mut Tested::default();
    video(demuxer, 100, b"\x91vp08\x01");
    video(demuxer, 5_099, b"\x91vp08\x01");
    assert_eq!(demuxer.unsupported_reason(), None);
    video(demuxer, 5_100, b"\x91vp08\x01");
    assert!(demuxer.unsupported_reason().is_some_and(|unsupported| unsupported.codec.to_string() == "VP8"));
    audio(demuxer, 5_100, &[0xaf, 0, 0x11, 0x90]);
    assert_eq!(demuxer.unsupported_reason(), None, "audio alone is supported");
}

#[test]
fn an_empty_opus_header_means_stereo() {
    let items = audio(&mut Tested::default(), 0, b"\x90Opus");
    assert!(matches!(&items[..], [Item::Track(track)] if track.codec.channels() == Some(2)));
}
