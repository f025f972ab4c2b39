//! FLV of encoders that violate its rules: separate NAL units, start codes, ADTS headers, changing headers.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use media::codec::{avc, hevc};
use media::{CodecConfig, Fault, Frame, Kind, Timescale, Track};
use wire::Item;
use wire::flv::{self, Demuxer, Tag};

// x264, 1280x720, High profile.
const SPS: &[u8] = &[
    0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00,
    0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19,
];
const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb];
const OTHER_PPS: &[u8] = &[0x68, 0xee, 0x3c, 0x80];
const IDR: &[u8] = &[0x65, 0x88, 0x84, 0x01];
const IDR_REST: &[u8] = &[0x65, 0x04, 0x84, 0x02];
const SLICE: &[u8] = &[0x41, 0x9a, 0x01];
// x265, 1440x1080.
const HEVC_SETS: [&[u8]; 3] = [
    &[
        0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x24, 0x08, 0x00, 0x00, 0x03, 0x00, 0x9d, 0x08, 0x00, 0x00, 0x03, 0x00,
        0x00, 0x96, 0x95, 0x98, 0x09,
    ],
    &[
        0x42, 0x01, 0x01, 0x24, 0x08, 0x00, 0x00, 0x03, 0x00, 0x9d, 0x08, 0x00, 0x00, 0x03, 0x00, 0x00, 0x96, 0xb0,
        0x02, 0xd0, 0x80, 0x10, 0xe5, 0x96, 0x56, 0x69, 0x24, 0xe5, 0x78, 0x73, 0x50, 0x91, 0x20, 0x90, 0x40, 0x00,
        0x00, 0x03, 0x00, 0x40, 0x00, 0x00, 0x06, 0x42,
    ],
    &[0x44, 0x01, 0xc1, 0x72, 0xb4, 0x62, 0x40],
];
const HEVC_IDR: &[u8] = &[0x28, 0x01, 0xaf, 0x01];
const HEVC_IDR_REST: &[u8] = &[0x28, 0x01, 0x2f, 0x02];

/// Output of the demuxer.
#[derive(Default)]
struct Seen {
    demuxer: Demuxer,
    tracks: Vec<Track>,
    frames: Vec<Frame>,
    faults: Vec<Fault>,
    details: Vec<String>,
}

impl Seen {
    fn push(&mut self, kind: Kind, millis: i64, body: &[u8]) {
        let mut items = Vec::new();
        let body = Bytes::copy_from_slice(body);
        flv::read(kind, &body, |packet| items.extend(self.demuxer.push(Tag { millis, packet }))).unwrap();
        self.take(items);
    }

    fn avc(&mut self, millis: i64, payload: &[u8]) {
        self.push(Kind::Video, millis, &[&[0x17, 1, 0, 0, 0], payload].concat());
    }

    fn hevc(&mut self, millis: i64, payload: &[u8]) {
        self.push(Kind::Video, millis, &[&b"\x91hvc1\x00\x00\x00"[..], payload].concat());
    }

    fn avc_header(&mut self, header: &[u8]) {
        self.push(Kind::Video, 0, &[&[0x17, 0, 0, 0, 0], header].concat());
    }

    fn aac(&mut self, millis: i64, payload: &[u8]) {
        self.push(Kind::Audio, millis, &[&[0xaf, 1], payload].concat());
    }

    fn finish(mut self) -> Self {
        let rest: Vec<_> = self.demuxer.finish().collect();
        self.take(rest);
        self
    }

    fn take(&mut self, items: Vec<Item>) {
        for item in items {
            match item {
                Item::Track(track) => self.tracks.push(track),
                Item::Frame(frame) => self.frames.push(frame),
                Item::Fault(report) => {
                    self.faults.push(report.fault);
                    self.details.extend(report.detail.map(String::from));
                }
                Item::VideoExpected | Item::Metadata(_) => {}
            }
        }
    }

    /// Returns milliseconds and payload of each frame.
    fn samples(&self) -> Vec<(i64, &[u8])> {
        self.frames.iter().map(|frame| (Timescale::MILLIS.ticks(frame.dts), &frame.payload[..])).collect()
    }
}

fn with_lengths(nals: &[&[u8]]) -> Vec<u8> {
    nals.iter().flat_map(|nal| [&(nal.len() as u32).to_be_bytes()[..], nal].concat()).collect()
}

fn with_start_codes(nals: &[&[u8]]) -> Vec<u8> {
    nals.iter().flat_map(|nal| [&[0, 0, 0, 1], *nal].concat()).collect()
}

fn record(pps: &[u8]) -> Vec<u8> {
    let of = |set: &[u8]| [Bytes::copy_from_slice(set)];
    avc::Config::from_parameter_sets(&of(SPS), &of(pps)).unwrap().record.to_vec()
}

