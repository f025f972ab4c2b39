//! Video that starts later in a transcoded audio programme. Current players go on with the audio, and new players get
//! the video.

use std::time::Duration;

use serde_json::json;

use super::{LIVE_FRAMES, transcoded, wait_for_growth};
use crate::encoder_change::Record;
use crate::players::{seconds, watch};
use crate::support::{BOUND, Encoder, MediaPlaylist, Server, alone, until, until_within};

/// Seconds that a viewer watches who starts after the video.
const WATCH_SECONDS: u64 = 5;

/// Pushes a tone, with or without video.
fn push(url: &str, with_video: bool) -> Encoder {
    let video = if with_video { "-re -f lavfi -i testsrc2=size=640x360:rate=30" } else { "" };
    let arguments = format!(
        "{video} -re -f lavfi -i sine=frequency=440:sample_rate=48000 -pix_fmt yuv420p -c:v libx264 -preset ultrafast -g 30 -c:a aac -ac 2 \
         -f flv {url}"
    );
    Encoder::ffmpeg(&arguments.split_whitespace().collect::<Vec<_>>())
}

#[test]
fn video_joins_an_audio_programme() {
    let _machine = alone();
    let server = Server::start();
    let stream = transcoded(&server, "low", json!({}));
    let url = server.rtmp_url(&stream.key);
    let mut audio_encoder = push(&url, false);
    let playback = server.playback(&stream);
    let mut audio = Record::new(playback.main());
    audio.rendition.wait_for("three segments", |list| list.segments.len() >= 3);
    assert!(!playback.answer().text().contains("RESOLUTION"), "there is no video yet");
    let (address, time) = (server.playlist_url(&stream), seconds().to_string());
    let mut listener = Encoder::ffmpeg(&["-v", "warning", "-xerror", "-i", &address, "-t", &time, "-f", "null", "-"]);
    let mut browser = watch(&server, &stream, seconds(), &[]);
    audio.reload();
    audio_encoder.kill();
    let _encoder = push(&url, true);
    until("video", || playback.answer().text().contains("RESOLUTION=640x360").then_some(()));
    assert!(browser.exit_status().is_none(), "it is still playing when video starts");
    wait_for_growth(&server, &stream, "live_pictures_total", LIVE_FRAMES);
    until_within(BOUND + Duration::from_secs(seconds()), "the player to end", || {
        audio.reload();
        browser.exit_status()
    });
    browser.wait_for_success();
    listener.wait_for_success();
    let complaints: Vec<_> =
        listener.output().lines().filter(|line| line.contains("rror")).map(str::to_owned).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    let mut viewer = watch(&server, &stream, WATCH_SECONDS, &[]);
    viewer.wait_for_success();
    assert!(viewer.output().contains("\"height\":360"), "{}", viewer.output());
    audio.reload();
    audio.assert_continuous();
    // All renditions have the same segments as the audio.
    let discontinuities = |list: &MediaPlaylist| {
        let numbers = list.segments.iter().filter(|segment| segment.discontinuity).map(|segment| segment.number);
        numbers.collect::<Vec<_>>()
    };
    let renditions = playback.renditions();
    let all: Vec<_> =
        renditions.iter().map(|rendition| (rendition.kind, discontinuities(&rendition.playlist()))).collect();
    // A busy machine may shed a rendition.
    assert!(all.len() >= 2 && all.iter().all(|(_, numbers)| numbers.len() == 1 && *numbers == all[0].1), "{all:?}");
}
