//! Encoded programmes: renditions on one timeline, and viewers who never notice that the encoder was away.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::players::{player_folder, seconds};
use crate::rejoin::{AV1, AVC, By, HEVC, Record, Turn};
use crate::support::{BOUND, Encoder, Server, Stream, alone, ffmpeg9, shared, until, until_within};

/// Segments of each encoder that are looked at.
const ENOUGH: usize = 2;
/// A frame at 30 frames a second, and what rounding adds.
const FRAME: f64 = 0.034;
/// Pictures of the slate after which it is taken for seen.
const SLATES: u64 = 45;
/// Live pictures after which an encoder is taken for back.
const BACK: u64 = 60;

const FIRST: Turn = Turn { by: By::Rtmp, size: "640x360", encoder: AVC, codec: "avc1." };
const LARGER: Turn = Turn { by: By::Srt, size: "1280x720", encoder: AVC, codec: "avc1." };
const OTHERS: [Turn; 3] = [
    LARGER,
    Turn { by: By::Rtmp, size: "640x360", encoder: AV1, codec: "av01." },
    Turn { by: By::Srt, size: "1280x720", encoder: HEVC, codec: "hvc1." },
];

/// A live stream that is encoded, with a slate for its gaps.
fn encoded(server: &Server, latency_mode: &str, more: Value) -> Stream {
    let mut settings = json!({
        "reconnect_window": 60,
        "use_slate_for_standard_latency": true,
        "new_asset_settings": { "video_quality": "plus" },
    });
    let fields = settings.as_object_mut().expect("an object");
    fields.extend(more.as_object().cloned().unwrap_or_default());
    server.api().create(latency_mode, settings)
}

/// A counter of the ladder.
fn counter(server: &Server, stream: &Stream, name: &str) -> u64 {
    let metrics = server.client().get("/metrics").text();
    let head = format!("weir_ladder_{name}{{live_stream=\"{}\"}} ", stream.id);
    metrics.lines().find_map(|line| line.strip_prefix(&head)).map_or(0, |value| value.parse().expect("a number"))
}

/// Waits until a counter of the ladder has grown by so much.
fn grows(server: &Server, stream: &Stream, name: &str, by: u64) {
    let before = counter(server, stream, name);
    until(&format!("{by} more of {name}"), || (counter(server, stream, name) >= before + by).then_some(()));
}

#[test]
fn renditions_share_one_timeline() {
    let _machine = shared();
    let server = Server::start();
    let stream = encoded(&server, "low", json!({}));
    let _encoder = Turn { by: By::Rtmp, ..LARGER }.push(&server, &stream);
    let playback = server.playback(&stream);
    let listed = until("all renditions", || {
        let text = playback.answer().text();
        (text.matches("#EXT-X-STREAM-INF").count() >= 3).then_some(text)
    });
    for size in ["1280x720", "852x480", "480x270"] {
        assert!(listed.contains(&format!("RESOLUTION={size}")), "{size} is not in {listed}");
    }
    let mut records: Vec<_> = playback.renditions().into_iter().map(Record::new).collect();
    assert_eq!(records.len(), 4, "{listed}");
    until("segments of all renditions", || {
        records.iter_mut().for_each(Record::reload);
        records.iter().all(|record| record.segments.len() > ENOUGH).then_some(())
    });
    let leader: Vec<f64> = starts(records.iter().find(|record| record.rendition.kind == "video").expect("pictures"));
    for record in &records {
        record.assert_continuous();
        let apart = starts(record).into_iter().zip(&leader).map(|(one, other)| (one - other).abs());
        let most = if record.rendition.kind == "video" { 0.001 } else { FRAME };
        assert!(apart.clone().all(|apart| apart <= most), "{}: {:?}", record.rendition.path, apart.collect::<Vec<_>>());
    }
}

fn starts(record: &Record) -> Vec<f64> {
    record.segments.iter().map(super::rejoin::Listed::start).collect()
}