#[test]
fn a_header_with_other_picture_parameter_sets_makes_a_new_track() {
    let mut seen = Seen::default();
    for pps in [PPS, PPS, OTHER_PPS, OTHER_PPS, PPS] {
        seen.avc_header(&record(pps));
        seen.avc(0, &with_lengths(&[IDR]));
    }
    let sets = |track: &Track| match &track.codec {
        CodecConfig::Avc(config) => config.parameter_sets().1.concat(),
        other => panic!("{other:?}"),
    };
    let seen = seen.finish();
    assert_eq!(seen.tracks.iter().map(sets).collect::<Vec<_>>(), [PPS, OTHER_PPS, PPS]);
    let with = |pps| with_lengths(&[SPS, pps, IDR]);
    let without = with_lengths(&[IDR]);
    let samples: Vec<_> = seen.samples().into_iter().map(|(_, sample)| sample.to_vec()).collect();
    assert_eq!(samples, [without.clone(), without.clone(), with(OTHER_PPS), without, with(PPS)]);
    assert_eq!(seen.faults, vec![]);
}

#[test]
fn an_hevc_header_with_another_set_or_sei_makes_a_new_track() {
    let sets = HEVC_SETS.map(|set| [Bytes::copy_from_slice(set)]);
    let config = hevc::Config::from_parameter_sets(&sets[0], &sets[1], &sets[2]).unwrap().record.to_vec();
    // The last picture parameter set ends the record.
    let mut other_pps = config.clone();
    *other_pps.last_mut().unwrap() ^= 0x80;
    let mut with_sei = [&config[..], &[39, 0, 1, 0, 4, 0x4e, 1, 5, 0]].concat();
    with_sei[22] += 1;
    let mut seen = Seen::default();
    for header in [&config, &other_pps, &config, &with_sei, &with_sei] {
        seen.push(Kind::Video, 0, &[&b"\x90hvc1"[..], header].concat());
    }
    assert_eq!(seen.tracks.len(), 4);
}

#[test]
fn sets_that_were_sent_once_are_repeated_for_later_key_frames() {
    let mut seen = Seen::default();
    seen.avc_header(&record(PPS));
    seen.avc(0, &with_lengths(&[IDR]));
    seen.avc(40, &with_lengths(&[OTHER_PPS, SLICE]));
    assert_eq!(seen.tracks.len(), 1, "they ride in the frame that needs them");
    seen.avc(80, &with_lengths(&[IDR]));
    seen.avc(120, &with_lengths(&[IDR]));
    assert_eq!((seen.tracks.len(), seen.frames.len()), (2, 4));
}

#[test]
fn nal_units_in_messages_of_their_own_make_one_frame() {
    for slices in 2..5 {
        let mut seen = Seen::default();
        seen.avc_header(&record(PPS));
        for at in [0, 33, 67] {
            seen.avc(at, &with_lengths(&[&[9, 0xf0]]));
            seen.avc(at, &with_lengths(&[&[6, 5, 1]]));
            seen.avc(at, &with_lengths(&[IDR]));
            (1..slices).for_each(|_| seen.avc(at, &with_lengths(&[IDR_REST])));
        }
        let seen = seen.finish();
        let nals = [&[&[9, 0xf0][..], &[6, 5, 1], IDR][..], &vec![IDR_REST; slices - 1]].concat();
        let expected = with_lengths(&nals);
        assert_eq!(seen.samples(), [0, 33, 67].map(|at| (at, &expected[..])));
        assert!(seen.frames.iter().all(|frame| frame.access.is_independent()));
        assert_eq!(seen.faults, vec![Fault::SplitAccessUnit; 3 * (slices - 1)]);
    }
}

#[test]
fn hevc_in_messages_of_its_own_and_with_start_codes_needs_no_header() {
    let mut seen = Seen::default();
    for at in [0, 40] {
        HEVC_SETS.iter().for_each(|set| seen.hevc(at, &with_start_codes(&[set])));
        seen.hevc(at, &with_start_codes(&[HEVC_IDR]));
        seen.hevc(at, &with_start_codes(&[HEVC_IDR_REST]));
    }
    let seen = seen.finish();
    let expected = with_lengths(&[&HEVC_SETS[..], &[HEVC_IDR, HEVC_IDR_REST]].concat());
    assert_eq!(seen.samples(), [(0, &expected[..]), (40, &expected[..])]);
    assert_eq!(seen.tracks.len(), 1);
    assert!(seen.faults.contains(&Fault::StartCodes) && seen.faults.contains(&Fault::SplitAccessUnit));
}

#[test]
fn start_codes_in_place_of_lengths_and_of_the_record() {
    for header in [record(PPS), with_start_codes(&[SPS, PPS]), with_lengths(&[SPS, PPS]), vec![]] {
        let mut seen = Seen::default();
        seen.avc_header(&header);
        seen.avc(0, &with_start_codes(&[SPS, PPS, IDR]));
        seen.avc(40, &with_start_codes(&[SLICE]));
        let seen = seen.finish();
        assert_eq!(seen.tracks.len(), 1, "{header:?}");
        let expected = [with_lengths(&[SPS, PPS, IDR]), with_lengths(&[SLICE])];
        assert_eq!(seen.samples(), [(0, &expected[0][..]), (40, &expected[1][..])]);
        assert!(seen.faults.iter().all(|fault| *fault == Fault::StartCodes));
    }
}

