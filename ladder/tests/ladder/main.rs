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

/// Where a signal first goes above `threshold` after having been below it, each time.
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

fn ladder_of(mode: LatencyMode, gop: usize) {
    let mut bench = Bench::new(Level::Plus, mode);
    let items = clip(bench.folder.path(), &h264("1280x720", 30, 6));
    bench.contribute(&items);
    bench.wait("six seconds", |programme| programme.rungs.len() == 3 && programme.rungs[0].2.len() >= 170);
    let programme = bench.programme();
    let names: Vec<_> = programme.rungs.iter().map(|(rung, ..)| rung.name.as_str()).collect();
    assert_eq!(names, ["720p", "480p", "270p"]);
    programme.assert_sound(gop, bench.ladder.stats().skipped_frames);
    for rung in 0..3 {
        programme.brightness(bench.folder.path(), rung);
    }
    let figures = bench.ladder.stats();
    assert_eq!((figures.bad_frames, figures.refused_frames, figures.rungs), (0, 0, 3), "{figures:?}");
}

#[test]
fn rungs_have_their_key_frames_together() {
    ladder_of(LatencyMode::Standard, 60);
}

#[test]
fn low_latency_holds_nothing_back() {
    ladder_of(LatencyMode::Low, 30);
}

#[test]
fn a_flash_and_a_beep_stay_together() {
    let mut bench = Bench::new(Level::Plus, LatencyMode::Standard);
    let items = clip(bench.folder.path(), &flashes_and_beeps(8));
    bench.contribute(&items);
    bench.wait("seven seconds", |programme| programme.rungs.first().is_some_and(|(.., frames)| frames.len() >= 220));
    assert_in_step(&bench, 5);
}

/// White for a fifth of each second, and a tone with it.
fn flashes_and_beeps(seconds: u32) -> String {
    let source = "-f lavfi -i color=black:s=320x180:r=30,geq=lum='if(lt(mod(T\\,1)\\,0.2)\\,235\\,16)':cb=128:cr=128 \
        -f lavfi -i aevalsrc='if(lt(mod(t\\,1)\\,0.2)\\,0.5*sin(2764*t)\\,0)':s=44100 -c:v libx264 -preset ultrafast \
        -pix_fmt yuv420p -bf 2 -g 30 -c:a aac -ac 2";
    format!("{} -t {seconds}", source.replace('\'', ""))
}

fn assert_in_step(bench: &Bench, least: usize) {
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
            programme.rungs.first().is_some_and(|(.., frames)| frames.len() >= 70) && programme.sound.len() > 120
        });
        let (programme, figures) = (bench.programme(), bench.ladder.stats());
        programme.assert_sound(25, bench.ladder.stats().skipped_frames);
        assert!(programme.loudness(bench.folder.path()).iter().any(|(_, loud)| *loud > 0.05), "{codecs}");
        assert!(figures.continuity.live >= 65 && figures.bad_frames == 0, "{codecs}: {figures:?}");
    }
}

#[test]
fn another_codec_and_size_takes_over_unbroken() {
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
    let (programme, figures) = (bench.programme(), bench.ladder.stats());
    programme.assert_sound(30, bench.ladder.stats().skipped_frames);
    assert_eq!(programme.rungs[0].0.name, "360p");
    programme.brightness(bench.folder.path(), 0);
    assert!(figures.continuity.shifts >= 1 && figures.continuity.live >= 120, "{figures:?}");
}

#[test]
fn silence_of_the_encoder_is_held_and_then_the_slate() {
    let mut bench = Bench::new(Level::Plus, LatencyMode::Low);
    let dark = "-f lavfi -i color=black:s=320x180:r=30 -f lavfi -i sine=440:r=48000 -t 3 -c:v libx264 -preset ultrafast \
        -pix_fmt yuv420p -c:a aac -ac 2";
    let items = clip(bench.folder.path(), dark);
    bench.contribute(&items);
    bench.wait("the slate", |_| bench.ladder.stats().continuity.slate >= 30);
    bench.contribute(&items);
    bench.wait("the return", |_| bench.ladder.stats().continuity.live >= 150);
    let programme = bench.programme();
    programme.assert_sound(30, bench.ladder.stats().skipped_frames);
    let bright = programme.brightness(bench.folder.path(), 0);
    let seen: Vec<_> = bright.iter().map(|(_, grey)| *grey > 128).collect();
    // Dark, the slate, dark again.
    let changes = seen.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert_eq!((seen[0], changes), (false, 2));
    assert!(bench.ladder.stats().continuity.held >= 10, "{:?}", bench.ladder.stats());
}

#[test]
fn portrait_stays_portrait() {
    let mut bench = Bench::new(Level::Premium, LatencyMode::Reduced);
    let items = clip(bench.folder.path(), &h264("540x960", 60, 3));
    bench.contribute(&items);
    bench.wait("three seconds", |programme| programme.rungs.len() == 4 && programme.rungs[0].2.len() >= 150);
    let programme = bench.programme();
    programme.assert_sound(120, bench.ladder.stats().skipped_frames);
    let sizes: Vec<_> = programme.rungs.iter().map(|(rung, ..)| (rung.width, rung.height, rung.divisor)).collect();
    assert_eq!(sizes, [(540, 960, 1), (432, 768, 2), (324, 576, 2), (216, 384, 2)]);
    let (sound, poorer) = (&programme.sounds[0].1, &programme.sounds[1].1);
    assert!(poorer.len() > 100 && sound.iter().zip(poorer).all(|(one, other)| one.pts == other.pts));
    let bytes = |frames: &[Frame]| frames.iter().take(100).map(|frame| frame.payload.len()).sum::<usize>();
    assert!(bytes(poorer) < bytes(sound));
}

