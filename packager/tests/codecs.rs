//! Every codec: its sample entry holds the decoder's configuration byte by byte, and playlists name it exactly.
#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

mod common;

use bytes::Bytes;
use common::check::{STRICT, check};
use common::source::{AUDIO, Fed, VIDEO, Video, audio, audio_track_in, mux, on_track, video_track};
use media::codec::{ac3, av1, flac, hevc, opus, vp9};
use media::{Access, CodecConfig, Frame, LatencyMode, TimeDelta, Timestamp, Track};
use mp4_atom::{Atom, Colr, Decode, Moov};
use packager::log::{Event, Init, RenditionId};
use packager::playlist::MultivariantOptions;
use packager::uri::Query;
use packager::window::Window;

/// x265, 1920x1080 at 50 frames a second, Main 10, HDR10.
const HEVC: &str = "0102200000009000000000007bf000fcfdfafa00000f04a00001001840010c01ffff022000000300900000030000\
    03007b959809a10001002f42010102200000030090000003000003007ba003c08010e4d96566924caf016a122012080000030008000003\
    019040a2000100074401c172b46240270001000a4e019004000003000080";
/// libaom, 640x360, ten bits, HDR10.
const AV1: &str = "81014c000a0e0000000cc4ff6736be5424402410";
/// libvpx, 640x360, and one of its key frames.
const VP9: &str = "0015820202020000";
const VP9_KEY: &str = "824983420027f01676063824";
const OPUS: &str = "4f707573486561640102380180bb0000000000";
/// ffmpeg, 5.1 at 384 kbit/s.
const AC3: &str = "0b771e8b1c40ebf8403e";
const EAC3: &str = "0b7702ff3f87c0002080";
const FLAC: &str = "040004000000530001750bb802f0000038401201fa4a58a117c6c9873a85739f96e9";

fn hex(text: &str) -> Bytes {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap() as u8;
    text.as_bytes().chunks(2).map(|two| digit(&two[0]) << 4 | digit(&two[1])).collect()
}

fn eac3() -> ac3::EnhancedConfig {
    let mut frame = hex(EAC3).to_vec();
    frame.resize(ac3::Header::parse(&frame).unwrap().size, 0);
    ac3::EnhancedConfig::from_access_unit(&frame).unwrap()
}

