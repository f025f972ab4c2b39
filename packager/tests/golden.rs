//! Golden init sections, fragments and playlists. `UPDATE_GOLDEN=1 cargo test -p packager --test golden` rewrites them;
//! read the difference before you commit it.

mod common;

use std::fmt::Write;
use std::path::Path;

use common::source::{Fed, Video, audio, audio_track, mux, video_track};
use media::LatencyMode::{self, Low, Standard};
use media::TimeDelta;
use media::id::{BroadcastId, PlaybackId};
use packager::log::{Event, RenditionId, Targets};
use packager::playlist::{MediaOptions, MultivariantOptions};
use packager::uri::Query;
use packager::window::Window;

fn golden(name: &str, got: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let path = folder.join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        std::fs::write(&path, got).expect("the file can be written");
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(got, want, "{name} differs; UPDATE_GOLDEN=1 rewrites it");
}

fn hex(bytes: &[u8]) -> String {
    bytes.chunks(16).fold(String::new(), |mut out, line| {
        let hex: Vec<_> = line.iter().map(|b| format!("{b:02x}")).collect();
        let text = line.iter().map(|b| if b.is_ascii_graphic() { char::from(*b) } else { '.' });
        writeln!(out, "{:48}{}", hex.join(" "), text.collect::<String>()).expect("a String takes all");
        out
    })
}

/// A running broadcast of 37 s with a discontinuity after 31 s.
fn broadcast(mode: LatencyMode) -> (Fed, Window) {
    let mut fed = Fed::new(mode, &[video_track(), audio_track(48_000)]);
    let video = Video { reorder: true, length: 31_000, ..Video::default() };
    fed.push(mux([video.make(), audio(48_000, 0, 31_000)])).discontinuity();
    let video = Video { start: 32_000, length: 6_450, ..video };
    fed.push(mux([video.make(), audio(48_000, 32_000, 6_450)]));
    let mut window = Window::new();
    fed.events.iter().for_each(|event| window.apply(event));
    (fed, window)
}

#[test]
fn init_sections() {
    let (fed, _) = broadcast(Low);
    for event in &fed.events {
        if let Event::Init(init) = event {
            let name = if init.rendition == RenditionId::VIDEO { "init-video.hex" } else { "init-audio.hex" };
            golden(name, &hex(&init.bytes));
        }
    }
}

#[test]
fn fragments() {
    let (_, window) = broadcast(Low);
    let part = |rendition| hex(&window.part(rendition, 8, 1).unwrap().data.pieces().concat());
    golden("part-video.hex", &part(RenditionId::VIDEO));
    golden("part-audio.hex", &part(RenditionId::AUDIO));
}

#[test]
fn multivariant_playlists() {
    let (playback, broadcast_id): (PlaybackId, BroadcastId) = ("play".parse().unwrap(), "cast".parse().unwrap());
    let (_, window) = broadcast(Low);
    let options = MultivariantOptions { playback: &playback, broadcast: &broadcast_id, query: Query::default() };
    golden("multivariant.m3u8", &window.multivariant_playlist().render(&options));
    let query = Query { low_latency: false, extra: "token=a.b.c" };
    let options = MultivariantOptions { query, ..options };
    golden("multivariant-query.m3u8", &window.multivariant_playlist().render(&options));
}

#[test]
fn media_playlists() {
    let (_, window) = broadcast(Low);
    let media = |rendition, options: MediaOptions<'_>| {
        window.media_playlist(rendition).map(|list| list.render(&options)).unwrap()
    };
    golden("low-video.m3u8", &media(RenditionId::VIDEO, MediaOptions::default()));
    golden("low-audio.m3u8", &media(RenditionId::AUDIO, MediaOptions::default()));
    let skip = MediaOptions { skip: true, ..MediaOptions::default() };
    golden("low-video-delta.m3u8", &media(RenditionId::VIDEO, skip));
    let query = Query { low_latency: false, extra: "token=a.b.c" };
    golden("low-video-without-parts.m3u8", &media(RenditionId::VIDEO, MediaOptions { skip: false, query }));
}

#[test]
fn players_stay_back_by_the_longest_pause() {
    let (fed, _) = broadcast(Low);
    let mut window = Window::new();
    for event in &fed.events {
        let max_stall = TimeDelta::from_millis(300);
        match event {
            Event::Targets(targets) => window.apply(&Event::Targets(Targets { max_stall, ..*targets })),
            other => window.apply(other),
        }
    }
    let text = window.media_playlist(RenditionId::VIDEO).map(|list| list.render(&MediaOptions::default())).unwrap();
    assert!(text.contains("PART-TARGET=0.21800\n") && text.contains(",PART-HOLD-BACK=0.95400,"), "{text}");
}

#[test]
fn standard_playlists_and_their_end() {
    let (mut fed, mut window) = broadcast(Standard);
    let text = window.media_playlist(RenditionId::VIDEO).map(|list| list.render(&MediaOptions::default())).unwrap();
    golden("standard-video.m3u8", &text);
    let known = fed.events.len();
    fed.end();
    fed.events.iter().skip(known).for_each(|event| window.apply(event));
    let text = window.media_playlist(RenditionId::AUDIO).map(|list| list.render(&MediaOptions::default())).unwrap();
    golden("standard-audio-ended.m3u8", &text);
}
