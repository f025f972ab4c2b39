//! What viewers of an encoded programme get of one contribution: how loud it is, and all of it.

use std::process::Command;

use serde_json::{Value, json};

use crate::encoder_change::Record;
use crate::support::{Clip, Encoder, Rendition, Server, Stream, clip, fragments, shared, timescale, until};

/// Seconds that a contribution lasts, and after which its loudness has settled.
const LENGTH: u32 = 14;
const SETTLED: f64 = 6.0;
/// What sound is brought to, in LUFS.
const WANTED: f64 = -24.0;

/// A live stream of quality `plus` that ends with its encoder.
fn encoded(server: &Server, latency_mode: &str, assets: Value) -> Stream {
    let mut settings = json!({ "video_quality": "plus" });
    settings.as_object_mut().expect("an object").extend(assets.as_object().cloned().unwrap_or_default());
    server.api().create(latency_mode, json!({ "reconnect_window": 0, "new_asset_settings": settings }))
}

/// A dark picture and a tone of so many LUFS.
fn push_tone(server: &Server, stream: &Stream, loudness: f64) -> Encoder {
    // A sine on both channels is as loud as its level; ffmpeg's is at an eighth, and loses 3 dB on its way to two channels.
    let gain = loudness + 20.0 * 8.0f64.log10() + 20.0 * 2.0f64.sqrt().log10();
    let words = format!(
        "-re -f lavfi -i color=black:size=320x180:rate=25 -f lavfi -i sine=frequency=997:sample_rate=48000 -t {LENGTH} \
         -af volume={gain}dB -c:v libx264 -preset ultrafast -g 25 -c:a aac -ac 2 -f flv {}",
        server.rtmp_url(&stream.key)
    );
    Encoder::ffmpeg(&words.split_whitespace().collect::<Vec<_>>())
}

/// Everything that a playlist listed to its end.
fn to_its_end(rendition: Rendition) -> Record {
    let mut record = Record::new(rendition);
    until("the end of the list", || {
        record.reload();
        record.rendition.playlist().ended.then_some(())
    });
    record.reload();
    record
}

/// The samples in all of it, and how long they last in seconds.
fn contents(record: &Record) -> (u32, f64) {
    let scale = timescale(&record.rendition.fetch(&record.segments[0].segment.map).body);
    let bodies = record.segments.iter().map(|listed| record.rendition.fetch(&listed.segment.uri).body);
    let all: Vec<_> = bodies.flat_map(|body| fragments(&body)).collect();
    let ticks: u64 = all.iter().map(|fragment| fragment.duration).sum();
    (all.iter().map(|fragment| fragment.samples).sum(), ticks as f64 / f64::from(scale))
}

/// The loudness that ffmpeg measures once it has settled, in LUFS.
fn loudness(record: &Record) -> f64 {
    let mut bytes = record.rendition.fetch(&record.segments[0].segment.map).body.to_vec();
    for listed in record.segments.iter().filter(|listed| listed.start() - record.segments[0].start() >= SETTLED) {
        bytes.extend_from_slice(&record.rendition.fetch(&listed.segment.uri).body);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("sound.mp4");
    std::fs::write(&file, bytes).expect("a file");
    let run = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostdin", "-nostats", "-i"])
        .arg(&file)
        .args(["-af", "ebur128", "-f", "null", "-"])
        .output()
        .expect("ffmpeg runs");
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    let summary = said.rsplit_once("Integrated loudness:").map_or("", |(_, summary)| summary);
    let words = summary.split_whitespace().skip_while(|word| *word != "I:").nth(1);
    words.and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no loudness: {said}"))
}

#[test]
fn sound_is_brought_to_a_common_loudness_where_that_is_asked_for() {
    let _machine = shared();
    let server = Server::start();
    let asked = [(-40.0, true, WANTED), (-5.0, true, WANTED), (-35.0, false, -35.0)];
    let running = asked.map(|(loudness, normalize, wanted)| {
        let stream = encoded(&server, "reduced", json!({ "normalize_audio": normalize }));
        (push_tone(&server, &stream, loudness), stream, wanted)
    });
    for (_encoder, stream, wanted) in running {
        let renditions = server.playback(&stream).renditions();
        let sound = renditions.into_iter().find(|rendition| rendition.kind == "audio").expect("sound");
        let found = loudness(&to_its_end(sound));
        assert!((found - wanted).abs() <= 1.0, "{found} LUFS in the place of {wanted}");
    }
}

#[test]
fn all_of_a_contribution_comes_out_to_its_end() {
    const SECONDS: u32 = 8;
    let _machine = shared();
    let server = Server::start();
    // B-frames and pictures looked ahead at: here most is inside the encoders.
    let stream = encoded(&server, "standard", json!({}));
    let file = clip(&Clip { b_frames: 2, ..Clip::plain(SECONDS) });
    let mut encoder = Encoder::push_copy(&file, &server.rtmp_url(&stream.key));
    // The leader, which is listed first here, and the sound: a busy machine may shed the other.
    let mut renditions = server.playback(&stream).renditions();
    let leader = renditions.iter().position(|rendition| rendition.kind == "video").expect("pictures");
    let leader = renditions.swap_remove(leader);
    let sound = renditions.into_iter().find(|rendition| rendition.kind == "audio").expect("sound");
    let records = [leader, sound].map(to_its_end);
    encoder.wait_for_success();
    for record in &records {
        record.assert_continuous();
        let (count, length) = contents(record);
        let path = &record.rendition.path;
        // A machine that is busy may make the programme go on for a moment on its own, and leave out pictures.
        let most = f64::from(SECONDS) + 1.0;
        assert!((f64::from(SECONDS) - 0.03..most).contains(&length), "{path}: {length} s");
        assert!(record.rendition.kind == "audio" || count > SECONDS * 28, "{path}: {count} pictures");
    }
}
