//! Streams that change, time that does not continue, and what is refused.

use bytes::Bytes;
use media::codec::{aac, av1, flac, opus, vp9};
use media::{Access, CodecConfig, Frame, Metadata, MetadataKind, TimeDelta, Timestamp, Track, TrackId};
use wire::Item;
use wire::ts::mux::{MAX_STREAMS, MAX_VIDEO_FRAME, MAX_WAITING, MuxError, Muxer};
use wire::ts::{Demuxer, FIRST_AUDIO_TRACK, Limits, VIDEO_TRACK};

use crate::checker::check;
use crate::material::{self, OTHER_PPS, sample, slice};

/// Returns a muxer with one video and one audio track.
fn muxer() -> Muxer {
    let mut muxer = Muxer::default();
    muxer.add_track(&material::avc()).unwrap();
    muxer.add_track(&material::aac(FIRST_AUDIO_TRACK, b"eng")).unwrap();
    muxer
}

/// Writes 10 frames of video at 25 frames per second from `start` on, and audio with each.
fn run(muxer: &mut Muxer, start: i64, out: &mut Vec<u8>) {
    for n in 0..10 {
        let dts = start + n * 3_600;
        muxer.frame(&material::video(n == 0, dts + 7_200, dts, 700)).unwrap();
        muxer.frame(&material::audio(dts + 10, 100)).unwrap();
        crate::drain(muxer, out);
    }
}

#[test]
fn a_discontinuity_is_signalled_once_on_each_pid() {
    let (mut muxer, mut bytes) = (muxer(), Vec::new());
    run(&mut muxer, 900_000, &mut bytes);
    muxer.discontinuity();
    muxer.discontinuity();
    run(&mut muxer, 5_000_000, &mut bytes);
    let report = check(&bytes);
    assert_eq!((report.discontinuities, report.clock_interval), (2, 3_600));
    let items = crate::read(&bytes);
    assert_eq!((crate::frames(&items, VIDEO_TRACK).len(), crate::frames(&items, FIRST_AUDIO_TRACK).len()), (20, 20));
}

#[test]
fn a_step_back_is_a_discontinuity_and_a_step_forward_is_not() {
    let (mut muxer, mut bytes) = (muxer(), Vec::new());
    run(&mut muxer, 900_000, &mut bytes);
    run(&mut muxer, 1_200_000, &mut bytes);
    assert_eq!(check(&bytes).discontinuities, 0);
    muxer.frame(&material::video(true, 500_000, 500_000, 99)).unwrap();
    muxer.frame(&material::audio(500_000, 99)).unwrap();
    crate::drain(&mut muxer, &mut bytes);
    assert_eq!((check(&bytes).discontinuities, muxer.late_frames()), (2, 0));
}

#[test]
fn a_late_frame_is_written_and_counted() {
    let (mut muxer, mut bytes) = (muxer(), Vec::new());
    muxer.frame(&material::video(true, 0, 0, 50)).unwrap();
    muxer.frame(&material::audio(60_000, 50)).unwrap();
    muxer.frame(&material::video(false, 3_600, 3_600, 50)).unwrap();
    crate::drain(&mut muxer, &mut bytes);
    assert_eq!(muxer.late_frames(), 1);
    assert!(check(&bytes).clock_interval <= 3_600, "the clock goes on with audio");
    assert_eq!(crate::frames(&crate::read(&bytes), VIDEO_TRACK).len(), 2);
}

#[test]
fn audio_may_be_far_ahead_of_video() {
    let (mut muxer, mut bytes) = (muxer(), Vec::new());
    for n in 0..100 {
        muxer.frame(&material::video(n % 25 == 0, n * 3_600, n * 3_600, 300)).unwrap();
        muxer.frame(&material::audio(n * 3_600 + 135_000, 300)).unwrap();
        crate::drain(&mut muxer, &mut bytes);
    }
    let report = check(&bytes);
    assert_eq!((report.discontinuities, report.access_points), (0, 4));
    // All but the first come a second after the clock has passed them.
    assert_eq!(muxer.late_frames(), 99);
}

#[test]
fn each_access_point_can_be_joined() {
    let (mut muxer, mut parts) = (muxer(), Vec::new());
    for n in 0..4 {
        let mut part = Vec::new();
        run(&mut muxer, n * 36_000, &mut part);
        parts.push(part);
    }
    for from in 0..parts.len() {
        let items = crate::read(&parts[from..].concat());
        assert_eq!(crate::frames(&items, VIDEO_TRACK).len(), 10 * (parts.len() - from));
        assert!(items.iter().filter(|item| matches!(item, Item::Track(_))).count() == 2);
    }
}

