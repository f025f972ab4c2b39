//! What programs of others make of the streams: ffmpeg and GStreamer.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use bytes::Bytes;
use media::{Frame, Metadata, MetadataKind, Timescale, TrackId};
use wire::Item;
use wire::ts::mux::Muxer;
use wire::ts::{FIRST_AUDIO_TRACK, VIDEO_TRACK};

use crate::material;

/// A stream in a file.
struct Written {
    path: PathBuf,
    items: Vec<Item>,
}

/// Writes the items to a file of this name.
fn written(name: &str, items: Vec<Item>) -> Written {
    let bytes = crate::write(&mut Muxer::default(), &items).unwrap();
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, bytes).unwrap();
    Written { path, items }
}

fn run(mut command: Command) -> Output {
    let output = command.output().expect("the program runs");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{command:?}: {complaints}");
    output
}

/// Returns the packets that ffmpeg finds, as (stream, DTS, PTS), without any error.
fn packets(written: &Written) -> Vec<(usize, i64, i64)> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-copyts", "-i"]).arg(&written.path);
    command.args(["-map", "0", "-c", "copy", "-f", "framecrc", "-"]);
    let text = String::from_utf8(run(command).stdout).unwrap();
    let mut bases = Vec::new();
    let mut packets = Vec::new();
    for line in text.lines() {
        if let Some((_, base)) = line.strip_prefix("#tb ").and_then(|rest| rest.split_once(": ")) {
            let (seconds, ticks) = base.split_once('/').unwrap();
            bases.push(90_000 * seconds.parse::<i64>().unwrap() / ticks.parse::<i64>().unwrap());
        }
        if line.starts_with('#') {
            continue;
        }
        let fields: Vec<i64> = line.split(',').map_while(|field| field.trim().parse().ok()).collect();
        let base = bases[fields[0] as usize];
        packets.push((fields[0] as usize, fields[1] * base, fields[2] * base));
    }
    packets
}

/// Asserts that ffmpeg finds all frames of the items at their times. Streams are in the order of the tracks.
fn ffmpeg_finds_all(written: &Written) {
    let found = packets(written);
    let mut ids: Vec<_> = written
        .items
        .iter()
        .filter_map(|item| if let Item::Track(track) = item { Some(track.id) } else { None })
        .collect();
    ids.dedup();
    for (stream, id) in ids.into_iter().enumerate() {
        let expected: Vec<_> = crate::frames(&written.items, id).iter().map(|(pts, dts, _)| (*dts, *pts)).collect();
        let found: Vec<_> = found.iter().filter(|(n, ..)| *n == stream).map(|(_, dts, pts)| (*dts, *pts)).collect();
        // ffmpeg takes times shortly before the end of 33 bits for negative ones.
        let wrapped = |times: Vec<(i64, i64)>| -> Vec<_> {
            times.into_iter().map(|(dts, pts)| (dts.rem_euclid(1 << 33), pts.rem_euclid(1 << 33))).collect()
        };
        assert_eq!(wrapped(found), wrapped(expected), "stream {stream}");
    }
}

/// Returns what GStreamer's demuxer and parser make of a stream.
fn gstreamer(written: &Written, parser: &str) -> Vec<u8> {
    let mut command = Command::new("gst-launch-1.0");
    command.arg("-q").arg("filesrc").arg(format!("location={}", written.path.display()));
    command.args("! tsdemux name=d d. ! queue !".split_whitespace());
    command.args(parser.split_whitespace()).args("! fdsink fd=1 sync=false".split_whitespace());
    run(command).stdout
}

/// Returns how often `mark` is in `bytes`.
fn count(bytes: &[u8], mark: &[u8]) -> usize {
    bytes.windows(mark.len()).filter(|window| *window == mark).count()
}

#[test]
fn ffmpeg_and_gstreamer_find_all_of_h264_and_aac() {
    let written = written("avc_aac.ts", material::avc_aac());
    ffmpeg_finds_all(&written);
    let (video, audio) = (crate::frames(&written.items, VIDEO_TRACK), crate::frames(&written.items, FIRST_AUDIO_TRACK));
    assert!(video.len() >= 249 && audio.len() > 460);
    let parsed = gstreamer(&written, "h264parse ! video/x-h264,stream-format=byte-stream,alignment=au");
    assert_eq!(count(&parsed, &[0, 0, 0, 1, 9]), video.len());
    // Without aacparse 1.22, which drops the first frame of any stream.
    let demuxed = gstreamer(&written, "audio/mpeg,mpegversion=4");
    let expected: usize = audio.iter().map(|(_, _, payload)| payload.len() + 7).sum();
    assert_eq!(demuxed.len(), expected);
}

