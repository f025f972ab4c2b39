//! Ladders with real clips, in real time.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod audio_tracks;
mod captions;
mod ivf;
mod source;
mod source_rendition;
mod support;
mod timed_metadata;

use std::thread::sleep;
use std::time::{Duration, Instant};

use ladder::Output;
use ladder::plan::Level;
use media::{Frame, LatencyMode, TimeDelta, Timestamp};
use support::{Bench, clip, probe};

const TONE: &str = "-f lavfi -i sine=440:r=48000";

fn h264(size: &str, fps: u32, seconds: u32) -> String {
    format!(
        "-f lavfi -i testsrc2=s={size}:r={fps} {TONE} -t {seconds} -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g {fps} \
         -c:a aac -ac 2"
    )
}

/// Times at which a signal rises above `threshold`, at least `least` apart.
fn rises<T: Copy + PartialOrd>(signal: &[(Timestamp, T)], threshold: T, least: TimeDelta) -> Vec<Timestamp> {
    let mut rises: Vec<Timestamp> = Vec::new();
    for pair in signal.windows(2) {
        let apart = rises.last().is_none_or(|last| pair[1].0 - *last >= least);
        if pair[0].1 <= threshold && pair[1].1 > threshold && apart {
            rises.push(pair[1].0);
        }
    }
    rises
}

fn assert_ladder(mode: LatencyMode, gop: usize) {
    let mut bench = Bench::new(Level::Plus, mode);
    let items = clip(bench.folder.path(), &h264("1280x720", 30, 6));
    bench.contribute(&items);
    bench.wait("six seconds", |programme| programme.rungs.len() == 3 && programme.rungs[0].2.len() >= 170);
    let programme = bench.programme();
    let names: Vec<_> = programme.rungs.iter().map(|(rung, ..)| rung.name.as_str()).collect();
    assert_eq!(names, ["720p", "480p", "270p"]);
    programme.assert_continuous(gop, bench.ladder.stats().skipped_frames);
    for rung in 0..3 {
        programme.brightness(bench.folder.path(), rung);
    }
    let stats = bench.ladder.stats();
    assert_eq!((stats.bad_frames, stats.refused_frames, stats.rungs), (0, 0, 3), "{stats:?}");
}

#[test]
fn rungs_have_their_key_frames_together() {
    assert_ladder(LatencyMode::Standard, 60);
}

#[test]
fn low_latency_ladder() {
    assert_ladder(LatencyMode::Low, 30);
}

#[test]
fn flashes_and_beeps_stay_in_sync() {
    let mut bench = Bench::new(Level::Plus, LatencyMode::Standard);
    let items = clip(bench.folder.path(), &flashes_and_beeps(8));
    bench.contribute(&items);
    bench.wait("seven seconds", |programme| programme.rungs.first().is_some_and(|(.., frames)| frames.len() >= 220));
    assert_in_sync(&bench, 5);
}

/// White for a fifth of each second, with a tone.
fn flashes_and_beeps(seconds: u32) -> String {
    let source = "-f lavfi -i color=black:s=320x180:r=30,geq=lum='if(lt(mod(T\\,1)\\,0.2)\\,235\\,16)':cb=128:cr=128 \
        -f lavfi -i aevalsrc='if(lt(mod(t\\,1)\\,0.2)\\,0.5*sin(2764*t)\\,0)':s=44100 -c:v libx264 -preset ultrafast \
        -pix_fmt yuv420p -bf 2 -g 30 -c:a aac -ac 2";
    format!("{} -t {seconds}", source.replace('\'', ""))
}

fn assert_in_sync(bench: &Bench, least: usize) {
    let programme = bench.programme();
    let apart = TimeDelta::from_millis(500);
    let flashes = rises(&programme.brightness(bench.folder.path(), 0), 128, apart);
    let beeps = rises(&programme.loudness(bench.folder.path()), 0.1, apart);
    assert!(flashes.len() >= least, "{flashes:?}");
    for flash in flashes {
        let off = beeps.iter().map(|beep| (*beep - flash).abs()).min().unwrap();
        assert!(off <= TimeDelta::from_millis(40), "{flash:?}: {} ms", off.as_millis());
    }
}

