//! Encoders that fail are replaced, or their renditions dropped.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer_video as video;
use media::{FrameRate, LatencyMode, TickGrid};

use super::*;
use crate::plan::{Input, Level, plan};
use crate::source::parameter_sets::EncoderConstraints;
use crate::video::encoder::SOFTWARE;
use crate::video::rendition::MAX_FAILURES;

const RATE: FrameRate = FrameRate { frames: 30, seconds: 1 };
const TICKS: TickGrid = TickGrid { origin: Timestamp::ZERO, rate: RATE };

/// Renditions for video of this size, with hardware that starts like an encoder but does not write H.264.
fn renditions(width: u32, height: u32) -> VideoRenditions {
    gst::init().unwrap();
    let input = Input { width, height, rate: RATE, bitrate: None, codec_efficiency: 1.0 };
    let params = EncoderParams { level: Level::Plus, mode: LatencyMode::Low, ticks: TICKS, gop: 30, max_gop: 30 };
    let available = [("identity", true), (SOFTWARE, false)]
        .map(|(element, hardware)| EncoderInfo { element, name: "an encoder", hardware })
        .to_vec();
    let plan = plan(&input, Level::Plus, 1_080);
    let setup = Setup { plan, params, first: None, available, source: SourceUse::Encoded };
    VideoRenditions::new(setup, Arc::new(|| {})).unwrap()
}

/// Presents frames, one in ten milliseconds, until it is enough. The clock stands still, so that nothing is ever too
/// slow.
fn run(renditions: &mut VideoRenditions, out: &mut Vec<Output>, enough: impl Fn(&[Output]) -> bool) {
    let (width, height) = (renditions.renditions[0].rung.width, renditions.renditions[0].rung.height);
    let info = video::VideoInfo::builder(video::VideoFormat::I420, width, height).build().unwrap();
    let began = Instant::now();
    for tick in 0.. {
        let frame = RawFrame::new(gst::Buffer::with_size(info.size()).unwrap(), info.clone());
        renditions.present(&frame, true, TICKS.at(tick), TimeDelta::ZERO, out);
        renditions.collect(out);
        if enough(out) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "it does not come to that: {:?}", renditions.stats());
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn hardware_that_fails_at_run_time_is_replaced_by_software() {
    let (mut renditions, mut out) = (renditions(320, 180), Vec::new());
    let is_frame = |output: &&Output| matches!(output, Output::Frame(_));
    run(&mut renditions, &mut out, |out| out.iter().filter(is_frame).count() >= 10);
    let stats = renditions.stats();
    assert!((1..u64::from(MAX_FAILURES)).contains(&stats.replaced), "{stats:?}");
    assert!(renditions.available.iter().all(|encoder| !encoder.hardware));
    // The software's frames begin with a key frame, after a header of their own.
    assert!(matches!(&out[..], [Output::Rung { n: 0, .. }, Output::Frame(first), ..] if first.access.is_independent()));
}

#[test]
fn rendition_whose_encoders_fail_is_dropped_and_restored() {
    let (mut renditions, mut out) = (renditions(640, 360), Vec::new());
    renditions.available.retain(|encoder| !encoder.hardware);
    let impossible = EncoderConstraints { set_id: 0, profile: "no-such-profile", level: 31 };
    renditions.renditions[1].constraints = Some(impossible);
    run(&mut renditions, &mut out, |out| out.iter().any(|output| matches!(output, Output::Shed { rung: 1, .. })));
    assert!(out.contains(&Output::Shed { rung: 1, failed: true }));
    let stats = renditions.stats();
    assert_eq!((renditions.shed_count(), stats.replaced, stats.shed), (1, u64::from(MAX_FAILURES), 1));
    // Once more, and it works.
    renditions.renditions[1].constraints = None;
    while renditions.renditions[0].wait() > TimeDelta::ZERO {
        sleep(Duration::from_millis(1));
    }
    [0, 20].into_iter().for_each(|now| renditions.judge(TimeDelta::from_secs(now), &mut out));
    let of_rung = |output: &Output| matches!(output, Output::Frame(frame) if frame.track == TrackId(1));
    run(&mut renditions, &mut out, |out| out.iter().any(of_rung));
    assert_eq!(renditions.shed_count(), 0);
    let back = out.iter().position(|output| *output == Output::Restored { rung: 1 });
    assert!(back.is_some_and(|back| matches!(out.get(back..), Some(out) if out.iter().any(of_rung))));
}
