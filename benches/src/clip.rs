//! The clip that publishers push: encoded once with ffmpeg, cut to a seamless loop, and chunked once for RTMP.
//!
//! Messages carry timestamp deltas (chunk type 1), so all publishers and all repetitions of the loop share the same
//! bytes, and pushing costs one `write` per frame.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::{BufMut, Bytes, BytesMut};

/// Video frames per second.
pub(crate) const FPS: u64 = 30;
/// Video frames of the loop, which lasts 16 s. This is a whole number of AAC frames as well.
pub(crate) const LOOP_FRAMES: usize = 480;
const LOOP_AUDIO: usize = 750;
const LOOP_MS: u64 = 16_000;
const SAMPLE_RATE: u64 = 48_000;
const AAC_FRAME: u64 = 1_024;
/// The chunk size of OBS.
pub(crate) const CHUNK_SIZE: usize = 4_096;
const AUDIO_CSID: u8 = 4;
const VIDEO_CSID: u8 = 6;
const AUDIO_TYPE: u8 = 8;
const VIDEO_TYPE: u8 = 9;
/// Bytes of an FLV video tag before the AVCC payload.
const AVC_TAG_HEADER: usize = 5;
/// Bytes at the end of a video frame by which it is found in the loop.
const TAIL: usize = 16;

/// The bytes that a publisher sends.
pub(crate) struct Schedule {
    /// Sequence header of the video, for the start of a publication.
    video_header: Bytes,
    /// Sequence header of the audio, for the start of a publication.
    audio_header: Bytes,
    /// Bytes to send with each video frame of the loop: the audio that is due since the last one, then the frame.
    ticks: Vec<Bytes>,
    /// Size of each video frame as an MP4 sample.
    pub(crate) sample_sizes: Vec<u32>,
    /// Position in the loop of each video frame, by its last bytes.
    positions: HashMap<[u8; TAIL], usize>,
}

/// The quality of a clip.
#[derive(Clone, Copy)]
pub(crate) struct Quality {
    /// Name of the file, without its extension.
    name: &'static str,
    size: &'static str,
    video_kbps: u32,
}

impl Quality {
    /// 1080p30 at 5 Mbit/s.
    pub(crate) const FULL_HD: Self = Self { name: "1080p30-5000k", size: "1920x1080", video_kbps: 5_000 };
    /// 360p30 at 0.8 Mbit/s, for benchmarks with many viewers on the machine of the server.
    pub(crate) const SMALL: Self = Self { name: "360p30-800k", size: "640x360", video_kbps: 800 };
}

impl Schedule {
    /// Loads the clip.
    pub(crate) fn load(quality: Quality) -> Result<Self> {
        let path = file(quality)?;
        Self::from_flv(&fs::read(&path)?)
            .with_context(|| format!("{}; delete it to have it encoded again", path.display()))
    }

    fn from_flv(flv: &[u8]) -> Result<Self> {
        let (mut video, mut audio, mut headers) = (Vec::new(), Vec::new(), [Bytes::new(), Bytes::new()]);
        for (kind, body) in flv_tags(flv) {
            match (kind, body.get(1)) {
                (VIDEO_TYPE, Some(0)) => headers[0] = body,
                (VIDEO_TYPE, Some(1)) => video.push(body),
                (AUDIO_TYPE, Some(0)) => headers[1] = body,
                (AUDIO_TYPE, Some(1)) => audio.push(body),
                _ => {}
            }
        }
        ensure!(video.len() >= LOOP_FRAMES && audio.len() >= LOOP_AUDIO, "the clip is too short");
        ensure!(headers.iter().all(|h| !h.is_empty()), "the clip lacks a sequence header");
        video.truncate(LOOP_FRAMES);
        audio.truncate(LOOP_AUDIO);
        let [video_header, audio_header] = headers;
        let sample_sizes = video.iter().map(|tag| tag.len().saturating_sub(AVC_TAG_HEADER) as u32).collect();
        let tails = video.iter().enumerate().filter_map(|(n, tag)| Some((*tag.last_chunk()?, n)));
        let positions = tails.collect();
        Ok(Self { video_header, audio_header, ticks: chunk(&video, &audio), sample_sizes, positions })
    }

