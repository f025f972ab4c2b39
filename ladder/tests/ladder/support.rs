//! Clips made with ffmpeg and pushed in real time, and a ladder's output judged by ffmpeg.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ladder::plan::{FIRST_AUDIO_TRACK, Level, Rung};
use ladder::{Ladder, Output, Settings, SlateImages};
use media::{CodecConfig, Frame, Kind, LatencyMode, Timescale, Timestamp, Track, TrackId};
use slate::{Item, Splice};
use tempfile::TempDir;
use wire::Item as Demuxed;
use wire::ts::{Demuxer, Limits};

/// Runs ffmpeg, and returns its standard output.
pub(crate) fn ffmpeg(folder: &Path, arguments: &str) -> Vec<u8> {
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostdin", "-v", "error", "-y"])
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .expect("ffmpeg runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "ffmpeg {arguments}: {errors}");
    output.stdout
}

/// Format, range, matrix, transfer and primaries of a file's video, by ffprobe.
pub(crate) fn probe(file: &Path) -> String {
    let wanted = "stream=pix_fmt,color_range,color_space,color_transfer,color_primaries";
    let words = ["-v", "error", "-show_entries", wanted, "-of", "csv=p=0"];
    let output = Command::new("ffprobe").args(words).arg(file).output().expect("ffprobe runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Makes a clip by ffmpeg's `arguments`, and returns it as items of a contribution.
pub(crate) fn clip(folder: &Path, arguments: &str) -> Vec<Demuxed> {
    ffmpeg(folder, &format!("{arguments} -muxdelay 0 -muxpreload 0 clip.ts"));
    let (mut demuxer, mut items) = (Demuxer::new(Limits::default()), Vec::new());
    demuxer.push(&fs::read(folder.join("clip.ts")).unwrap(), &mut items).unwrap();
    demuxer.finish(&mut items);
    items
}

/// Id of a clip's video track.
pub(crate) fn video_track(items: &[Demuxed]) -> TrackId {
    let track = items.iter().find_map(|item| match item {
        Demuxed::Track(track) if track.kind() == Kind::Video => Some(track.id),
        _ => None,
    });
    track.expect("a video track")
}

/// Ladders run one after another, because each needs the whole machine and skips frames when it has to share it.
static MACHINE: Mutex<()> = Mutex::new(());

/// A running ladder, with all its output.
pub(crate) struct Bench {
    pub(crate) ladder: Ladder,
    pub(crate) folder: TempDir,
    out: Arc<Mutex<Vec<Output>>>,
    splice: Splice,
    machine: MutexGuard<'static, ()>,
}

impl Bench {
    /// A ladder with a white slate.
    pub(crate) fn new(level: Level, mode: LatencyMode) -> Self {
        Self::start(level, mode, false)
    }

    /// A ladder that forwards the source, if possible.
    pub(crate) fn with_source(mode: LatencyMode) -> Self {
        Self::start(Level::Plus, mode, true)
    }

    fn start(level: Level, mode: LatencyMode, source: bool) -> Self {
        let machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        ffmpeg(folder.path(), "-f lavfi -i color=white:s=320x180 -frames:v 1 -pix_fmt rgb24 slate.png");
        ffmpeg(folder.path(), "-f lavfi -i color=white:s=180x320 -frames:v 1 slate.jpg");
        let image = |name: &str| Bytes::from(fs::read(folder.path().join(name)).unwrap());
        let slate = Some(SlateImages { landscape: image("slate.png"), portrait: image("slate.jpg") });
        let out = Arc::new(Mutex::new(Vec::new()));
        let sink = out.clone();
        let settings = Settings { level, max_height: 1_080, mode, slate, hardware: false, loudness: None, source };
        let output = Box::new(move |outputs: &mut Vec<Output>| sink.lock().unwrap().append(outputs));
        let ladder = Ladder::start(settings, output).unwrap();
        Self { ladder, folder, out, splice: Splice::new(), machine }
    }

    /// Pushes a contribution in real time.
    pub(crate) fn contribute(&mut self, items: &[Demuxed]) {
        self.splice.begin();
        self.ladder.begin();
        let (began, mut first) = (Instant::now(), None);
        for item in items {
            let mut spliced = Vec::new();
            match item {
                Demuxed::Track(track) => self.splice.track(track.clone(), &mut spliced),
                Demuxed::Frame(frame) => {
                    let due = (frame.dts - *first.get_or_insert(frame.dts)).as_millis();
                    let due = began + Duration::from_millis(u64::try_from(due).unwrap_or(0));
                    sleep(due.saturating_duration_since(Instant::now()));
                    self.splice.frame(frame.clone(), &mut spliced);
                }
                Demuxed::Metadata(metadata) => {
                    self.splice.metadata(metadata.clone()).into_iter().for_each(|dated| self.ladder.metadata(dated));
                }
                Demuxed::Fault(_) | Demuxed::VideoExpected => {}
            }
            spliced.into_iter().filter(|item| *item != Item::Discontinuity).for_each(|item| self.ladder.push(item));
        }
        self.ladder.gone();
    }

    /// Waits until `done`, for ten seconds at most.
    pub(crate) fn wait(&self, what: &str, done: impl Fn(&Programme) -> bool) {
        let began = Instant::now();
        while !done(&self.programme()) {
            assert!(began.elapsed() < Duration::from_secs(10), "{what}: {:?}", self.ladder.stats());
            sleep(Duration::from_millis(50));
        }
    }

    /// Ends the ladder. The machine stays taken until the guard is dropped.
    pub(crate) fn end(self) -> MutexGuard<'static, ()> {
        drop(self.ladder);
        self.machine
    }

    /// Ends the ladder after everything inside has come out.
    pub(crate) fn finish(self) -> (Programme, TempDir) {
        self.ladder.finish();
        let programme = Programme::new(&self.out.lock().unwrap());
        (programme, self.folder)
    }

    /// All output so far, in its order.
    pub(crate) fn out(&self) -> Vec<Output> {
        self.out.lock().unwrap().clone()
    }

    /// Output so far, by track.
    pub(crate) fn programme(&self) -> Programme {
        Programme::new(&self.out.lock().unwrap())
    }
}

/// Output of a ladder, by track.
#[derive(Default)]
pub(crate) struct Programme {
    pub(crate) rungs: Vec<(Rung, Track, Vec<Frame>)>,
    pub(crate) audio: Vec<Frame>,
    /// All encodings of all audio outputs, in the order of announcement.
    pub(crate) audio_tracks: Vec<(Track, Vec<Frame>)>,
    pub(crate) others: Vec<Output>,
}

impl Programme {
    fn new(outputs: &[Output]) -> Self {
        let (mut programme, mut rungs) = (Self::default(), BTreeMap::<usize, _>::new());
        for output in outputs {
            match output {
                Output::Rung { n, rung, track } => {
                    assert!(*n == 0 || rungs.contains_key(&0), "the reference rendition comes first");
                    assert_eq!(track.id, TrackId(*n as u32));
                    rungs.entry(*n).or_insert_with(|| (rung.clone(), track.clone(), Vec::new()));
                }
                Output::Audio(track) => {
                    assert_eq!(track.codec_string(), "mp4a.40.2");
                    programme.audio_tracks.push((track.clone(), Vec::new()));
                }
                Output::Frame(frame) if frame.track >= FIRST_AUDIO_TRACK => {
                    let known = programme.audio_tracks.iter_mut().find(|(track, _)| track.id == frame.track);
                    known.expect("an audio track that was announced").1.push(frame.clone());
                }
                Output::Frame(frame) => rungs.get_mut(&(frame.track.0 as usize)).unwrap().2.push(frame.clone()),
                Output::Plan(_) => {}
                other => programme.others.push(other.clone()),
            }
        }
        programme.audio = programme.audio_tracks.first().map(|(_, frames)| frames.clone()).unwrap_or_default();
        programme.rungs = rungs.into_values().collect();
        programme
    }

    /// Asserts what always holds: a constant frame rate, decode order, key frames where the reference rendition has
    /// them, and audio without gaps.
    pub(crate) fn assert_continuous(&self, gop: usize, skipped: u64) {
        let keys = |frames: &[Frame]| -> Vec<Timestamp> {
            frames.iter().filter(|frame| frame.access.is_independent()).map(|frame| frame.pts).collect()
        };
        let reference = keys(&self.rungs[0].2);
        for (rung, track, frames) in &self.rungs {
            assert_eq!(track.codec.resolution(), Some((rung.width, rung.height)));
            let mut presented: Vec<_> = frames.iter().map(|frame| frame.pts).collect();
            presented.sort_unstable();
            let step = rung.rate.span(1);
            // The last ones may still be in the encoder, or out of order.
            let whole = presented.len() - 4;
            // A machine that is busy with something else may skip frames, but never moves any.
            let gaps = presented[..whole].windows(2).map(|pair| pair[1] - pair[0]).filter(|apart| *apart != step);
            let gaps: Vec<_> = gaps.collect();
            assert!(gaps.iter().all(|gap| *gap == step.times(gap.whole(step))), "{}: {gaps:?}", rung.name);
            assert!(gaps.is_empty() || skipped > 0, "{}: {gaps:?}", rung.name);
            assert!(frames.iter().all(|frame| frame.dts <= frame.pts), "{}", rung.name);
            assert!(frames.windows(2).all(|pair| pair[0].dts < pair[1].dts), "{}", rung.name);
            let keys = keys(frames);
            assert!(!keys.is_empty() && keys.iter().any(|pts| reference.contains(pts)), "{}", rung.name);
            let both = keys[0].max(reference[0])..=keys[keys.len() - 1].min(reference[reference.len() - 1]);
            let kept = |keys: &[Timestamp]| keys.iter().copied().filter(|pts| both.contains(pts)).collect::<Vec<_>>();
            let apart = self.rungs[0].0.rate.span(gop as i64);
            let even = keys.windows(2).all(|pair| pair[1] - pair[0] == apart);
            let shed = self.others.iter().any(|other| matches!(other, Output::Shed { .. }));
            assert!(shed || even && kept(&keys) == kept(&reference), "{}: {keys:?}, {reference:?}", rung.name);
        }
        let step = Timescale::new(48_000).delta(1_024);
        for (_, frames) in &self.audio_tracks {
            assert!(frames.windows(2).all(|pair| pair[1].pts - pair[0].pts == step));
        }
    }

    /// Brightness of each frame of a rung and its time, as ffmpeg decodes it.
    pub(crate) fn brightness(&self, folder: &Path, rung: usize) -> Vec<(Timestamp, u8)> {
        let (_, track, frames) = &self.rungs[rung];
        fs::write(folder.join("rung.h264"), annex_b(&track.codec, frames)).unwrap();
        let grey = ffmpeg(
            folder,
            "-f h264 -i rung.h264 -fps_mode passthrough -vf scale=1:1:flags=area -pix_fmt gray -f rawvideo -",
        );
        assert_eq!(grey.len(), frames.len(), "every frame is decoded");
        let mut presented: Vec<_> = frames.iter().map(|frame| frame.pts).collect();
        presented.sort_unstable();
        presented.into_iter().zip(grey).collect()
    }

    /// Loudness of each millisecond of the main audio and its time, as ffmpeg decodes it.
    pub(crate) fn loudness(&self, folder: &Path) -> Vec<(Timestamp, f32)> {
        self.loudness_of(folder, 0)
    }

    /// The same of encoding `n`.
    pub(crate) fn loudness_of(&self, folder: &Path, n: usize) -> Vec<(Timestamp, f32)> {
        let frames = &self.audio_tracks[n].1;
        let adts: Vec<u8> =
            frames.iter().flat_map(|frame| [&adts(frame.payload.len())[..], &frame.payload].concat()).collect();
        fs::write(folder.join("audio.aac"), adts).unwrap();
        let bytes = ffmpeg(folder, "-f aac -i audio.aac -ac 1 -f f32le -");
        let samples: Vec<_> = bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
        let (scale, first) = (Timescale::new(48_000), frames[0].pts);
        let loud = |(n, block): (usize, &[f32])| {
            let peak = block.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
            (first + scale.delta(n as i64 * 48), peak)
        };
        samples.chunks(48).enumerate().map(loud).collect()
    }
}

fn annex_b(codec: &CodecConfig, frames: &[Frame]) -> Vec<u8> {
    let CodecConfig::Avc(config) = codec else { unreachable!("rungs are H.264") };
    let (sps, pps) = config.parameter_sets();
    let mut out = Vec::new();
    for set in sps.iter().chain(&pps) {
        out.extend_from_slice(&[0, 0, 0, 1]);
        out.extend_from_slice(set);
    }
    for frame in frames {
        let mut rest = &frame.payload[..];
        while let [a, b, c, d, tail @ ..] = rest {
            let (unit, tail) = tail.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
            out.extend_from_slice(&[0, 0, 0, 1]);
            out.extend_from_slice(unit);
            rest = tail;
        }
    }
    out
}

/// ADTS header of a frame of stereo AAC-LC at 48 kHz.
fn adts(payload: usize) -> [u8; 7] {
    let size = payload + 7;
    [0xff, 0xf1, 0x4c, 0x80 | (size >> 11) as u8, (size >> 3) as u8, (size << 5) as u8 | 0x1f, 0xfc]
}
