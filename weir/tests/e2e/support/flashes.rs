//! A clip of flashes with beeps, and their detection in the played programme, to measure whether video and audio are in
//! sync.
//!
//! The benchmarks include this file as well.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// Brightness above which a frame is a flash.
const BRIGHT: f64 = 120.0;
/// Level above which audio is a beep.
const LOUD_DB: f64 = -40.0;

/// Encodes a clip of seventy seconds with a white flash and a beep in the middle of each second, both two frames long.
pub(crate) fn make(path: &Path) -> io::Result<()> {
    let flash = "color=black:size=320x180:rate=30,drawbox=color=white:t=fill:enable='between(mod(n,30),15,16)'";
    let beep = "aevalsrc='0.5*sin(2*PI*1000*t)*between(mod(t,1),0.5,0.566)':sample_rate=48000";
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", flash, "-f", "lavfi", "-i", beep, "-t", "70"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-sc_threshold", "0", "-g", "30"])
        .args(["-bf", "0", "-c:a", "aac", "-b:a", "96k", "-ac", "2", "-f", "matroska"])
        .arg(path)
        .status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("ffmpeg cannot encode the flashes")) }
}

/// Two files with the brightness of the video and the level of the audio that a player receives.
pub(crate) struct SyncProbe {
    brightness: PathBuf,
    level: PathBuf,
}

impl SyncProbe {
    /// Creates a probe whose files are in `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { brightness: folder.join("brightness"), level: folder.join("level") }
    }

    /// Returns the output arguments of ffmpeg, to be placed after the input.
    pub(crate) fn outputs(&self) -> Vec<String> {
        let print = |key: &str, file: &Path| format!("mode=print:key=lavfi.{key}:file={}", file.display());
        let video = format!("scale=16:16,signalstats,metadata={}", print("signalstats.YAVG", &self.brightness));
        let level = print("astats.Overall.RMS_level", &self.level);
        let audio = format!("asetnsamples=n=240,astats=metadata=1:reset=1,ametadata={level}");
        let arguments = ["-map", "0:v:0", "-vf", &video, "-map", "0:a:0", "-af", &audio, "-f", "null", "-"];
        arguments.map(str::to_owned).into()
    }

    /// Returns the start times of flashes and of beeps, in seconds.
    pub(crate) fn onsets(&self) -> io::Result<(Vec<f64>, Vec<f64>)> {
        let onsets = |file, bound| Ok(rises(&fs::read_to_string(file)?, bound));
        onsets(&self.brightness, BRIGHT).and_then(|flashes| Ok((flashes, onsets(&self.level, LOUD_DB)?)))
    }
}

/// Returns the times at which a value that ffmpeg printed rises above `bound`.
fn rises(printed: &str, bound: f64) -> Vec<f64> {
    let (mut at, mut over, mut rises) = (0.0, true, Vec::new());
    for line in printed.lines() {
        if let Some((_, time)) = line.split_once("pts_time:") {
            at = time.trim().parse().unwrap_or(at);
        } else if let Some(value) = line.split_once('=').and_then(|(_, value)| value.parse::<f64>().ok()) {
            let is_over = value > bound;
            if is_over && !over {
                rises.push(at);
            }
            over = is_over;
        }
    }
    rises
}

#[test]
fn a_rise_needs_a_lower_value_before_it() {
    let printed = "frame:0 pts:0 pts_time:0\nk=200\nframe:1 pts:1 pts_time:0.5\nk=16\nframe:2 pts_time:1.0\nk=200\n\
        frame:3 pts_time:1.5\nk=210\nframe:4 pts_time:2\nk=-inf\nframe:5 pts_time:3\nk=130\n";
    assert_eq!(rises(printed, BRIGHT), [1.0, 3.0]);
}
