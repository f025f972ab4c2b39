//! What is written is read again: tracks, frames and metadata.

use bytes::Bytes;
use media::codec::hevc;
use media::{Access, CodecConfig, Frame, Metadata, MetadataKind, Timescale, Track, TrackId};
use proptest::prelude::*;
use wire::Item;
use wire::ts::mux::Muxer;
use wire::ts::{FIRST_AUDIO_TRACK, VIDEO_TRACK};

use crate::material::{self, frame};

const WRAP: i64 = 1 << 33;

/// Returns the tracks of the items, by id.
fn tracks(items: &[Item]) -> Vec<Track> {
    let tracks = items.iter().filter_map(|item| if let Item::Track(track) = item { Some(track.clone()) } else { None });
    let mut tracks: Vec<Track> = tracks.collect();
    tracks.sort_by_key(|track| track.id);
    tracks
}

/// Writes tracks and frames, and reads them.
fn pass(tracks: &[Track], frames: &[Frame]) -> Vec<Item> {
    let tracks = tracks.iter().cloned().map(Item::Track);
    let items: Vec<_> = tracks.chain(frames.iter().cloned().map(Item::Frame)).collect();
    crate::read(&crate::write(&mut Muxer::default(), &items).unwrap())
}

/// Asserts that the same tracks and frames are in both.
fn same(before: &[Item], after: &[Item]) {
    assert_eq!(tracks(before), tracks(after));
    for track in tracks(before) {
        let (before, after) = (crate::frames(before, track.id), crate::frames(after, track.id));
        assert_eq!(before.len(), after.len(), "{track:?}");
        for (n, (before, after)) in before.iter().zip(&after).enumerate() {
            assert_eq!((before.0, before.1), (after.0, after.1), "times of {n} of {}", track.codec.name());
            assert_eq!(before.2, after.2, "payload of {n} of {}", track.codec.name());
        }
    }
    let access = |items: &[Item]| -> Vec<Access> {
        let frames = items.iter().filter_map(|item| if let Item::Frame(frame) = item { Some(frame) } else { None });
        frames.filter(|frame| frame.track == VIDEO_TRACK).map(|frame| frame.access).collect()
    };
    assert_eq!(access(before), access(after));
}

#[test]
fn clips_of_every_codec_come_back() {
    let x264 = "-c:v libx264 -preset ultrafast -bf 2 -g 25 -threads 1";
    let x265 = "-c:v libx265 -preset ultrafast -x265-params log-level=none:pools=none:frame-threads=1:keyint=25";
    for options in [
        format!("{x264} -c:a aac -ac 2 -metadata:s:a:0 language=deu"),
        format!("{x264} -x264-params open-gop=1 -c:a libopus -b:a 64k"),
        format!("-map 0 -map 1 -map 1 {x265} -c:a:0 ac3 -c:a:1 eac3 -metadata:s:a:0 language=eng"),
        "-map 1 -c:a libopus -ac 6 -mapping_family 1 -b:a 256k".to_owned(),
        "-map 1 -c:a aac -ac 6 -ar 44100".to_owned(),
        "-map 1 -c:a eac3 -ac 6".to_owned(),
    ] {
        let before = material::clip(2, &options);
        let bytes = crate::write(&mut Muxer::default(), &before).unwrap();
        same(&before, &crate::read(&bytes));
    }
}

#[test]
fn payloads_around_the_end_of_a_packet_come_back() {
    let tracks = [material::avc(), material::aac(FIRST_AUDIO_TRACK, b"eng"), material::opus(TrackId(3), 2)];
    let sizes = (1..800).chain([1_300, 8_184, 65_500, 65_530, 70_000, 300_000]);
    let frames: Vec<Frame> = (0..)
        .zip(sizes)
        .flat_map(|(n, len)| {
            let dts = n * 1_920;
            let audio = len.min(8_000);
            let opus = [&[0xfc][..], &vec![n as u8; audio]].concat();
            let video = material::video(n % 25 == 0, dts + 3_600, dts, len.max(3));
            [video, material::audio(dts, audio), frame(TrackId(3), dts, dts, opus)]
        })
        .collect();
    let before: Vec<_> =
        tracks.iter().cloned().map(Item::Track).chain(frames.iter().cloned().map(Item::Frame)).collect();
    same(&before, &pass(&tracks, &frames));
}