#[test]
fn every_codec_of_a_transport_stream() {
    let video = "-f lavfi -i testsrc2=s=320x180:r=25 -f lavfi -i sine=440:r=48000 -t 3 -pix_fmt yuv420p";
    for codecs in [
        "-c:v libx265 -preset ultrafast -x265-params log-level=none -c:a ac3",
        "-c:v libx264 -preset ultrafast -c:a eac3",
        "-c:v libx264 -preset ultrafast -c:a libopus",
        "-c:v libx264 -preset ultrafast -flags +ilme+ildct -x264opts tff=1 -c:a aac -ac 6",
    ] {
        let mut bench = Bench::new(Level::Plus, LatencyMode::Low);
        let items = clip(bench.folder.path(), &format!("{video} {codecs}"));
        bench.contribute(&items);
        bench.wait(codecs, |programme| {
            programme.rungs.first().is_some_and(|(.., frames)| frames.len() >= 70) && programme.audio.len() > 120
        });
        let (programme, stats) = (bench.programme(), bench.ladder.stats());
        programme.assert_continuous(25, bench.ladder.stats().skipped_frames);
        assert!(programme.loudness(bench.folder.path()).iter().any(|(_, loud)| *loud > 0.05), "{codecs}");
        assert!(stats.continuity.live >= 65 && stats.bad_frames == 0, "{codecs}: {stats:?}");
    }
}

#[test]
fn takeover_with_another_codec_and_size_is_continuous() {
    let mut bench = Bench::new(Level::Plus, LatencyMode::Low);
    let first = clip(bench.folder.path(), &h264("640x360", 30, 3));
    let second = clip(
        bench.folder.path(),
        &format!(
            "-f lavfi -i testsrc2=s=480x480:r=25 {TONE} -t 3 -c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -x265-params \
             log-level=none -c:a ac3"
        ),
    );
    bench.contribute(&first);
    bench.contribute(&second);
    bench.wait("both", |programme| programme.rungs.first().is_some_and(|(.., frames)| frames.len() >= 170));
    let (programme, stats) = (bench.programme(), bench.ladder.stats());
    programme.assert_continuous(30, bench.ladder.stats().skipped_frames);
    assert_eq!(programme.rungs[0].0.name, "360p");
    programme.brightness(bench.folder.path(), 0);
    assert!(stats.continuity.resyncs >= 1 && stats.continuity.live >= 120, "{stats:?}");
}

#[test]
fn missing_video_is_repeated_and_then_the_slate_is_presented() {
    let mut bench = Bench::new(Level::Plus, LatencyMode::Low);
    let dark = "-f lavfi -i color=black:s=320x180:r=30 -f lavfi -i sine=440:r=48000 -t 3 -c:v libx264 -preset ultrafast \
        -pix_fmt yuv420p -c:a aac -ac 2";
    let items = clip(bench.folder.path(), dark);
    bench.contribute(&items);
    bench.wait("the slate", |_| bench.ladder.stats().continuity.slate >= 30);
    bench.contribute(&items);
    bench.wait("the return", |_| bench.ladder.stats().continuity.live >= 150);
    let programme = bench.programme();
    programme.assert_continuous(30, bench.ladder.stats().skipped_frames);
    let bright = programme.brightness(bench.folder.path(), 0);
    let is_slate: Vec<_> = bright.iter().map(|(_, grey)| *grey > 128).collect();
    // Dark, the slate, dark again.
    let changes = is_slate.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert_eq!((is_slate[0], changes), (false, 2));
    assert!(bench.ladder.stats().continuity.repeated >= 10, "{:?}", bench.ladder.stats());
}

