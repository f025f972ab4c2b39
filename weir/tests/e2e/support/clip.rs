//! Test clips, which are encoded once, and hashes of their frames.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// A clip to encode. The video moves, so that no two frames are the same.
#[derive(Clone, Copy)]
pub(crate) struct Clip {
    pub seconds: u32,
    /// Frames between key frames, at 30 frames a second.
    pub gop: u32,
    /// Times of key frames instead, in the format of ffmpeg's `-force_key_frames`.
    pub keyframes: Option<&'static str>,
    pub b_frames: u32,
    pub video: bool,
    pub audio: bool,
}

impl Clip {
    /// Video and a tone with a key frame each second and no B-frames, as low-latency encoders send.
    pub(crate) const fn plain(seconds: u32) -> Self {
        Self { seconds, gop: 30, keyframes: None, b_frames: 0, video: true, audio: true }
    }

    fn name(&self) -> String {
        let keyframes = self.keyframes.map(|times| times.replace([',', '.'], "_")).unwrap_or_default();
        let tracks = format!("{}{}", if self.video { "v" } else { "" }, if self.audio { "a" } else { "" });
        format!("{tracks}-{}s-g{}-b{}-k{keyframes}.flv", self.seconds, self.gop, self.b_frames)
    }

    fn arguments(&self) -> String {
        let mut arguments = String::new();
        let mut add = |text: &str| arguments.extend([text, " "]);
        if self.video {
            add("-f lavfi -i testsrc2=size=640x360:rate=30");
        }
        if self.audio {
            add("-f lavfi -i sine=frequency=440:beep_factor=4:sample_rate=48000");
        }
        add(&format!("-t {}", self.seconds));
        if self.video {
            add("-c:v libx264 -preset veryfast -pix_fmt yuv420p -b:v 800k -sc_threshold 0");
            add(&format!("-g {} -keyint_min {} -bf {}", self.gop, self.gop, self.b_frames));
        }
        if let Some(times) = self.keyframes {
            add(&format!("-force_key_frames {times}"));
        }
        if self.audio {
            add("-c:a aac -b:a 96k -ac 2");
        }
        arguments
    }
}

/// Returns the file of a clip.
pub(crate) fn clip(clip: &Clip) -> PathBuf {
    kept(&clip.name(), |draft| encode("ffmpeg", &format!("{}-f flv", clip.arguments()), draft))
}

/// Returns a file that is made on first use and kept over test runs.
pub(crate) fn kept(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clips");
    let path = folder.join(name);
    if !path.exists() {
        std::fs::create_dir_all(&folder).expect("a folder for clips");
        // Has another name until it is complete, so that an interrupted run leaves no partial clip.
        let draft = path.with_extension("draft");
        make(&draft);
        std::fs::rename(&draft, &path).expect("renaming the clip");
    }
    path
}

/// Encodes a file with `program`, which is an ffmpeg.
pub(crate) fn encode(program: &str, arguments: &str, file: &Path) {
    let run = Command::new(program)
        .args(["-hide_banner", "-nostdin", "-loglevel", "error", "-y"])
        .args(arguments.split_whitespace())
        .arg(file)
        .output()
        .expect("ffmpeg runs");
    assert!(run.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&run.stderr));
}

/// One hash for each frame, in order.
pub(crate) type Hashes = Vec<String>;

/// Returns the hashes of the decoded video frames of a file or playlist.
pub(crate) fn video_hashes(source: &str) -> Hashes {
    hashes("ffmpeg", source, &["-map", "0:v:0", "-fps_mode", "passthrough"])
}

/// Returns the hashes of the audio packets, not decoded, because the first decoded frames depend on earlier packets.
pub(crate) fn audio_hashes(source: &str) -> Hashes {
    hashes("ffmpeg", source, &["-map", "0:a:0", "-c", "copy"])
}

/// Returns the hashes of the output of `program`, which is an ffmpeg, for a selection of streams.
pub(crate) fn hashes(program: &str, source: &str, selection: &[&str]) -> Hashes {
    let run = Command::new(program)
        .args(["-hide_banner", "-nostdin", "-loglevel", "error", "-i", source])
        .args(selection)
        .args(["-f", "framemd5", "-"])
        .output()
        .expect("ffmpeg runs");
    assert!(run.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&run.stderr));
    assert!(run.stderr.is_empty(), "ffmpeg complained: {}", String::from_utf8_lossy(&run.stderr));
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    let frames = text.lines().filter(|line| !line.starts_with('#'));
    // Stream, DTS, PTS, duration, size and hash. Hashes of side data, such as skipped samples, may follow.
    let hashes: Hashes = frames.filter_map(|line| line.split(',').nth(5)).map(|hash| hash.trim().to_owned()).collect();
    assert!(!hashes.is_empty(), "{source} has no such frame");
    hashes
}
