//! Flashes with beeps, and how those are found again in what is played: so it shows whether pictures and sound are
//! together. The benchmarks include this file as well.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// A picture is a flash from this brightness on, and a sound a beep from this level on.
const BRIGHT: f64 = 120.0;
const LOUD_DB: f64 = -40.0;

/// Makes a clip of seventy seconds with a white flash and a beep in the middle of each, both two pictures long.
pub(crate) fn make(path: &Path) -> io::Result<()> {
    let flash = "color=black:size=320x180:rate=30,drawbox=color=white:t=fill:enable='between(mod(n,30),15,16)'";
    let beep = "aevalsrc='0.5*sin(2*PI*1000*t)*between(mod(t,1),0.5,0.566)':sample_rate=48000";
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", flash, "-f", "lavfi", "-i", beep, "-t", "70"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-sc_threshold", "0", "-g", "30"])
        .args(["-bf", "0", "-c:a", "aac", "-b:a", "96k", "-ac", "2", "-f", "matroska"])
        .arg(path)
        .status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("ffmpeg makes no flashes")) }
}

/// What a player sees and hears, in two files.
pub(crate) struct Witness {
    pictures: PathBuf,
    sound: PathBuf,
}

impl Witness {
    /// One that writes into `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { pictures: folder.join("pictures"), sound: folder.join("sound") }
    }

    /// Outputs of ffmpeg for it, behind the input.
    pub(crate) fn outputs(&self) -> Vec<String> {
        let print = |key: &str, file: &Path| format!("mode=print:key=lavfi.{key}:file={}", file.display());
        let video = format!("scale=16:16,signalstats,metadata={}", print("signalstats.YAVG", &self.pictures));
        let level = print("astats.Overall.RMS_level", &self.sound);
        let audio = format!("asetnsamples=n=240,astats=metadata=1:reset=1,ametadata={level}");
        let words = ["-map", "0:v:0", "-vf", &video, "-map", "0:a:0", "-af", &audio, "-f", "null", "-"];
        words.map(str::to_owned).into()
    }

    /// When flashes began, and when beeps did, in seconds.
    pub(crate) fn onsets(&self) -> io::Result<(Vec<f64>, Vec<f64>)> {
        let of = |file, bound| Ok(rises(&fs::read_to_string(file)?, bound));
        of(&self.pictures, BRIGHT).and_then(|flashes| Ok((flashes, of(&self.sound, LOUD_DB)?)))
    }
}

/// When a value that ffmpeg printed rises over `bound`.
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
fn rises_are_where_a_value_was_lower_before() {
    let printed = "frame:0 pts:0 pts_time:0\nk=200\nframe:1 pts:1 pts_time:0.5\nk=16\nframe:2 pts_time:1.0\nk=200\n\
        frame:3 pts_time:1.5\nk=210\nframe:4 pts_time:2\nk=-inf\nframe:5 pts_time:3\nk=130\n";
    assert_eq!(rises(printed, BRIGHT), [1.0, 3.0]);
}
