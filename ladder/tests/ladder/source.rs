//! The source as the largest rung: its own frames, and an encoder's in its gaps.

use ladder::Output;
use media::{Frame, LatencyMode, TrackId};
use slate::{Item, Splice};
use wire::Item as Demuxed;

use crate::support::{Bench, Programme, clip, video_track};

/// A dark clip with B-frames, and a key frame each second.
fn dark(size: &str, seconds: u32) -> String {
    format!(
        "-f lavfi -i color=black:s={size}:r=30 -f lavfi -i sine=440:r=48000 -t {seconds} -vf noise=alls=4:allf=t -c:v libx264 \
         -preset veryfast -b:v 600k -pix_fmt yuv420p -g 30 -sc_threshold 0 -bf 2 -c:a aac -ac 2"
    )
}

/// Frames of a contribution that the reference rendition may have.
pub(crate) fn frames(items: &[Demuxed]) -> Vec<Frame> {
    let (mut splice, mut spliced) = (Splice::new(), Vec::new());
    splice.begin();
    for item in items {
        match item {
            Demuxed::Track(track) => splice.track(track.clone(), &mut spliced),
            Demuxed::Frame(frame) => splice.frame(frame.clone(), &mut spliced),
            Demuxed::Metadata(_) | Demuxed::Fault(_) | Demuxed::VideoExpected => {}
        }
    }
    let video = video_track(items);
    let frame = |item| match item {
        Item::Frame(frame) if frame.track == video => Some(frame),
        _ => None,
    };
    spliced.into_iter().filter_map(frame).collect()
}

/// Asserts that each rung has its key frames where the reference rendition has some.
fn assert_keys_together(programme: &Programme) {
    let keys = |frames: &[Frame]| -> Vec<_> {
        frames.iter().filter(|frame| frame.access.is_independent()).map(|frame| frame.pts).collect()
    };
    let reference = &programme.rungs[0].2;
    let key_pts = keys(reference);
    assert!(reference.windows(2).all(|pair| pair[0].dts < pair[1].dts));
    assert!(reference.iter().all(|frame| frame.dts <= frame.pts && frame.track == TrackId(0)));
    // A rung that a busy machine sheds has none for a while.
    let shed = programme.others.iter().any(|other| matches!(other, Output::Shed { .. }));
    for (rung, _, frames) in programme.rungs[1..].iter().filter(|_| !shed) {
        let last = frames.iter().map(|frame| frame.pts).max().unwrap();
        let missing: Vec<_> = key_pts.iter().filter(|pts| **pts < last && !keys(frames).contains(pts)).collect();
        assert!(missing.is_empty(), "{}: {missing:?} of {key_pts:?}", rung.name);
    }
}

#[test]
fn source_frames_are_the_reference_renditions() {
    for mode in [LatencyMode::Low, LatencyMode::Standard] {
        let mut bench = Bench::with_source(mode);
        let items = clip(bench.folder.path(), &dark("640x360", 5));
        bench.contribute(&items);
        bench.wait("five seconds", |programme| programme.rungs.len() == 2 && programme.rungs[0].2.len() >= 140);
        let programme = bench.programme();
        assert_keys_together(&programme);
        let (sent, left) = (frames(&items), &programme.rungs[0].2);
        let forwarded = left.iter().zip(&sent).filter(|(left, sent)| left.payload == sent.payload).count();
        assert!(forwarded >= 140, "{forwarded} of {}: {:?}", sent.len(), bench.ladder.stats());
        assert_eq!(bench.ladder.stats().source_frames, forwarded as u64);
        let step = programme.rungs[0].0.rate.span(1);
        let apart = |n: usize| left[n].pts - left[0].pts - (sent[n].pts - sent[0].pts);
        assert!((0..forwarded).all(|n| apart(n).abs() < step), "in sync with the source");
    }
}

#[test]
fn gaps_are_encoded() {
    let mut bench = Bench::with_source(LatencyMode::Low);
    let (items, small) = (clip(bench.folder.path(), &dark("640x360", 3)), dark("480x360", 2));
    let small = clip(bench.folder.path(), &small);
    bench.contribute(&items);
    bench.wait("the slate", |_| bench.ladder.stats().continuity.slate >= 30);
    let before = bench.ladder.stats().source_frames;
    bench.contribute(&items);
    bench.wait("the return", |_| bench.ladder.stats().source_frames >= before + 60);
    // A source of another size is encoded.
    bench.contribute(&small);
    let live = bench.ladder.stats().continuity.live;
    bench.wait("the other", |_| bench.ladder.stats().continuity.live >= live);
    let (programme, stats) = (bench.programme(), bench.ladder.stats());
    assert_keys_together(&programme);
    assert!((150..=180).contains(&stats.source_frames), "{stats:?}");
    let bright = programme.brightness(bench.folder.path(), 0);
    let changes = bright.windows(2).filter(|pair| (pair[0].1 > 128) != (pair[1].1 > 128)).count();
    assert_eq!((bright[0].1 > 128, changes), (false, 2), "dark, the slate, dark again");
    let shedding = |other: &Output| matches!(other, Output::Shed { .. } | Output::Restored { .. });
    assert!(programme.others.iter().all(shedding), "{:?}", programme.others);
}

#[test]
fn unsuitable_source_is_encoded() {
    for unsuitable in ["-pix_fmt yuv422p", "-flags +ilme+ildct -x264opts tff=1", "-vf setsar=4/3"] {
        let mut bench = Bench::with_source(LatencyMode::Low);
        let items = clip(bench.folder.path(), &format!("{} {unsuitable}", dark("320x180", 2)));
        bench.contribute(&items);
        bench.wait(unsuitable, |programme| programme.rungs.first().is_some_and(|(.., frames)| frames.len() >= 45));
        bench.programme().assert_continuous(30, 1);
        assert_eq!(bench.ladder.stats().source_frames, 0, "{unsuitable}");
    }
}
