//! Test programmes, encoded once, and the hashes of what comes out of a decoder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// What to encode. Each clip shows a moving picture, so no two frames are alike.
#[derive(Clone, Copy)]
pub(crate) struct Clip {
    pub seconds: u32,
    /// Frames between keyframes, at 30 frames a second.
    pub gop: u32,
    /// Keyframes at these times instead, as ffmpeg's `-force_key_frames` takes them.
    pub keyframes: Option<&'static str>,
    pub b_frames: u32,
    pub video: bool,
    pub audio: bool,
}

impl Clip {
    /// Picture and tone with a keyframe each second and no B-frames: what a low-latency encoder sends.
    pub(crate) const fn plain(seconds: u32) -> Self {
        Self { seconds, gop: 30, keyframes: None, b_frames: 0, video: true, audio: true }
    }

    fn name(&self) -> String {
        let keyframes = self.keyframes.map(|times| times.replace([',', '.'], "_")).unwrap_or_default();
        let tracks = format!("{}{}", if self.video { "v" } else { "" }, if self.audio { "a" } else { "" });
        format!("{tracks}-{}s-g{}-b{}-k{keyframes}.flv", self.seconds, self.gop, self.b_frames)
    }

    fn words(&self) -> String {
        let mut words = String::new();
        let mut say = |text: &str| words.extend([text, " "]);
        if self.video {
            say("-f lavfi -i testsrc2=size=640x360:rate=30");
        }
        if self.audio {
            say("-f lavfi -i sine=frequency=440:beep_factor=4:sample_rate=48000");
        }
        say(&format!("-t {}", self.seconds));
        if self.video {
            say("-c:v libx264 -preset veryfast -pix_fmt yuv420p -b:v 800k -sc_threshold 0");
            say(&format!("-g {} -keyint_min {} -bf {}", self.gop, self.gop, self.b_frames));
        }
        if let Some(times) = self.keyframes {
            say(&format!("-force_key_frames {times}"));
        }
        if self.audio {
            say("-c:a aac -b:a 96k -ac 2");
        }
        words
    }
}

/// The file of a clip.
pub(crate) fn clip(clip: &Clip) -> PathBuf {
    kept(&clip.name(), |draft| encode("ffmpeg", &format!("{}-f flv", clip.words()), draft))
}

/// A file of this name that is made when it is first asked for, and kept over test runs.
pub(crate) fn kept(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clips");
    let path = folder.join(name);
    if !path.exists() {
        std::fs::create_dir_all(&folder).expect("a folder for clips");
        // Under another name until it is whole: an interrupted run leaves no half clip behind.
        let draft = path.with_extension("draft");
        make(&draft);
        std::fs::rename(&draft, &path).expect("the clip gets its name");
    }
    path
}

/// Has `program`, some ffmpeg, make a file.
pub(crate) fn encode(program: &str, words: &str, file: &Path) {
    let run = Command::new(program)
        .args(["-hide_banner", "-nostdin", "-loglevel", "error", "-y"])
        .args(words.split_whitespace())
        .arg(file)
        .output()
        .expect("ffmpeg runs");
    assert!(run.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&run.stderr));
}

/// One hash for each frame, in order.
pub(crate) type Hashes = Vec<String>;

/// Hashes of the decoded pictures of a file or playlist.
pub(crate) fn video_hashes(source: &str) -> Hashes {
    hashes("ffmpeg", source, &["-map", "0:v:0", "-fps_mode", "passthrough"])
}

/// Hashes of the audio packets, undecoded: a decoder's first frames depend on what came before.
pub(crate) fn audio_hashes(source: &str) -> Hashes {
    hashes("ffmpeg", source, &["-map", "0:a:0", "-c", "copy"])
}

/// Hashes of what `program`, some ffmpeg, makes of a selection of streams.
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
    // Stream, DTS, PTS, duration, size, hash; hashes of side data may follow, such as the samples to skip.
    let hashes: Hashes = frames.filter_map(|line| line.split(',').nth(5)).map(|hash| hash.trim().to_owned()).collect();
    assert!(!hashes.is_empty(), "{source} has no frame of the kind");
    hashes
}