#[test]
fn another_header_changes_the_version_and_the_frames() {
    let (mut muxer, mut bytes) = (muxer(), Vec::new());
    run(&mut muxer, 0, &mut bytes);
    muxer.add_track(&material::avc()).unwrap();
    run(&mut muxer, 36_000, &mut bytes);
    assert_eq!(check(&bytes).versions, [0], "the same track changes nothing");
    muxer.add_track(&material::avc_with(OTHER_PPS)).unwrap();
    run(&mut muxer, 72_000, &mut bytes);
    assert_eq!(check(&bytes).versions, [0, 1]);
    // The same change within the frames.
    let sets: Vec<Bytes> = match material::avc().codec {
        CodecConfig::Avc(config) => config.parameter_sets().1,
        _ => panic!("H.264"),
    };
    let key = slice(true, 0, 90);
    let change = Frame { payload: sample(&[&sets[0], &key]), ..material::video(true, 108_000, 108_000, 0) };
    muxer.frame(&change).unwrap();
    muxer.frame(&material::video(true, 111_600, 111_600, 90)).unwrap();
    crate::drain(&mut muxer, &mut bytes);
    assert_eq!(check(&bytes).versions, [0, 1, 2]);
    let items = crate::read(&bytes);
    let sets_of = |item: &Item| match item {
        Item::Track(Track { codec: CodecConfig::Avc(config), .. }) => Some(config.parameter_sets().1),
        _ => None,
    };
    let found: Vec<_> = items.iter().filter_map(sets_of).collect();
    assert_eq!(found, [vec![sets[0].clone()], vec![Bytes::from_static(OTHER_PPS)], sets]);
    assert_eq!(crate::frames(&items, VIDEO_TRACK).last().unwrap().2, sample(&[&key]));
}

#[test]
fn tracks_come_and_go_and_change_their_codec() {
    let (mut muxer, mut bytes) = (muxer(), Vec::new());
    run(&mut muxer, 0, &mut bytes);
    muxer.add_track(&material::aac(TrackId(3), b"fra")).unwrap();
    muxer.frame(&material::frame(TrackId(3), 36_000, 36_000, vec![0x21; 40])).unwrap();
    run(&mut muxer, 36_100, &mut bytes);
    muxer.remove_track(TrackId(3));
    muxer.remove_track(TrackId(9));
    assert_eq!(muxer.frame(&material::frame(TrackId(3), 0, 0, vec![1])), Err(MuxError::UnknownTrack(TrackId(3))));
    muxer.add_track(&material::opus(FIRST_AUDIO_TRACK, 2)).unwrap();
    let opus = |n: i64| material::frame(FIRST_AUDIO_TRACK, 72_100 + n * 1_800, 0, vec![0xfc; 40]);
    (0..5).for_each(|n| muxer.frame(&opus(n)).unwrap());
    crate::drain(&mut muxer, &mut bytes);
    let report = check(&bytes);
    assert_eq!(report.versions, [0, 1, 2]);
    assert_eq!(report.packets.keys().copied().collect::<Vec<_>>(), [0, 0x100, 0x101, 0x102, 0x103, 0x1000]);
    let items = crate::read(&bytes);
    let names = items.iter().filter_map(|item| if let Item::Track(track) = item { Some(track) } else { None });
    let names: Vec<_> = names.map(|track| (track.id.0, track.codec.name())).collect();
    assert!(names.ends_with(&[(3, "AAC"), (2, "Opus")]), "{names:?}");
    // Five with the new codec, after 20 of the old one.
    assert_eq!(crate::frames(&items, FIRST_AUDIO_TRACK).len(), 25);
}

#[test]
fn in_band_delimiters_and_parameter_sets_are_not_written_twice() {
    let CodecConfig::Avc(config) = material::avc().codec else { panic!("H.264") };
    let (sps, pps) = config.parameter_sets();
    let key = slice(true, 0, 50);
    let written = |payload| {
        let (mut muxer, mut bytes) = (muxer(), Vec::new());
        muxer.frame(&Frame { payload, ..material::video(true, 0, 0, 0) }).unwrap();
        crate::drain(&mut muxer, &mut bytes);
        bytes
    };
    let plain = written(sample(&[&key]));
    assert_eq!(written(sample(&[&[9, 0xf0], &sps[0], &pps[0], &key])), plain);
    assert_eq!(written(sample(&[&sps[0], &[], &key])), plain);
}