#[test]
fn portrait_stays_portrait() {
    let mut bench = Bench::new(Level::Premium, LatencyMode::Reduced);
    let items = clip(bench.folder.path(), &h264("540x960", 60, 3));
    bench.contribute(&items);
    bench.wait("three seconds", |programme| programme.rungs.len() == 4 && programme.rungs[0].2.len() >= 150);
    let programme = bench.programme();
    programme.assert_continuous(120, bench.ladder.stats().skipped_frames);
    let sizes: Vec<_> = programme.rungs.iter().map(|(rung, ..)| (rung.width, rung.height, rung.divisor)).collect();
    assert_eq!(sizes, [(540, 960, 1), (432, 768, 2), (324, 576, 2), (216, 384, 2)]);
    let (best, lower) = (&programme.audio_tracks[0].1, &programme.audio_tracks[1].1);
    assert!(lower.len() > 100 && best.iter().zip(lower).all(|(one, other)| one.pts == other.pts));
    let bytes = |frames: &[Frame]| frames.iter().take(100).map(|frame| frame.payload.len()).sum::<usize>();
    assert!(bytes(lower) < bytes(best));
}

#[test]
fn audio_only_programme() {
    let mut bench = Bench::new(Level::Plus, LatencyMode::Standard);
    let items = clip(bench.folder.path(), &format!("{TONE} -t 4 -c:a aac -ac 2"));
    bench.contribute(&items);
    bench.wait("audio", |programme| programme.audio.len() > 150);
    assert!(bench.programme().rungs.is_empty());
}

#[test]
fn video_joins_an_audio_only_programme() {
    for mode in [LatencyMode::Low, LatencyMode::Standard] {
        let mut bench = Bench::new(Level::Plus, mode);
        let audio = clip(bench.folder.path(), &format!("{TONE} -t 3 -c:a aac -ac 2"));
        let both = clip(bench.folder.path(), &flashes_and_beeps(7));
        bench.contribute(&audio);
        bench.contribute(&both);
        bench.wait("video", |programme| programme.rungs.first().is_some_and(|(.., frames)| frames.len() >= 130));
        let programme = bench.programme();
        let gop = if mode == LatencyMode::Low { 30 } else { 60 };
        programme.assert_continuous(gop, bench.ladder.stats().skipped_frames);
        assert_in_sync(&bench, 3);
        let first = programme.rungs[0].2[0].pts;
        assert!(
            (first - programme.audio[0].pts).as_millis() > 3_000 && (first - Timestamp::ZERO).as_millis() % 1_000 == 0
        );
        // The packager is given the video track before any audio of its time.
        let before = bench.out().into_iter().take_while(|output| !matches!(output, Output::Rung { .. }));
        let ahead =
            before.filter_map(|output| if let Output::Frame(frame) = output { Some(frame.pts) } else { None }).max();
        assert!(ahead.unwrap() < first, "{mode:?}");
    }
}

#[test]
fn hdr_becomes_sdr() {
    // A grey that is white in HDR: a signal of 0.58 in PQ, of 0.75 in HLG.
    for (transfer, grey) in [("smpte2084", "0x949494"), ("arib-std-b67", "0xbfbfbf")] {
        let mut bench = Bench::new(Level::Plus, LatencyMode::Low);
        let hdr = format!(
            "-f lavfi -i color=c={grey}:s=320x180:r=30 -t 2 -pix_fmt yuv420p10le -c:v libx265 -preset ultrafast -x265-params \
             log-level=none:keyint=30:bframes=0:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc:range=limited"
        );
        let items = clip(bench.folder.path(), &hdr);
        bench.contribute(&items);
        let (programme, folder) = bench.finish();
        let bright = programme.brightness(folder.path(), 0);
        assert!(bright.len() >= 60, "{transfer}: {}", bright.len());
        assert!(bright.iter().all(|(_, grey)| (235..=252).contains(grey)), "{transfer}: {bright:?}");
        let colours = probe(&folder.path().join("rung.h264"));
        assert_eq!(colours, "yuv420p,tv,bt709,bt709,bt709", "{transfer}");
    }
}

