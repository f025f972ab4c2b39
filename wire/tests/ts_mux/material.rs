//! Tracks and frames to write: of constants, and of ffmpeg.

use std::process::Command;

use bytes::Bytes;
use media::codec::{aac, avc, opus};
use media::{Access, CodecConfig, Frame, Language, Timescale, Track, TrackId};
use wire::Item;
use wire::ts::{FIRST_AUDIO_TRACK, VIDEO_TRACK};

// x264, 1280x720, High profile, with two picture parameter sets.
const SPS: &[u8] = &[
    0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00,
    0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19,
];
const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb];
pub(crate) const OTHER_PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

/// Returns an H.264 track with this picture parameter set.
pub(crate) fn avc_with(pps: &'static [u8]) -> Track {
    let config = avc::Config::from_parameter_sets(&[Bytes::from_static(SPS)], &[Bytes::from_static(pps)]).unwrap();
    Track::new(VIDEO_TRACK, CodecConfig::Avc(config))
}

/// Returns an H.264 track.
pub(crate) fn avc() -> Track {
    avc_with(PPS)
}

/// Returns an AAC track.
pub(crate) fn aac(id: TrackId, language: &[u8; 3]) -> Track {
    let mut track = Track::new(id, CodecConfig::Aac(aac::Config::new(2, 48_000, 2).unwrap()));
    track.language = Language::new(*language);
    track
}

/// Returns an Opus track of so many channels.
pub(crate) fn opus(id: TrackId, channels: u8) -> Track {
    Track::new(id, CodecConfig::Opus(opus::Config::new(channels).unwrap()))
}

/// Returns NAL units with length prefixes.
pub(crate) fn sample(nals: &[&[u8]]) -> Bytes {
    nals.iter().flat_map(|nal| [&(nal.len() as u32).to_be_bytes(), *nal].concat()).collect()
}

/// Returns a slice of `len` bytes that begins an H.264 frame.
pub(crate) fn slice(key: bool, fill: u8, len: usize) -> Vec<u8> {
    let mut nal = vec![if key { 0x65 } else { 0x41 }, 0x88];
    nal.resize(len.max(3), fill | 0x80);
    nal
}

/// Returns a frame at these ticks of 90 kHz.
pub(crate) fn frame(track: TrackId, pts: i64, dts: i64, payload: impl Into<Bytes>) -> Frame {
    let at = |ticks| Timescale::NINETY_KHZ.timestamp(ticks);
    Frame { track, dts: at(dts), pts: at(pts), access: Access::Independent, payload: payload.into() }
}

/// Returns an H.264 frame of one slice, at these ticks.
pub(crate) fn video(key: bool, pts: i64, dts: i64, len: usize) -> Frame {
    let payload = sample(&[&slice(key, 0, len)]);
    Frame { access: Access::independent_if(key), ..frame(VIDEO_TRACK, pts, dts, payload) }
}

/// Returns an audio frame of `len` bytes, at these ticks.
pub(crate) fn audio(at: i64, len: usize) -> Frame {
    frame(FIRST_AUDIO_TRACK, at, at, vec![0x21; len])
}

/// Returns what our demuxer reads from a clip of ffmpeg with these options.
pub(crate) fn clip(seconds: u32, options: &str) -> Vec<Item> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"]);
    command.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
    command.args(options.split_whitespace()).args(["-t", &seconds.to_string(), "-f", "mpegts", "-"]);
    let output = command.output().expect("ffmpeg runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let items = crate::read(&output.stdout);
    // Frames of all tracks come in the order of their decoding times, but the demuxer returns video late.
    let (mut frames, others): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| matches!(item, Item::Frame(_)));
    frames.sort_by_key(|item| if let Item::Frame(frame) = item { Some(frame.dts) } else { None });
    others.into_iter().chain(frames).collect()
}

/// Returns 10 seconds of H.264 with reordered frames, and AAC in English.
pub(crate) fn avc_aac() -> Vec<Item> {
    let video = "-c:v libx264 -preset ultrafast -bf 2 -g 50 -threads 1";
    clip(10, &format!("{video} -c:a aac -b:a 128k -ac 2 -metadata:s:a:0 language=eng"))
}

/// Returns a time signal of SCTE-35 at 1 s.
pub(crate) fn time_signal() -> Bytes {
    let mut bytes = vec![0xfc, 0x30, 22, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xf0, 5, 6, 0xfe, 0, 1, 0x5f, 0x90, 0, 0];
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 })
    });
    bytes.extend(crc.to_be_bytes());
    bytes.into()
}