/// Encoders vanish and come back as others; the playlists know nothing of it.
fn assert_nothing_breaks(latency_mode: &str) {
    let _machine = shared();
    let server = Server::start();
    let stream = encoded(&server, latency_mode, json!({}));
    OTHERS.iter().for_each(|turn| drop(turn.file()));
    let mut encoder = FIRST.push(&server, &stream);
    let mut records: Vec<_> = server.playback(&stream).renditions().into_iter().map(Record::new).collect();
    let mut look = || records.iter_mut().for_each(Record::reload);
    for turn in &OTHERS {
        encoder.kill();
        look();
        grows(&server, &stream, "slate_pictures_total", SLATES);
        assert_eq!(server.api().status(&stream), "active");
        encoder = turn.push(&server, &stream);
        grows(&server, &stream, "live_pictures_total", BACK);
        look();
    }
    // A stopped encoder keeps its connection.
    encoder.freeze();
    grows(&server, &stream, "slate_pictures_total", SLATES);
    encoder.thaw();
    grows(&server, &stream, "live_pictures_total", BACK);
    look();
    for record in &records {
        assert_eq!(record.runs().len(), 1, "{} breaks", record.rendition.path);
        assert_eq!(record.segments[0].segment.map, record.segments.last().expect("a segment").segment.map);
        record.assert_continuous();
    }
}

#[test]
fn nothing_breaks_in_low() {
    assert_nothing_breaks("low");
}

#[test]
fn nothing_breaks_in_standard() {
    assert_nothing_breaks("standard");
}

#[test]
fn hls_js_plays_through_a_lost_encoder() {
    let _machine = alone();
    let server = Server::start();
    let stream = encoded(&server, "low", json!({}));
    drop(LARGER.file());
    let mut first = FIRST.push(&server, &stream);
    server.playback(&stream).main().wait_for("three segments", |list| list.segments.len() >= 3);
    let (script, time) = (format!("{}/play.mjs", player_folder()), (seconds() + 10).to_string());
    let mut player = Encoder::run("node", &[&script, "watch", &server.watch_url(&stream), &time]);
    until("the player to play", || player.output().contains("playing").then_some(()));
    first.kill();
    grows(&server, &stream, "slate_pictures_total", SLATES);
    let second = LARGER.push(&server, &stream);
    grows(&server, &stream, "live_pictures_total", BACK);
    second.freeze();
    grows(&server, &stream, "slate_pictures_total", SLATES);
    second.thaw();
    grows(&server, &stream, "live_pictures_total", BACK);
    let time = BOUND + Duration::from_secs(seconds());
    let status = until_within(time, "the player to end", || player.exit_status());
    assert!(status.success(), "{}", player.output());
}