fn assert_complete(mode: LatencyMode) {
    const FRAMES: usize = 75;
    let mut bench = Bench::new(Level::Plus, mode);
    // Only the last frame is white.
    let items = clip(
        bench.folder.path(),
        &format!(
            "-f lavfi -i color=black:s=320x180:r=30,drawbox=t=fill:color=white:enable=gte(n\\,{}) {TONE} \
             -t 2.5 -c:v libx264 -preset veryfast -pix_fmt yuv420p -g 30 -c:a aac -ac 2",
            FRAMES - 1,
        ),
    );
    bench.contribute(&items);
    let (programme, folder) = bench.finish();
    let bright = programme.brightness(folder.path(), 0);
    // A busy machine repeats frames at times.
    assert!(bright.len() >= FRAMES && bright.len() < FRAMES + 30, "{mode:?}: {}", bright.len());
    assert!(bright.last().unwrap().1 > 128 && bright[FRAMES - 3].1 < 128, "{mode:?}");
    let length = programme.audio.last().unwrap().pts - programme.audio[0].pts;
    assert!(length.as_millis() >= 2_480, "{mode:?}: {} ms", length.as_millis());
}

#[test]
fn no_frame_is_lost_at_the_end() {
    assert_complete(LatencyMode::Low);
    assert_complete(LatencyMode::Standard);
}

#[test]
fn very_short_programme_is_complete() {
    let mut bench = Bench::new(Level::Plus, LatencyMode::Low);
    // Fewer frames than it takes to know their rate.
    let items = clip(bench.folder.path(), &h264("320x180", 5, 1));
    bench.contribute(&items);
    let (programme, _folder) = bench.finish();
    assert_eq!(programme.rungs[0].2.len(), 5);
}

#[test]
fn frames_that_waited_for_the_start_are_no_overload() {
    let mut bench = Bench::new(Level::Plus, LatencyMode::Low);
    // The frame rate is known only after some seconds of frames, which then come all at once.
    let items = clip(bench.folder.path(), &h264("640x360", 5, 3));
    bench.contribute(&items);
    let (programme, _folder) = bench.finish();
    assert!(programme.others.is_empty(), "{:?}", programme.others);
}

#[test]
fn end_of_a_ladder_ends_all_its_threads() {
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let mut bench = Bench::new(Level::Plus, LatencyMode::Low);
    let items = clip(bench.folder.path(), &h264("640x360", 30, 2));
    bench.contribute(&items);
    bench.wait("two seconds", |programme| programme.rungs.first().is_some_and(|(.., frames)| frames.len() >= 30));
    let at_work = threads();
    let machine = bench.end();
    // Other tests wait for the machine meanwhile. GLib keeps its threads for 15 seconds.
    let began = Instant::now();
    while threads() + 5 > at_work {
        assert!(began.elapsed() < Duration::from_secs(30), "{at_work} threads, then {}", threads());
        sleep(Duration::from_millis(100));
    }
    drop(machine);
}

#[test]
fn vp9_and_av1() {
    let video = "-f lavfi -i testsrc2=s=320x180:r=25 -t 3 -pix_fmt yuv420p";
    for codec in ["-c:v libvpx-vp9 -deadline realtime -cpu-used 8", "-c:v libaom-av1 -usage realtime -cpu-used 8"] {
        let mut bench = Bench::new(Level::Plus, LatencyMode::Low);
        let items = ivf::read(bench.folder.path(), &format!("{video} {codec} -g 25"), 25);
        bench.contribute(&items);
        bench.wait(codec, |programme| programme.rungs.first().is_some_and(|(.., frames)| frames.len() >= 70));
        let stats = bench.ladder.stats();
        bench.programme().assert_continuous(25, stats.skipped_frames);
        assert!(stats.continuity.live >= 65 && stats.bad_frames == 0, "{codec}: {stats:?}");
    }
}