#[test]
fn units_without_lengths_or_start_codes_are_dropped_and_reported() {
    let mut seen = Seen::default();
    seen.avc_header(&record(PPS));
    seen.avc(0, &[7; 40]);
    seen.avc(40, &[&with_lengths(&[IDR])[..], &[0, 0, 0, 99, 0x65]].concat());
    let seen = seen.finish();
    assert_eq!(seen.samples(), [(40, &with_lengths(&[IDR])[..])]);
    assert_eq!((seen.faults, seen.demuxer.dropped()), (vec![Fault::DamagedFrames; 2], 1));
}

/// Returns an ADTS frame, AAC-LC, 48 kHz, with `channels`.
fn adts(channels: u8, raw: &[u8]) -> Vec<u8> {
    let size = raw.len() + 7;
    let head = [0xff, 0xf1, 0x4c | channels >> 2, channels << 6, (size >> 3) as u8, (size << 5) as u8 | 0x1f, 0xfc];
    [&head, raw].concat()
}

#[test]
fn adts_headers_are_taken_off() {
    let mut seen = Seen::default();
    seen.push(Kind::Audio, 0, &[0xaf, 0, 0x11, 0x90]);
    seen.aac(0, &adts(2, &[0x21, 1]));
    seen.aac(21, &[adts(2, &[0x21, 2]), adts(2, &[0x21, 3])].concat());
    let samples = seen.samples();
    assert_eq!(samples, [(0, &[0x21, 1][..]), (21, &[0x21, 2]), (42, &[0x21, 3])]);
    assert_eq!((seen.tracks.len(), seen.faults), (1, vec![Fault::AdtsHeaders; 2]));
}

#[test]
fn adts_headers_replace_a_missing_or_wrong_configuration() {
    let channels = |seen: &Seen| seen.tracks.iter().map(|track| track.codec.channels()).collect::<Vec<_>>();
    let mut seen = Seen::default();
    (0..3).for_each(|n| seen.aac(n * 21, &adts(2, &[0x21, 1])));
    assert_eq!((channels(&seen), seen.frames.len()), (vec![Some(2)], 3), "no header at all");
    // The header says stereo, and is repeated.
    let mut seen = Seen::default();
    for n in 0..3 {
        seen.push(Kind::Audio, 0, &[0xaf, 0, 0x11, 0x90, n]);
        seen.aac(0, &adts(1, &[0x01, 1]));
    }
    assert_eq!(channels(&seen), [Some(2), Some(1)]);
    assert_eq!(seen.faults.iter().filter(|fault| **fault == Fault::WrongHeaders).count(), 1);
    // An ADTS header instead of the configuration.
    let mut seen = Seen::default();
    seen.push(Kind::Audio, 0, &[&[0xaf, 0][..], &adts(2, &[0x21])].concat());
    seen.aac(0, &[0x21, 1]);
    assert_eq!((channels(&seen), seen.frames.len()), (vec![Some(2)], 1));
}

#[test]
fn a_layout_that_browsers_do_not_play_is_reported_with_the_reason() {
    // ffmpeg's 5.1(side).
    let config = [
        0x11, 0x80, 0x04, 0xc8, 0x44, 0x00, 0x20, 0x00, 0xc4, 0x0d, 0x4c, 0x61, 0x76, 0x63, 0x35, 0x39, 0x2e, 0x33,
        0x37, 0x2e, 0x31, 0x30, 0x30, 0x56, 0xe5, 0x00,
    ];
    let mut seen = Seen::default();
    for _ in 0..3 {
        seen.push(Kind::Audio, 0, &[&[0xaf, 0], &config[..]].concat());
        seen.aac(0, &[0x21, 1]);
    }
    assert!(seen.tracks.is_empty() && seen.frames.is_empty());
    let left_out = seen.faults.iter().filter(|fault| **fault == Fault::TrackLeftOut).count();
    assert_eq!((left_out, seen.details[0].contains("program_config_element > channels: 6")), (1, true));
}

#[test]
fn audio_after_the_first_frame_stays_after_it() {
    let mut seen = Seen::default();
    seen.avc_header(&record(PPS));
    seen.push(Kind::Audio, 0, &[0xaf, 0, 0x11, 0x90]);
    seen.avc(0, &with_lengths(&[IDR]));
    (0..3).for_each(|n| seen.aac(3_000 + n, &[0x21, 1]));
    assert!(seen.frames.is_empty());
    seen.avc(40, &with_lengths(&[SLICE]));
    let order: Vec<_> = seen.samples().into_iter().map(|(at, _)| at).collect();
    assert_eq!(order, [0, 3_000, 3_001, 3_002, 40]);
    // A frame without a next one delays audio by about a second at most.
    let mut seen = Seen::default();
    seen.avc_header(&record(PPS));
    seen.push(Kind::Audio, 0, &[0xaf, 0, 0x11, 0x90]);
    seen.avc(0, &with_lengths(&[IDR]));
    (0..100).for_each(|n| seen.aac(n * 21, &[0x21, 1]));
    assert_eq!((seen.frames.len(), seen.samples()[0].1.len()), (101, IDR.len() + 4));
}