#[test]
fn codecs_without_a_mapping_are_refused() {
    let mut muxer = Muxer::default();
    let mut refused = |codec| muxer.add_track(&Track::new(TrackId(1), codec)).unwrap_err().to_string();
    let av1 = [0x81, 1, 0x0c, 0, 0x0a, 0x0c, 2, 0, 0, 0x0d, 0x26, 0x27, 0xfb, 0x38, 0x05, 0xf0, 0, 0x80];
    let av1 = av1::Config::parse(Bytes::copy_from_slice(&av1)).unwrap();
    assert_eq!(refused(CodecConfig::Av1(av1)), "AV1 cannot be carried in MPEG-TS");
    let vp9 = vp9::Config::parse(Bytes::from_static(&[0, 31, 0x82, 2, 2, 2, 0, 0])).unwrap();
    assert_eq!(refused(CodecConfig::Vp9(vp9)), "VP9 cannot be carried in MPEG-TS");
    let short = aac::Config { samples_per_frame: 960, ..aac::Config::new(2, 48_000, 2).unwrap() };
    let form = "AAC with a configuration that no ADTS header expresses cannot be carried in MPEG-TS";
    assert_eq!(refused(CodecConfig::Aac(short)), form);
    let mut custom = opus::Config::new(6).unwrap();
    custom.record = custom.record.iter().rev().copied().collect();
    assert_eq!(refused(CodecConfig::Opus(custom)), "Opus with a custom channel mapping cannot be carried in MPEG-TS");
    let flac = flac::Config::parse(&flac_header()).unwrap();
    assert_eq!(refused(CodecConfig::Flac(flac)), "FLAC cannot be carried in MPEG-TS");
    assert_eq!(muxer.flush(), None);
}

/// Returns a FLAC header: 48 kHz, stereo, 16 bits, blocks of 4 096.
fn flac_header() -> Vec<u8> {
    let mut header = vec![b'f', b'L', b'a', b'C', 0x80, 0, 0, 34, 16, 0, 16, 0, 0, 0, 0, 0, 0, 0];
    header.extend([0x0b, 0xb8, 0x02, 0xf0, 0, 0, 0, 0]);
    header.resize(header.len() + 16, 0);
    header
}

#[test]
fn what_does_not_fit_is_refused_and_the_rest_goes_on() {
    let (mut muxer, mut bytes) = (muxer(), Vec::new());
    let with = |payload: Bytes| Frame { payload, ..material::video(true, 0, 0, 0) };
    assert_eq!(muxer.frame(&with(Bytes::new())), Err(MuxError::Empty));
    assert_eq!(muxer.frame(&with(Bytes::from_static(&[0, 0, 9, 9, 0x65]))), Err(MuxError::Empty));
    let long = material::video(true, 0, 0, MAX_VIDEO_FRAME);
    assert!(matches!(muxer.frame(&long), Err(MuxError::TooLong { limit: MAX_VIDEO_FRAME, .. })));
    assert_eq!(muxer.frame(&material::audio(0, 8_185)), Err(MuxError::TooLong { len: 8_185, limit: 8_184 }));
    assert_eq!(muxer.frame(&material::audio(0, 0)), Err(MuxError::Empty));
    let mut metadata = Metadata { kind: MetadataKind::Id3, pts: Timestamp::ZERO, payload: Bytes::from_static(b"no") };
    assert_eq!(muxer.metadata(&metadata), Err(MuxError::Metadata));
    metadata.payload = [&b"ID3"[..], &[0; 65_530]].concat().into();
    assert!(matches!(muxer.metadata(&metadata), Err(MuxError::TooLong { .. })));
    assert_eq!(muxer.flush(), None, "nothing was written");
    for id in 3..=MAX_STREAMS as u32 {
        muxer.add_track(&material::aac(TrackId(id), b"und")).unwrap();
    }
    let more = material::aac(TrackId(99), b"und");
    assert_eq!(muxer.add_track(&more), Err(MuxError::TooManyStreams { limit: MAX_STREAMS }));
    run(&mut muxer, 90_000, &mut bytes);
    assert_eq!(check(&bytes).access_points, 1);
    let mut demuxer = Demuxer::new(Limits::default());
    demuxer.push(&bytes, &mut Vec::new()).unwrap();
    assert_eq!(demuxer.stats().bad_crc + demuxer.stats().continuity_errors, 0);
}

#[test]
fn packets_that_are_not_taken_have_a_limit() {
    let mut muxer = muxer();
    let frame = Frame { access: Access::Dependent, ..material::video(false, 0, 0, 1 << 20) };
    let count = (0..40).take_while(|_| muxer.frame(&frame).is_ok()).count();
    assert_eq!((count, muxer.frame(&frame)), (16, Err(MuxError::Full { limit: MAX_WAITING })));
    while muxer.datagram().is_some() {}
    assert_eq!(muxer.frame(&frame), Ok(()));
}

#[test]
fn the_delay_is_at_most_a_second() {
    for (delay, expected) in [(-5, 0), (700, 63_000), (9_000, 90_000)] {
        let (mut muxer, mut bytes) = (Muxer::new(TimeDelta::from_millis(delay)), Vec::new());
        muxer.add_track(&material::avc()).unwrap();
        muxer.frame(&material::video(true, 100, 100, 9)).unwrap();
        crate::drain(&mut muxer, &mut bytes);
        assert_eq!(check(&bytes).lead, Some((expected, expected)));
    }
}