#[test]
fn ffmpeg_plays_through_a_lost_encoder_to_the_end() {
    let _machine = shared();
    let server = Server::start();
    let stream = encoded(&server, "reduced", json!({ "reconnect_window": 6 }));
    let mut first = FIRST.push(&server, &stream);
    server.playback(&stream).main().wait_for("two segments", |list| list.segments.len() >= 2);
    // What a decoder complains of is an error here.
    let url = server.playlist_url(&stream);
    let mut player =
        Encoder::ffmpeg(&["-v", "warning", "-xerror", "-i", &url, "-map", "0:v:0", "-map", "0:a:0", "-f", "null", "-"]);
    grows(&server, &stream, "live_pictures_total", BACK);
    first.kill();
    grows(&server, &stream, "slate_pictures_total", SLATES);
    let mut second = LARGER.push(&server, &stream);
    grows(&server, &stream, "live_pictures_total", BACK);
    second.kill();
    server.api().wait_for(&stream, "idle");
    let ended = server.playback(&stream).main().wait_for("the end of the list", |list| list.ended);
    assert!(!ended.segments.iter().any(|segment| segment.discontinuity), "{}", ended.text);
    player.wait_for_success();
    let complaints: Vec<_> = player
        .output()
        .lines()
        .filter(|line| line.contains("error") || line.contains("Invalid"))
        .map(str::to_owned)
        .collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[test]
fn flac_is_heard() {
    let _machine = shared();
    let server = Server::start();
    let stream = encoded(&server, "low", json!({}));
    let words = "-hide_banner -nostdin -nostats -re -f lavfi -i testsrc2=size=640x360:rate=30 -f lavfi -i sine=frequency=440:sample_rate=48000 \
                 -pix_fmt yuv420p -c:v libx264 -preset ultrafast -g 30 -c:a flac -f flv";
    let words: Vec<_> = words.split_whitespace().collect();
    let _encoder = Encoder::run(ffmpeg9(), &[&words[..], &[&server.rtmp_url(&stream.key)]].concat());
    grows(&server, &stream, "live_pictures_total", BACK);
    assert_eq!(counter(&server, &stream, "decoders_replaced_total"), 0);
    // Sound that could not be decoded would be counted as silence.
    let silent = counter(&server, &stream, "silent_samples_total");
    assert!(silent < 24_000, "{silent} samples of silence in two seconds");
}

/// A server of one picture, all red, and where it is.
fn red_picture() -> SocketAddr {
    let words = "-v error -f lavfi -i color=red:size=320x180 -frames:v 1 -f image2pipe -c:v png -";
    let png = Command::new("ffmpeg").args(words.split_whitespace()).output().expect("ffmpeg runs").stdout;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the fetch");
        let _request = stream.read(&mut [0; 4_096]).expect("a request");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", png.len());
        stream.write_all(&[head.as_bytes(), &png].concat()).expect("the answer is taken");
    });
    address
}

/// Red, green and blue of the newest picture, on average.
fn colour(server: &Server, stream: &Stream) -> Option<[u8; 3]> {
    let url = server.playlist_url(stream);
    let words = ["-v", "error", "-live_start_index", "-1", "-i", &url, "-map", "0:v:0", "-vf", "scale=1:1:flags=area"];
    let tail = ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"];
    let run = Command::new("ffmpeg").args(words).args(tail).output().expect("ffmpeg runs");
    run.stdout.first_chunk().copied()
}

#[test]
fn a_slate_of_the_owners_is_fetched_and_shown() {
    let _machine = shared();
    let server = Server::start_with(&[("WEIR_SLATE_ALLOW_PRIVATE", "true")]);
    let url = format!("http://{}/slate.png", red_picture());
    let stream = encoded(&server, "low", json!({ "reconnect_slate_url": url }));
    let mut encoder = FIRST.push(&server, &stream);
    let is_red = |[red, green, blue]: [u8; 3]| red > 200 && green < 60 && blue < 60;
    let live = until("a picture", || colour(&server, &stream));
    assert!(!is_red(live), "{live:?} is live");
    encoder.kill();
    until("the slate", || colour(&server, &stream).filter(|colour| is_red(*colour)));
    let _back = FIRST.push(&server, &stream);
    until("the live picture", || colour(&server, &stream).filter(|colour| !is_red(*colour)));
}

#[test]
fn a_slate_that_cannot_be_had_is_told_and_ours_is_shown() {
    let _machine = shared();
    let server = Server::start();
    let url = format!("http://{}/slate.png?token=hush", red_picture());
    let stream = encoded(&server, "low", json!({ "reconnect_slate_url": url }));
    let mut encoder = FIRST.push(&server, &stream);
    until("a warning", || server.log().contains("slate.allow_private").then_some(()));
    until("the event", || server.log().contains("video.live_stream.warning").then_some(()));
    assert!(!server.log().contains("hush"), "the address may hold a secret");
    server.playback(&stream).main().wait_for("a segment", |list| !list.segments.is_empty());
    encoder.kill();
    grows(&server, &stream, "slate_pictures_total", SLATES);
}
