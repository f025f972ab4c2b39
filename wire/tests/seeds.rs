//! The seeds of the fuzz targets, which are data of real encoders, through the fuzz bodies and a session.

use std::fs;
use std::path::Path;

use wire::Item;
use wire::fuzz;
use wire::rtmp::client;
use wire::rtmp::handshake::CLIENT_LEN;
use wire::rtmp::server::{Config, Event, RANDOM_LEN, Session};
use wire::ts::{Demuxer, Limits};

/// Name and body of a target.
type Target = (&'static str, fn(&[u8]));

/// Returns the seeds of a target, by name.
#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
}

#[test]
fn every_target_takes_its_seeds() {
    let targets: [Target; 11] = [
        ("rtmp_handshake", fuzz::rtmp_handshake),
        ("rtmp_chunks", fuzz::rtmp_chunks),
        ("amf0", fuzz::amf0),
        ("flv_tags", fuzz::flv_tags),
        ("rtmp_session", fuzz::rtmp_session),
        ("rtmp_client", fuzz::rtmp_client),
        ("srt_target", fuzz::srt_target),
        ("ts", fuzz::ts),
        ("ts_mux", fuzz::ts_mux),
        ("psi", fuzz::psi),
        ("pes", fuzz::pes),
    ];
    for (name, body) in targets {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name}");
        seeds.iter().for_each(|(_, bytes)| body(bytes));
    }
}

#[test]
fn real_encoders_are_understood() {
    // The first kilobyte of ffmpeg 5.1, of GStreamer 1.22's rtmp2sink and rtmpsink, and of one of our own, short for
    // the fuzzer.
    for (name, bytes) in seeds("rtmp_session") {
        let mut session = Session::new(Config::default(), [0; RANDOM_LEN]);
        let mut hello = vec![3];
        hello.resize(CLIENT_LEN as usize, 0);
        session.input(&hello).unwrap();
        session.input(&bytes).unwrap();
        let Some(Event::Publish(publish)) = session.poll() else { panic!("{name} publishes") };
        assert_eq!((publish.app.as_str(), publish.key.reveal()), ("app", "KEY-1"), "{name}");
        session.accept().unwrap();
        assert!(matches!(session.poll(), Some(Event::Metadata(m)) if m.get("width").is_some()), "{name}");
    }
}

#[test]
fn real_servers_are_understood() {
    // The answers of `ffmpeg -listen` 5.1 and of nginx with its RTMP module.
    for (name, bytes) in seeds("rtmp_client") {
        let target = client::Target::parse("rtmp://localhost/app", "key").unwrap();
        let mut session = client::Session::new(client::Config::default(), target, [0; RANDOM_LEN]);
        let mut hello = vec![3];
        hello.resize(CLIENT_LEN as usize, 0);
        session.input(&hello).unwrap();
        session.input(&bytes).unwrap();
        assert_eq!((session.poll(), session.poll()), (Some(client::Event::Published), None), "{name}");
    }
}

#[test]
fn transport_streams_of_ffmpeg_are_understood() {
    // The beginnings of streams of ffmpeg 5.1; each track with its codec, language and number of frames.
    let expected = [
        ("avc", vec![("avc1.42C00A", "", 5)]),
        ("avc_aac", vec![("mp4a.40.2", "eng", 1), ("mp4a.40.2", "deu", 1)]),
        ("hevc_ac3_eac3", vec![("hvc1.1.6.L30.90", "", 2), ("ac-3", "eng", 2), ("ec-3", "", 2)]),
        ("opus_latm", vec![("Opus", "eng", 1), ("mp4a.40.2", "deu", 1)]),
    ];
    let seeds = seeds("ts");
    for (name, tracks) in expected {
        let (_, bytes) = seeds.iter().find(|(seed, _)| seed == name).unwrap();
        let (mut demuxer, mut items) = (Demuxer::new(Limits::default()), Vec::new());
        demuxer.push(bytes, &mut items).unwrap();
        demuxer.finish(&mut items);
        let frames = |id| items.iter().filter(|item| matches!(item, Item::Frame(frame) if frame.track == id)).count();
        let found: Vec<_> = items
            .iter()
            .filter_map(|item| match item {
                Item::Track(track) => Some((track.codec_string(), track.language, frames(track.id))),
                _ => None,
            })
            .collect();
        let found: Vec<_> = found
            .iter()
            .map(|(codec, language, frames)| {
                (codec.as_str(), language.as_ref().map_or("", |language| language.as_str()), *frames)
            })
            .collect();
        assert_eq!(found, tracks, "{name}");
    }
}
