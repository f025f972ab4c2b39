//! A transcoded programme of one contribution: its loudness, and that it is complete.

use std::process::Command;

use serde_json::{Value, json};

use crate::encoder_change::Record;
use crate::support::{Clip, Encoder, Rendition, Server, Stream, clip, fragments, shared, timescale, until};

/// Duration of a contribution, in seconds.
const LENGTH: u32 = 14;
/// Seconds after which its loudness has settled.
const SETTLED: f64 = 6.0;
/// The target loudness, in LUFS.
const TARGET: f64 = -24.0;

/// Creates a live stream of quality `plus` that ends with its encoder.
fn transcoded(server: &Server, latency_mode: &str, assets: Value) -> Stream {
    let mut settings = json!({ "video_quality": "plus" });
    settings.as_object_mut().expect("an object").extend(assets.as_object().cloned().unwrap_or_default());
    server.api().create(latency_mode, json!({ "reconnect_window": 0, "new_asset_settings": settings }))
}

/// Pushes black video and a tone of `loudness` LUFS.
fn push_tone(server: &Server, stream: &Stream, loudness: f64) -> Encoder {
    // A sine on both channels has the loudness of its level. ffmpeg's sine is at an eighth, and loses 3 dB in the mix
    // to stereo.
    let gain = loudness + 20.0 * 8.0f64.log10() + 20.0 * 2.0f64.sqrt().log10();
    let arguments = format!(
        "-re -f lavfi -i color=black:size=320x180:rate=25 -f lavfi -i sine=frequency=997:sample_rate=48000 -t {LENGTH} \
         -af volume={gain}dB -c:v libx264 -preset ultrafast -g 25 -c:a aac -ac 2 -f flv {}",
        server.rtmp_url(&stream.key)
    );
    Encoder::ffmpeg(&arguments.split_whitespace().collect::<Vec<_>>())
}

/// Records everything that a playlist lists until its end.
fn record_to_end(rendition: Rendition) -> Record {
    let mut record = Record::new(rendition);
    until("the end of the list", || {
        record.reload();
        record.rendition.playlist().ended.then_some(())
    });
    record.reload();
    record
}

/// Returns the number of samples and their duration in seconds.
fn contents(record: &Record) -> (u32, f64) {
    let scale = timescale(&record.rendition.fetch(&record.segments[0].segment.map).body);
    let bodies = record.segments.iter().map(|listed| record.rendition.fetch(&listed.segment.uri).body);
    let all: Vec<_> = bodies.flat_map(|body| fragments(&body)).collect();
    let ticks: u64 = all.iter().map(|fragment| fragment.duration).sum();
    (all.iter().map(|fragment| fragment.samples).sum(), ticks as f64 / f64::from(scale))
}

/// Returns the loudness that ffmpeg measures after [`SETTLED`] seconds, in LUFS.
fn loudness(record: &Record) -> f64 {
    let mut bytes = record.rendition.fetch(&record.segments[0].segment.map).body.to_vec();
    for listed in record.segments.iter().filter(|listed| listed.start() - record.segments[0].start() >= SETTLED) {
        bytes.extend_from_slice(&record.rendition.fetch(&listed.segment.uri).body);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("audio.mp4");
    std::fs::write(&file, bytes).expect("a file");
    let run = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostdin", "-nostats", "-i"])
        .arg(&file)
        .args(["-af", "ebur128", "-f", "null", "-"])
        .output()
        .expect("ffmpeg runs");
    let output = String::from_utf8_lossy(&run.stderr).into_owned();
    let summary = output.rsplit_once("Integrated loudness:").map_or("", |(_, summary)| summary);
    let fields = summary.split_whitespace().skip_while(|word| *word != "I:").nth(1);
    fields.and_then(|field| field.parse().ok()).unwrap_or_else(|| panic!("no loudness: {output}"))
}

#[test]
fn audio_is_normalized_to_the_target_loudness_on_request() {
    let _machine = shared();
    let server = Server::start();
    let asked = [(-40.0, true, TARGET), (-5.0, true, TARGET), (-35.0, false, -35.0)];
    let running = asked.map(|(loudness, normalize, wanted)| {
        let stream = transcoded(&server, "reduced", json!({ "normalize_audio": normalize }));
        (push_tone(&server, &stream, loudness), stream, wanted)
    });
    for (_encoder, stream, wanted) in running {
        let renditions = server.playback(&stream).renditions();
        let audio = renditions.into_iter().find(|rendition| rendition.kind == "audio").expect("an audio rendition");
        let found = loudness(&record_to_end(audio));
        assert!((found - wanted).abs() <= 1.0, "{found} LUFS instead of {wanted}");
    }
}

#[test]
fn a_contribution_is_transcoded_to_its_last_frame() {
    const SECONDS: u32 = 8;
    let _machine = shared();
    let server = Server::start();
    // With B-frames and lookahead, most media is buffered in the encoders when the contribution ends.
    let stream = transcoded(&server, "standard", json!({}));
    let file = clip(&Clip { b_frames: 2, ..Clip::plain(SECONDS) });
    let mut encoder = Encoder::push_copy(&file, &server.rtmp_url(&stream.key));
    // Only the reference rendition, which is listed first here, and the audio, because a busy machine may shed the
    // other rendition.
    let mut renditions = server.playback(&stream).renditions();
    let reference = renditions.iter().position(|rendition| rendition.kind == "video").expect("a video rendition");
    let reference = renditions.swap_remove(reference);
    let audio = renditions.into_iter().find(|rendition| rendition.kind == "audio").expect("an audio rendition");
    let records = [reference, audio].map(record_to_end);
    encoder.wait_for_success();
    for record in &records {
        record.assert_continuous();
        let (count, length) = contents(record);
        let path = &record.rendition.path;
        // On a busy machine the programme may last a moment longer, and may lack frames.
        let max = f64::from(SECONDS) + 1.0;
        assert!((f64::from(SECONDS) - 0.03..max).contains(&length), "{path}: {length} s");
        assert!(record.rendition.kind == "audio" || count > SECONDS * 28, "{path}: {count} frames");
    }
}