#[test]
fn ffmpeg_and_gstreamer_find_all_of_the_other_codecs() {
    let x265 = "-c:v libx265 -preset ultrafast -x265-params log-level=none:pools=none:frame-threads=1:keyint=25";
    let hevc = format!("-map 0 -map 1 -map 1 {x265} -c:a:0 ac3 -c:a:1 eac3");
    let written = written("hevc_ac3_eac3.ts", material::clip(3, &hevc));
    ffmpeg_finds_all(&written);
    let parsed = gstreamer(&written, "h265parse ! video/x-h265,stream-format=byte-stream,alignment=au");
    assert_eq!(count(&parsed, &[0, 0, 0, 1, 0x46, 1]), crate::frames(&written.items, VIDEO_TRACK).len());
    for (caps, track) in [("audio/x-ac3", 0), ("audio/x-eac3", 1)] {
        let id = TrackId(FIRST_AUDIO_TRACK.0 + track);
        let expected: usize = crate::frames(&written.items, id).iter().map(|(_, _, payload)| payload.len()).sum();
        assert_eq!(gstreamer(&written, &format!("ac3parse ! {caps}")).len(), expected, "{caps}");
    }
}

#[test]
fn ffmpeg_and_gstreamer_find_all_of_opus() {
    let written = written("opus.ts", material::clip(3, "-map 1 -c:a libopus -ac 2 -b:a 96k"));
    ffmpeg_finds_all(&written);
    let expected: usize = crate::frames(&written.items, FIRST_AUDIO_TRACK).iter().map(|(_, _, p)| p.len()).sum();
    assert_eq!(gstreamer(&written, "opusparse").len(), expected);
}

#[test]
fn ffmpeg_and_gstreamer_find_all_at_zero_and_where_33_bits_end() {
    let clip = material::avc_aac();
    let first = |item: &Item| if let Item::Frame(frame) = item { Some(frame.dts) } else { None };
    let first = clip.iter().find_map(first).unwrap();
    for (name, start) in [("zero.ts", 0), ("wrap.ts", (1 << 33) - 450_000)] {
        let shift = Timescale::NINETY_KHZ.timestamp(start) - first;
        let shifted = clip.iter().cloned().map(|item| match item {
            Item::Frame(frame) => Item::Frame(Frame { dts: frame.dts + shift, pts: frame.pts + shift, ..frame }),
            other => other,
        });
        let written = written(name, shifted.collect());
        ffmpeg_finds_all(&written);
        let found = gstreamer(&written, "h264parse ! video/x-h264,stream-format=byte-stream,alignment=au");
        assert_eq!(count(&found, &[0, 0, 0, 1, 9]), crate::frames(&written.items, VIDEO_TRACK).len(), "{name}");
    }
}

#[test]
fn ffprobe_knows_codecs_and_languages() {
    let options = "-map 0 -map 1 -map 1 -c:v libx264 -preset ultrafast -c:a:0 aac -c:a:1 libopus \
                   -metadata:s:a:0 language=deu -metadata:s:a:1 language=fra";
    let mut items = material::clip(1, options);
    let tag = Metadata {
        kind: MetadataKind::Id3,
        pts: Timescale::NINETY_KHZ.timestamp(180_000),
        payload: Bytes::from_static(b"ID3\x04\0\0\0\0\0\x0fTXXX\0\0\0\x05\0\0\x03a\0b"),
    };
    items.push(Item::Metadata(tag));
    items.push(Item::Metadata(Metadata {
        kind: MetadataKind::Scte35,
        pts: Timescale::NINETY_KHZ.timestamp(200_000),
        payload: material::time_signal(),
    }));
    let written = written("languages.ts", items);
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-show_entries", "stream=codec_name:stream_tags=language", "-of", "csv=p=0"]);
    command.arg(&written.path);
    let text = String::from_utf8(run(command).stdout).unwrap();
    for line in ["h264", "aac,deu", "opus,fra", "timed_id3", "scte_35"] {
        assert!(text.lines().any(|found| found.trim_end_matches(',') == line), "{line} in {text}");
    }
}