    /// Returns the sequence headers, chunked for message stream `stream`.
    pub(crate) fn prologue(&self, stream: u32) -> BytesMut {
        let mut out = BytesMut::new();
        // With these timestamps, the first deltas of the loop lead to the same time for video and audio.
        let lag = video_ms(LOOP_FRAMES) - video_ms(LOOP_FRAMES - 1) - (LOOP_MS - audio_ms(LOOP_AUDIO - 1));
        message(&mut out, VIDEO_CSID, VIDEO_TYPE, Timing::Absolute(0, stream), &self.video_header);
        message(&mut out, AUDIO_CSID, AUDIO_TYPE, Timing::Absolute(lag as u32, stream), &self.audio_header);
        out
    }

    /// Returns the AVC decoder configuration record.
    pub(crate) fn avc_record(&self) -> Bytes {
        self.video_header.slice(AVC_TAG_HEADER.min(self.video_header.len())..)
    }

    /// Returns the position of a video frame in the loop, or `None` if it is no frame of the loop.
    pub(crate) fn position(&self, payload: &[u8]) -> Option<usize> {
        self.positions.get(payload.last_chunk()?).copied()
    }

    /// Returns the bytes to send with video frame `n` of a publication.
    pub(crate) fn tick(&self, n: u64) -> &Bytes {
        &self.ticks[(n % LOOP_FRAMES as u64) as usize]
    }

    /// Returns the time at which video frame `n` is due, after the start of its publication.
    pub(crate) fn due(n: u64) -> Duration {
        Duration::from_nanos(n * 1_000_000_000 / FPS)
    }
}

/// Returns the clip as an FLV file. Encodes it first if it does not exist.
pub(crate) fn file(quality: Quality) -> Result<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/clips"));
    let path = folder.join(format!("{}.flv", quality.name));
    if !path.exists() {
        fs::create_dir_all(&folder)?;
        let draft = folder.join(format!("{}.draft.flv", quality.name));
        encode(quality, &draft)?;
        fs::rename(&draft, &path)?;
    }
    Ok(path)
}

fn encode(quality: Quality, path: &std::path::Path) -> Result<()> {
    let video = format!("testsrc2=size={}:rate={FPS}", quality.size);
    let kbps = format!("{}k", quality.video_kbps);
    // Noise keeps the encoder at its bit rate without filler data.
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", &video])
        .args(["-f", "lavfi", "-i", "sine=frequency=330:sample_rate=48000", "-t", "16.2"])
        .args(["-vf", "noise=alls=12:allf=t,format=yuv420p", "-c:v", "libx264", "-preset", "veryfast"])
        .args(["-b:v", &kbps, "-maxrate", &kbps, "-bufsize", &kbps, "-g", "30", "-keyint_min", "30"])
        .args(["-sc_threshold", "0", "-c:a", "aac", "-ac", "2", "-b:a", "128k", "-f", "flv"])
        .arg(path)
        .status()
        .context("starting ffmpeg")?;
    ensure!(status.success(), "ffmpeg failed");
    Ok(())
}

/// Returns the type and the body of each tag of an FLV file.
fn flv_tags(flv: &[u8]) -> Vec<(u8, Bytes)> {
    let mut tags = Vec::new();
    let mut rest = flv.get(13..).unwrap_or_default();
    while let Some((head, tail)) = rest.split_at_checked(11) {
        let size = usize::from(head[1]) << 16 | usize::from(head[2]) << 8 | usize::from(head[3]);
        let Some((body, tail)) = tail.split_at_checked(size) else { break };
        tags.push((head[0] & 0x1f, Bytes::copy_from_slice(body)));
        rest = tail.get(4..).unwrap_or_default();
    }
    tags
}

fn video_ms(n: usize) -> u64 {
    (n as u64 * 1_000 + FPS / 2) / FPS
}