#[test]
fn sound_alone_is_a_programme() {
    let mut bench = Bench::new(Level::Plus, LatencyMode::Standard);
    let items = clip(bench.folder.path(), &format!("{TONE} -t 4 -c:a aac -ac 2"));
    bench.contribute(&items);
    bench.wait("sound", |programme| programme.sound.len() > 150);
    assert!(bench.programme().rungs.is_empty());
}

#[test]
fn pictures_may_join_a_programme_of_sound() {
    for mode in [LatencyMode::Low, LatencyMode::Standard] {
        let mut bench = Bench::new(Level::Plus, mode);
        let sound = clip(bench.folder.path(), &format!("{TONE} -t 3 -c:a aac -ac 2"));
        let both = clip(bench.folder.path(), &flashes_and_beeps(7));
        bench.contribute(&sound);
        bench.contribute(&both);
        bench.wait("pictures", |programme| programme.rungs.first().is_some_and(|(.., frames)| frames.len() >= 130));
        let programme = bench.programme();
        let gop = if mode == LatencyMode::Low { 30 } else { 60 };
        programme.assert_sound(gop, bench.ladder.stats().skipped_frames);
        assert_in_step(&bench, 3);
        let first = programme.rungs[0].2[0].pts;
        assert!(
            (first - programme.sound[0].pts).as_millis() > 3_000 && (first - Timestamp::ZERO).as_millis() % 1_000 == 0
        );
        // Who packages it knows of the pictures before there is sound of their time.
        let before = bench.out().into_iter().take_while(|output| !matches!(output, Output::Rung { .. }));
        let ahead =
            before.filter_map(|output| if let Output::Frame(frame) = output { Some(frame.pts) } else { None }).max();
        assert!(ahead.unwrap() < first, "{mode:?}");
    }
}

#[test]
fn high_dynamic_range_comes_out_as_standard() {
    // Grey that is white in HDR: a signal of 0.58 in PQ, of 0.75 in HLG.
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
        let told = probe(&folder.path().join("rung.h264"));
        assert_eq!(told, "yuv420p,tv,bt709,bt709,bt709", "{transfer}");
    }
}

fn comes_out_to_its_end(mode: LatencyMode) {
    const PICTURES: usize = 75;
    let mut bench = Bench::new(Level::Plus, mode);
    // Only the last picture is white.
    let items = clip(
        bench.folder.path(),
        &format!(
            "-f lavfi -i color=black:s=320x180:r=30,drawbox=t=fill:color=white:enable=gte(n\\,{}) {TONE} \
             -t 2.5 -c:v libx264 -preset veryfast -pix_fmt yuv420p -g 30 -c:a aac -ac 2",
            PICTURES - 1,
        ),
    );
    bench.contribute(&items);
    let (programme, folder) = bench.finish();
    let bright = programme.brightness(folder.path(), 0);
    // A machine that is busy makes it hold a picture at times.
    assert!(bright.len() >= PICTURES && bright.len() < PICTURES + 30, "{mode:?}: {}", bright.len());
    assert!(bright.last().unwrap().1 > 128 && bright[PICTURES - 3].1 < 128, "{mode:?}");
    let heard = programme.sound.last().unwrap().pts - programme.sound[0].pts;
    assert!(heard.as_millis() >= 2_480, "{mode:?}: {} ms", heard.as_millis());
}

#[test]
fn nothing_is_lost_at_the_end() {
    comes_out_to_its_end(LatencyMode::Low);
    comes_out_to_its_end(LatencyMode::Standard);
}

#[test]
fn less_than_a_moment_comes_out_too() {
    let mut bench = Bench::new(Level::Plus, LatencyMode::Low);
    // Fewer pictures than it takes to know their rate.
    let items = clip(bench.folder.path(), &h264("320x180", 5, 1));
    bench.contribute(&items);
    let (programme, _folder) = bench.finish();
    assert_eq!(programme.rungs[0].2.len(), 5);
}

#[test]
fn pictures_that_waited_for_the_start_are_no_overload() {
    let mut bench = Bench::new(Level::Plus, LatencyMode::Low);
    // Their rate is not known before there are some seconds of them, which then come all at once.
    let items = clip(bench.folder.path(), &h264("640x360", 5, 3));
    bench.contribute(&items);
    let (programme, _folder) = bench.finish();
    assert!(programme.others.is_empty(), "{:?}", programme.others);
}

#[test]
fn its_end_is_the_end_of_all_its_threads() {
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let mut bench = Bench::new(Level::Plus, LatencyMode::Low);
    let items = clip(bench.folder.path(), &h264("640x360", 30, 2));
    bench.contribute(&items);
    bench.wait("two seconds", |programme| programme.rungs.first().is_some_and(|(.., frames)| frames.len() >= 30));
    let at_work = threads();
    let machine = bench.end();
    // Other tests wait for the machine meanwhile. GLib keeps threads for others for a quarter of a minute.
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
        let items = ivf::ivf(bench.folder.path(), &format!("{video} {codec} -g 25"), 25);
        bench.contribute(&items);
        bench.wait(codec, |programme| programme.rungs.first().is_some_and(|(.., frames)| frames.len() >= 70));
        let figures = bench.ladder.stats();
        bench.programme().assert_sound(25, figures.skipped_frames);
        assert!(figures.continuity.live >= 65 && figures.bad_frames == 0, "{codec}: {figures:?}");
    }
}
