//! Pictures that join an encoded programme of sound: who listens hears on, and who comes then sees them.

use std::time::Duration;

use serde_json::json;

use super::{BACK, encoded, grows};
use crate::encoder_change::Record;
use crate::players::{seconds, watch};
use crate::support::{BOUND, Encoder, MediaPlaylist, Server, alone, until, until_within};

/// Seconds that a viewer looks who comes when there are pictures.
const LOOKS: u64 = 5;

/// Pushes a tone, and pictures with it where they are wanted.
fn push(url: &str, pictures: bool) -> Encoder {
    let seen = if pictures { "-re -f lavfi -i testsrc2=size=640x360:rate=30" } else { "" };
    let words = format!(
        "{seen} -re -f lavfi -i sine=frequency=440:sample_rate=48000 -pix_fmt yuv420p -c:v libx264 -preset ultrafast -g 30 -c:a aac -ac 2 \
         -f flv {url}"
    );
    Encoder::ffmpeg(&words.split_whitespace().collect::<Vec<_>>())
}

#[test]
fn pictures_join_a_programme_of_sound() {
    let _machine = alone();
    let server = Server::start();
    let stream = encoded(&server, "low", json!({}));
    let url = server.rtmp_url(&stream.key);
    let mut speaker = push(&url, false);
    let playback = server.playback(&stream);
    let mut sound = Record::new(playback.main());
    sound.rendition.wait_for("three segments", |list| list.segments.len() >= 3);
    assert!(!playback.answer().text().contains("RESOLUTION"), "there are no pictures yet");
    let (address, time) = (server.playlist_url(&stream), seconds().to_string());
    let mut listener = Encoder::ffmpeg(&["-v", "warning", "-xerror", "-i", &address, "-t", &time, "-f", "null", "-"]);
    let mut browser = watch(&server, &stream, seconds(), &[]);
    sound.reload();
    speaker.kill();
    let _both = push(&url, true);
    until("pictures", || playback.answer().text().contains("RESOLUTION=640x360").then_some(()));
    assert!(browser.exit_status().is_none(), "it plays when they come");
    grows(&server, &stream, "live_pictures_total", BACK);
    until_within(BOUND + Duration::from_secs(seconds()), "the player to end", || {
        sound.reload();
        browser.exit_status()
    });
    browser.wait_for_success();
    listener.wait_for_success();
    let complaints: Vec<_> =
        listener.output().lines().filter(|line| line.contains("rror")).map(str::to_owned).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    let mut viewer = watch(&server, &stream, LOOKS, &[]);
    viewer.wait_for_success();
    assert!(viewer.output().contains("\"height\":360"), "{}", viewer.output());
    sound.reload();
    sound.assert_continuous();
    // The segments of all renditions are those of the sound.
    let breaks = |list: &MediaPlaylist| {
        let breaks = list.segments.iter().filter(|segment| segment.discontinuity).map(|segment| segment.number);
        breaks.collect::<Vec<_>>()
    };
    let renditions = playback.renditions();
    let all: Vec<_> = renditions.iter().map(|rendition| (rendition.kind, breaks(&rendition.playlist()))).collect();
    // A machine that is busy may shed a rung.
    assert!(all.len() >= 2 && all.iter().all(|(_, breaks)| breaks.len() == 1 && *breaks == all[0].1), "{all:?}");
}