fn audio_ms(n: usize) -> u64 {
    (n as u64 * AAC_FRAME * 1_000 + SAMPLE_RATE / 2) / SAMPLE_RATE
}

/// Returns the loop as chunks, with one element per video frame.
fn chunk(video: &[Bytes], audio: &[Bytes]) -> Vec<Bytes> {
    let mut audio = audio.iter().enumerate().peekable();
    let ticks = video.iter().enumerate().map(|(n, video_frame)| {
        let mut out = BytesMut::new();
        let last = n + 1 == video.len();
        while let Some((k, frame)) = audio.next_if(|(k, _)| last || audio_ms(*k) <= video_ms(n)) {
            let delta = if k == 0 { LOOP_MS - audio_ms(LOOP_AUDIO - 1) } else { audio_ms(k) - audio_ms(k - 1) };
            message(&mut out, AUDIO_CSID, AUDIO_TYPE, Timing::Delta(delta as u32), frame);
        }
        let delta = if n == 0 { LOOP_MS - video_ms(LOOP_FRAMES - 1) } else { video_ms(n) - video_ms(n - 1) };
        message(&mut out, VIDEO_CSID, VIDEO_TYPE, Timing::Delta(delta as u32), video_frame);
        out.freeze()
    });
    ticks.collect()
}

/// The timestamp of a message.
#[derive(Clone, Copy)]
pub(crate) enum Timing {
    /// Chunk type 0: timestamp and message stream.
    Absolute(u32, u32),
    /// Chunk type 1: milliseconds since the previous message on the same message stream.
    Delta(u32),
}

/// Writes one RTMP message as chunks.
pub(crate) fn message(out: &mut BytesMut, csid: u8, kind: u8, timing: Timing, body: &[u8]) {
    let (format, ms) = match timing {
        Timing::Absolute(ms, _) => (0, ms),
        Timing::Delta(ms) => (1, ms),
    };
    out.put_u8(format << 6 | csid);
    out.put_uint(u64::from(ms), 3);
    out.put_uint(body.len() as u64, 3);
    out.put_u8(kind);
    if let Timing::Absolute(_, stream) = timing {
        out.put_u32_le(stream);
    }
    for (n, piece) in body.chunks(CHUNK_SIZE).enumerate() {
        if n > 0 {
            out.put_u8(3 << 6 | csid);
        }
        out.put_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_chunked() {
        let mut out = BytesMut::new();
        message(&mut out, 6, 9, Timing::Delta(33), &vec![7; CHUNK_SIZE + 10]);
        assert_eq!(&out[..8], &[0x46, 0, 0, 33, 0, 0x10, 10, 9]);
        assert_eq!(out[8 + CHUNK_SIZE], 0xc6);
        assert_eq!(out.len(), 8 + CHUNK_SIZE + 1 + 10);
    }

    #[test]
    fn the_loop_lasts_sixteen_seconds() {
        let frames = |n: usize| vec![Bytes::from_static(&[0x17, 1, 0, 0, 0, 9]); n];
        let ticks = chunk(&frames(LOOP_FRAMES), &frames(LOOP_AUDIO));
        let (mut video, mut audio, mut audio_frames) = (0u64, 0u64, 0);
        for tick in &ticks {
            for message in tick.chunks(14) {
                let delta = u64::from(message[3]);
                if message[0] == 0x46 {
                    video += delta
                } else {
                    audio += delta
                }
                audio_frames += usize::from(message[0] == 0x44);
            }
        }
        assert_eq!((ticks.len(), video, audio, audio_frames), (LOOP_FRAMES, LOOP_MS, LOOP_MS, LOOP_AUDIO));
    }

    #[test]
    fn flv_tags_are_found() {
        let mut flv = vec![0; 13];
        flv.extend([9, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0x17, 1, 0, 0, 0, 13]);
        flv.extend([8, 0, 0, 9]);
        assert_eq!(flv_tags(&flv), vec![(9, Bytes::from_static(&[0x17, 1]))]);
    }
}