#[test]
fn hevc_keeps_its_parameter_sets() {
    let hex = |digits: &str| -> Bytes {
        let nibbles: Vec<_> = digits.chars().filter_map(|digit| digit.to_digit(16)).collect();
        nibbles.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
    };
    let vps = hex("40010c01ffff2408000003009d08000003000096959809");
    let sps = hex("4201012408000003009d08000003000096b002d08010e596566924e578735091209040000003004000000642");
    let config = hevc::Config::from_parameter_sets(&[vps], &[sps], &[hex("4401c172b46240")]).unwrap();
    let track = Track::new(VIDEO_TRACK, CodecConfig::Hevc(config));
    let (idr, trail) = ([0x28, 1, 0xaf, 1, 2, 3], [0x02, 1, 0xd0, 1, 2, 3]);
    let key = frame(VIDEO_TRACK, 7_200, 0, material::sample(&[&[0x4e, 1, 4, 1, 0x80], &idr]));
    let other = Frame { access: Access::Dependent, ..frame(VIDEO_TRACK, 3_600, 3_600, material::sample(&[&trail])) };
    let before = [Item::Track(track.clone()), Item::Frame(key.clone()), Item::Frame(other.clone())];
    same(&before, &pass(&[track], &[key, other]));
}

#[test]
fn timed_metadata_comes_back() {
    let at = |ticks| Timescale::NINETY_KHZ.timestamp(ticks);
    let signal = material::time_signal();
    let tags: Vec<Bytes> =
        [10, 160, 168, 169, 170, 184, 400, 60_000].map(|len| [&b"ID3"[..], &vec![7; len]].concat().into()).into();
    let (mut muxer, mut bytes) = (Muxer::default(), Vec::new());
    muxer.add_track(&material::avc()).unwrap();
    muxer.add_metadata(MetadataKind::Id3).unwrap();
    for (n, tag) in (0..).zip(&tags) {
        muxer.frame(&material::video(n == 0, n * 3_600, n * 3_600, 400)).unwrap();
        let id3 = Metadata { kind: MetadataKind::Id3, pts: at(n * 3_600 + 5), payload: tag.clone() };
        muxer.metadata(&id3).unwrap();
        let splice = Metadata { kind: MetadataKind::Scte35, pts: at(n * 3_600 + 90_000), payload: signal.clone() };
        muxer.metadata(&splice).unwrap();
        crate::drain(&mut muxer, &mut bytes);
    }
    let items = crate::read(&bytes);
    let metadata: Vec<_> = items
        .iter()
        .filter_map(|item| if let Item::Metadata(metadata) = item { Some(metadata) } else { None })
        .collect();
    let of = |kind| metadata.iter().filter(move |metadata| metadata.kind == kind);
    let times = |kind| of(kind).map(|metadata| Timescale::NINETY_KHZ.ticks(metadata.pts)).collect::<Vec<_>>();
    assert_eq!(times(MetadataKind::Id3), (0..8).map(|n| n * 3_600 + 5).collect::<Vec<_>>());
    assert_eq!(times(MetadataKind::Scte35), (0..8).map(|n| n * 3_600 + 90_000).collect::<Vec<_>>());
    assert!(of(MetadataKind::Id3).map(|metadata| &metadata.payload).eq(&tags));
    assert_eq!(of(MetadataKind::Scte35).next().unwrap().payload, signal, "at its own time it is unchanged");
    assert_eq!(crate::checker::check(&bytes).versions, [0, 1], "SCTE-35 was not announced");
}

/// Returns bytes without start codes in them.
fn escaped(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut zeros = 0;
    for byte in &mut bytes {
        if zeros == 2 && *byte < 3 {
            *byte = 3;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
    }
    bytes.push(0x80);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_frames_at_any_time_come_back(
        start in prop_oneof![0..WRAP, WRAP - 20_000..WRAP],
        frames in prop::collection::vec(
            (prop::collection::vec(prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..400), 1..4),
             any::<bool>(), 1..9_000_i64, 0..20_000_i64, 1..600_usize),
            1..40,
        ),
    ) {
        let tracks = [material::avc(), material::aac(FIRST_AUDIO_TRACK, b"fra")];
        let (mut written, mut dts) = (Vec::new(), start);
        for (n, (slices, key, step, ahead, audio)) in frames.into_iter().enumerate() {
            let key = key || n == 0;
            let nals: Vec<_> = slices.into_iter().enumerate().map(|(n, bytes)| {
                [&[if key { 0x65 } else { 0x41 }, if n == 0 { 0x88 } else { 0x48 }][..], &escaped(bytes)].concat()
            }).collect();
            let payload = material::sample(&nals.iter().map(|nal| &nal[..]).collect::<Vec<_>>());
            let access = Access::independent_if(key);
            written.push(Frame { access, ..frame(VIDEO_TRACK, dts + ahead, dts, payload) });
            written.push(material::audio(dts, audio));
            dts += step;
        }
        let before: Vec<_> =
            tracks.iter().cloned().map(Item::Track).chain(written.iter().cloned().map(Item::Frame)).collect();
        let bytes = crate::write(&mut Muxer::default(), &before).unwrap();
        crate::checker::check(&bytes);
        same(&before, &crate::read(&bytes));
    }
}
