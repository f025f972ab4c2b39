//! Every codec from a client to our own server: the same tracks, the same frames, and no payload copied.

use media::{Kind, Timescale, Timestamp, Track, TrackId};
use proptest::prelude::*;
use wire::Item;
use wire::amf0::Value;
use wire::flv::{VIDEO_TRACK, audio_track};
use wire::rtmp::client::{Config, TrackError};
use wire::rtmp::server;

use crate::support::{Pair, Script, assert_shared, client, file, of, only};

/// Every fixture, with the tracks that a server takes.
fn fixtures() -> Vec<(&'static str, Vec<Item>)> {
    let names = ["hevc_opus.flv", "av1_flac.flv", "vp9_ac3.flv", "multitrack.flv"];
    names.into_iter().map(|name| (name, file(name))).collect()
}

fn ids(items: &[Item]) -> Vec<TrackId> {
    let mut ids: Vec<_> = items.iter().filter_map(|i| if let Item::Track(t) = i { Some(t.id) } else { None }).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Returns the newest track of each id.
fn tracks(items: &[Item]) -> Vec<Track> {
    let newest = |id| {
        items.iter().rev().find_map(|i| if let Item::Track(t) = i { Some(t).filter(|t| t.id == id) } else { None })
    };
    ids(items).into_iter().filter_map(newest).cloned().collect()
}

fn assert_arrives(items: &[Item], config: Config, step: usize) {
    let mut pair = Pair::published(config, step);
    pair.send(items);
    let received = pair.received();
    assert_eq!(ids(&received), ids(items));
    for id in ids(items) {
        assert_eq!(of(&received, id), of(items, id), "{id:?}");
    }
    for item in items {
        if let Item::Frame(frame) = item {
            assert_shared(&pair.pieces, frame);
        }
    }
    pair.client.close();
    pair.run();
    assert!(pair.client.is_closed());
    assert_eq!(pair.server_events.last(), Some(&server::Event::Ended(server::End::Unpublished)));
}

#[test]
fn every_codec_arrives_as_it_was_sent() {
    for (name, items) in fixtures() {
        assert!(items.len() > 10, "{name}");
        assert_arrives(&items, Config::default(), usize::MAX);
    }
}

#[test]
fn byte_by_byte_and_in_chunks_of_one_byte() {
    let (_, items) = fixtures().remove(3);
    assert_arrives(&items, Config { chunk_size: 1, ..Config::default() }, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_chunk_size_and_split(
        which in 0usize..4,
        chunk_size in prop_oneof![1u32..300, Just(4_096), Just(65_536), Just(u32::MAX)],
        step in 1usize..5_000,
    ) {
        let (_, items) = fixtures().swap_remove(which);
        assert_arrives(&items, Config { chunk_size, ..Config::default() }, step);
    }
}

#[test]
fn the_clock_wraps_and_the_origin_is_zero() {
    let items = only(file("hevc_opus.flv"), |id| id == VIDEO_TRACK);
    let shifted = |by: i64| -> Vec<Item> {
        let shift = media::TimeDelta::from_millis(by);
        let mut items = items.clone();
        for item in &mut items {
            if let Item::Frame(frame) = item {
                (frame.dts, frame.pts) = (frame.dts + shift, frame.pts + shift);
            }
        }
        items
    };
    // Extended timestamps, and a wrap in the middle of the file.
    for at in [0xff_ff80, 0x0100_0000, 0xffff_ff80, 0xffff_ffff] {
        assert_arrives(&shifted(at), Config { chunk_size: 100, ..Config::default() }, 1_000);
    }
    let origin = Timescale::MILLIS.timestamp(5_000_000);
    let mut pair = Pair::published(Config::default(), 1_000);
    pair.client.set_origin(origin);
    pair.send(&shifted(5_000_000));
    assert_eq!(of(&pair.received(), VIDEO_TRACK), items.iter().collect::<Vec<_>>());
    // A frame before the origin is sent with time 0.
    let mut pair = Pair::published(Config::default(), 1_000);
    pair.client.set_origin(origin);
    pair.send(&shifted(4_999_990));
    let received = pair.received();
    let times = received
        .iter()
        .filter_map(|i| if let Item::Frame(f) = i { Some(Timescale::MILLIS.ticks(f.dts)) } else { None });
    assert_eq!(times.take(3).collect::<Vec<_>>(), [0, 30, 70]);
}

/// Returns a client whose server announces `properties`.
fn with_server(properties: Value, config: Config) -> wire::rtmp::client::Session {
    let mut session = client(config);
    let (events, err) = Script::published(properties).run(&mut session, usize::MAX);
    assert_eq!((events.len(), err), (1, None));
    session
}

#[test]
fn a_target_gets_only_what_it_announces() {
    let all = |name| tracks(&file(name));
    let announce = |properties: Value, config: Config, tracks: &[Track]| {
        with_server(properties, config).announce(tracks, Timestamp::ZERO)
    };
    let plain = || Value::object([("fmsVer", "FMS/3,0,1,123".into())]);
    let listed = |name: &str, four_cc: &str| match name {
        "fourCcList" => Value::object([(name, Value::StrictArray(vec![four_cc.into()]))]),
        _ => Value::object([(name, Value::object([(four_cc, 4.0.into())]))]),
    };
    for name in ["hevc_opus.flv", "av1_flac.flv", "vp9_ac3.flv"] {
        for track in all(name) {
            let error = TrackError::Codec { track: track.id, codec: track.codec.name() };
            let track = [track];
            assert_eq!(announce(plain(), Config::default(), &track), Err(error), "{name}");
            let maps = [
                "fourCcList",
                if track[0].kind() == Kind::Video { "videoFourCcInfoMap" } else { "audioFourCcInfoMap" },
            ];
            for map in maps {
                for four_cc in [track[0].codec_string().get(..4).unwrap_or_default(), "*"] {
                    assert_eq!(announce(listed(map, four_cc), Config::default(), &track), Ok(()), "{map} {four_cc}");
                }
            }
            assert_eq!(announce(listed("fourCcList", "xxxx"), Config::default(), &track), Err(error));
        }
    }
    let hevc = only_video(all("hevc_opus.flv"));
    let legacy = Config { legacy_hevc: true, ..Config::default() };
    assert_eq!(announce(plain(), legacy.clone(), &hevc), Ok(()));
    let several = all("multitrack.flv");
    assert_eq!(announce(plain(), Config::default(), &several[..2]), Ok(()), "H.264 and AAC need no announcement");
    let error = TrackError::Multitrack { track: audio_track(1) };
    assert_eq!(announce(listed("fourCcList", "*"), Config::default(), &several), Err(error));
    let mut session = client(Config::default());
    assert_eq!(session.announce(&several, Timestamp::ZERO), Err(TrackError::NotPublishing));
    let mut session = with_server(plain(), legacy);
    let items = file("hevc_opus.flv");
    let frame = items.iter().find_map(|i| if let Item::Frame(f) = i { Some(f) } else { None }).expect("a frame");
    assert_eq!(session.send(frame), Err(TrackError::Unknown(frame.track)));
    session.close();
    assert_eq!(session.send(frame), Err(TrackError::NotPublishing));
}

fn only_video(tracks: Vec<Track>) -> Vec<Track> {
    tracks.into_iter().filter(|track| track.kind() == Kind::Video).collect()
}

#[test]
fn hevc_as_codec_id_12_if_configured() {
    let items = only(file("hevc_opus.flv"), |id| id == VIDEO_TRACK);
    let mut session = with_server(Value::Null, Config { legacy_hevc: true, ..Config::default() });
    session.take_output();
    let mut pair = Pair::published(Config { legacy_hevc: true, ..Config::default() }, 1_000);
    session.announce(&tracks(&items), Timestamp::ZERO).unwrap();
    for item in &items {
        if let Item::Frame(frame) = item {
            session.send(frame).unwrap();
        }
    }
    // Our server announces HEVC, so its side is fed with the bytes for the one that does not.
    let sent = session.take_output().concat();
    pair.server.input(&[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 1, 0, 0]).unwrap();
    pair.server.input(&sent).unwrap();
    pair.server_events.extend(std::iter::from_fn(|| pair.server.poll()));
    assert_eq!(pair.received(), items);
    let first = |event: &server::Event| matches!(event, server::Event::Media(_));
    assert!(pair.server_events.iter().any(first));
}

#[test]
fn metadata_is_made_from_the_tracks() {
    let mut pair = Pair::published(Config::default(), 1_000);
    let tracks = tracks(&file("multitrack.flv"));
    pair.client.announce(&tracks, Timestamp::ZERO).unwrap();
    pair.client.announce(&tracks, Timestamp::ZERO).unwrap();
    pair.run();
    let metadata: Vec<_> = pair
        .server_events
        .iter()
        .filter_map(|e| if let server::Event::Metadata(m) = e { Some(m) } else { None })
        .collect();
    assert_eq!(metadata.len(), 1, "the same is not sent again");
    let number = |name: &str| metadata[0].get(name).and_then(Value::as_f64);
    assert_eq!((number("videocodecid"), number("audiocodecid")), (Some(7.0), Some(10.0)));
    let (width, height) = tracks[0].codec.resolution().expect("a size");
    assert_eq!((number("width"), number("height")), (Some(width.into()), Some(height.into())));
    assert_eq!(number("audiosamplerate"), tracks[1].codec.sample_rate().map(f64::from));
    let further = metadata[0].get("audioTrackIdInfoMap").expect("further tracks");
    let opus = further.get("1").and_then(|track| track.get("audiocodecid")).and_then(Value::as_f64);
    assert_eq!(opus, Some(f64::from(u32::from_be_bytes(*b"Opus"))));
    assert!(further.get("2").is_some() && metadata[0].get("videoTrackIdInfoMap").is_none());
    let headers = pair.server_events.iter().filter(|e| matches!(e, server::Event::Media(_))).count();
    assert_eq!(headers, tracks.len());
}