fn video_codecs() -> [(CodecConfig, &'static str); 3] {
    let vp9 = vp9::Config::parse(hex(VP9)).unwrap().changed_by(&hex(VP9_KEY)).unwrap();
    [
        (CodecConfig::Hevc(hevc::Config::parse(hex(HEVC)).unwrap()), "hvc1.2.4.L123.90"),
        (CodecConfig::Av1(av1::Config::parse(hex(AV1)).unwrap()), "av01.0.01M.10.0.110.09.16.09.0"),
        (CodecConfig::Vp9(vp9), "vp09.00.21.08"),
    ]
}

fn audio_codecs() -> [(CodecConfig, &'static str); 4] {
    [
        (CodecConfig::Opus(opus::Config::parse(&hex(OPUS)).unwrap()), "Opus"),
        (CodecConfig::Ac3(ac3::Config::from_frame(&hex(AC3)).unwrap()), "ac-3"),
        (CodecConfig::Eac3(eac3()), "ec-3"),
        (CodecConfig::Flac(flac::Config::parse(&hex(FLAC)).unwrap()), "fLaC"),
    ]
}

/// Audio frames of `lasts` samples each, as an Opus packet of 20 ms says itself.
fn coded(codec: &CodecConfig, lasts: i64, length: i64) -> Vec<Frame> {
    let scale = codec.timescale();
    let count = TimeDelta::from_millis(length).whole(scale.delta(lasts));
    let frame = |n: i64| {
        let at = Timestamp::ZERO + scale.delta(n * lasts);
        let payload = [&[0xfc], n.to_be_bytes().as_slice()].concat().into();
        Frame { track: AUDIO, dts: at, pts: at, access: Access::Independent, payload }
    };
    (0..count).map(frame).collect()
}

fn init_of(fed: &Fed, rendition: RenditionId) -> &Init {
    let found = fed.events.iter().find_map(|event| match event {
        Event::Init(init) if init.rendition == rendition => Some(init),
        _ => None,
    });
    found.unwrap()
}

fn multivariant(fed: &Fed) -> String {
    let mut window = Window::new();
    fed.events.iter().for_each(|event| window.apply(event));
    let (playback, broadcast) = ("play".parse().unwrap(), "cast".parse().unwrap());
    let options = MultivariantOptions { playback: &playback, broadcast: &broadcast, query: Query::default() };
    window.multivariant_playlist().render(&options)
}

/// Checks with an independent parser that the init section holds the record unchanged.
fn assert_described(init: &Init, codec: &CodecConfig, named: &str) -> Moov {
    assert!(init.bytes.windows(codec.record().len()).any(|window| window == codec.record()), "{named}");
    assert_eq!(init.format.codec, named);
    let mut rest = init.bytes.as_ref();
    mp4_atom::Ftyp::decode(&mut rest).unwrap();
    Moov::decode(&mut rest).unwrap()
}

#[test]
fn video_of_every_codec() {
    for (codec, named) in video_codecs() {
        let mut fed = Fed::new(LatencyMode::Low, &[Track::new(VIDEO, codec.clone())]);
        fed.push(Video { length: 5_000, ..Video::default() }.make());
        check(fed.end(), STRICT);
        let moov = assert_described(init_of(&fed, RenditionId::VIDEO), &codec, named);
        let trak = &moov.trak[0];
        let visual = trak.mdia.minf.stbl.stsd.codecs[0].visual().unwrap();
        let size = codec.resolution().unwrap();
        assert_eq!((u32::from(visual.width), u32::from(visual.height)), size);
        let text = multivariant(&fed);
        assert!(text.contains(&format!("CODECS=\"{named}\",RESOLUTION={}x{}", size.0, size.1)), "{text}");
        let pq = !named.starts_with("vp09");
        assert_eq!(text.contains(",VIDEO-RANGE=PQ"), pq, "{text}");
    }
}

#[test]
fn hdr_is_signalled_to_decoders_too() {
    let (codec, _) = video_codecs()[0].clone();
    let mut fed = Fed::new(LatencyMode::Low, &[Track::new(VIDEO, codec)]);
    fed.push(Video { length: 2_000, ..Video::default() }.make()).end();
    let bytes = &init_of(&fed, RenditionId::VIDEO).bytes;
    let at = bytes.windows(4).position(|window| window == Colr::KIND.as_ref()).unwrap();
    let colr = Colr::decode(&mut &bytes[at - 4..]).unwrap();
    assert_eq!(colr, Colr::new(9, 16, 9, false).unwrap());
}

#[test]
fn audio_of_every_codec() {
    for (codec, named) in audio_codecs() {
        let lasts = i64::from(codec.packet_samples(&[0xfc, 0]).or(codec.samples_per_frame()).unwrap());
        for mode in [LatencyMode::Low, LatencyMode::Standard] {
            let mut fed = Fed::new(mode, &[video_track(), Track::new(AUDIO, codec.clone())]);
            fed.push(mux([Video { length: 8_000, ..Video::default() }.make(), coded(&codec, lasts, 8_000)]));
            check(fed.end(), STRICT);
            let moov = assert_described(init_of(&fed, RenditionId::AUDIO), &codec, named);
            assert_eq!(moov.trak[0].mdia.mdhd.timescale, codec.sample_rate().unwrap());
            let channels = codec.channels().unwrap();
            let text = multivariant(&fed);
            assert!(text.contains(&format!("CODECS=\"avc1.64001F,{named}\"")), "{text}");
            assert!(text.contains(&format!("CHANNELS=\"{channels}\"")), "{text}");
        }
    }
}

#[test]
fn opus_packets_of_other_durations_stay_aligned() {
    let (codec, _) = audio_codecs()[0].clone();
    for mode in [LatencyMode::Low, LatencyMode::Standard] {
        let mut fed = Fed::new(mode, &[video_track(), Track::new(AUDIO, codec.clone())]);
        let scale = codec.timescale();
        let (mut at, mut frames) = (0, Vec::new());
        while at < 12 * 48_000 {
            // 20 ms, then 60 ms, then 2.5 ms, each for four seconds.
            let first: u8 = [0xfc, 0x1c, 0xe4][usize::try_from(at / (4 * 48_000)).unwrap()];
            let payload = Bytes::from(vec![first, 0, (at % 251) as u8]);
            let dts = scale.timestamp(at);
            at += i64::from(codec.packet_samples(&payload).unwrap());
            frames.push(Frame { track: AUDIO, dts, pts: dts, access: Access::Independent, payload });
        }
        fed.push(mux([Video { length: 12_000, ..Video::default() }.make(), frames]));
        check(fed.end(), common::check::Rules { full_parts: false, ..STRICT });
    }
}

#[test]
fn each_audio_codec_has_a_variant_of_its_own() {
    let ac3 = audio_codecs()[1].0.clone();
    let english =
        Track { language: media::Language::new(*b"eng"), ..Track::new(common::source::audio_id(1), ac3.clone()) };
    let tracks = [video_track(), audio_track_in(0, 48_000, b"eng"), english, audio_track_in(2, 48_000, b"deu")];
    let mut fed = Fed::new(LatencyMode::Low, &tracks);
    let second = on_track(1, coded(&ac3, 1_536, 5_000));
    let third = on_track(2, audio(48_000, 0, 5_000));
    fed.push(mux([Video { length: 5_000, ..Video::default() }.make(), audio(48_000, 0, 5_000), second, third]));
    check(fed.end(), STRICT);
    let text = multivariant(&fed);
    let lines: Vec<_> = text.lines().filter(|line| line.contains("AUDIO")).collect();
    let ids = |line: &str| line.split("GROUP-ID=\"").nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned);
    let groups: Vec<_> = lines.iter().filter_map(|line| ids(line)).collect();
    assert_eq!(groups, ["audio", "audio", "audio-ac-3"]);
    let variants: Vec<_> = lines.iter().filter(|line| line.contains("STREAM-INF")).collect();
    assert!(variants[0].contains("CODECS=\"avc1.64001F,mp4a.40.2\"") && variants[0].contains("AUDIO=\"audio\""));
    assert!(variants[1].contains("CODECS=\"avc1.64001F,ac-3\"") && variants[1].contains("AUDIO=\"audio-ac-3\""));
    assert!(lines[2].contains("NAME=\"English\",LANGUAGE=\"en\",DEFAULT=YES"), "{}", lines[2]);
}
