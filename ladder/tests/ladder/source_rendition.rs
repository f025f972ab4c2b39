//! The source as a rendition of its own, if it is not H.264.

use ladder::Output;
use media::{CodecConfig, Frame, LatencyMode};

use crate::source::frames;
use crate::support::{Bench, clip};

const TONE: &str = "-f lavfi -i sine=440:r=48000";

#[test]
fn hevc_is_forwarded_and_absent_while_the_encoder_is() {
    for mode in [LatencyMode::Reduced, LatencyMode::Standard] {
        let mut bench = Bench::with_source(mode);
        let hevc = format!(
            "-f lavfi -i testsrc2=s=640x360:r=30 {TONE} -t 4 -pix_fmt yuv420p -c:v libx265 -preset ultrafast -x265-params \
             log-level=none:keyint=30:min-keyint=30:scenecut=0:open-gop=0:bframes=2 -c:a aac -ac 2"
        );
        let items = clip(bench.folder.path(), &hevc);
        bench.contribute(&items);
        bench.wait("the slate", |_| bench.ladder.stats().continuity.slate >= 30);
        bench.contribute(&items);
        let (programme, _folder) = bench.finish();
        let names: Vec<_> = programme.rungs.iter().map(|(rung, ..)| rung.name.as_str()).collect();
        assert_eq!(names, ["360p", "270p", "source"]);
        let keys = |frames: &[Frame]| -> Vec<_> {
            frames.iter().filter(|frame| frame.access.is_independent()).map(|frame| frame.pts).collect()
        };
        let key_pts = keys(&programme.rungs[0].2);
        assert!(keys(&programme.rungs[2].2).iter().all(|pts| key_pts.contains(pts)), "{mode:?}");
        let (_, track, left) = &programme.rungs[2];
        assert!(matches!(track.codec, CodecConfig::Hevc(_)));
        let sent = frames(&items);
        let forwarded = sent.iter().cycle().zip(left).filter(|(sent, left)| sent.payload == left.payload).count();
        assert!(forwarded >= 2 * 110, "{forwarded} of twice {}: {:?}", sent.len(), left.len());
        assert!(left.windows(2).all(|pair| pair[0].dts < pair[1].dts));
        let changes: Vec<_> =
            programme.others.iter().filter(|other| !matches!(other, Output::Shed { .. })).cloned().collect();
        assert_eq!(changes, [Output::Absent { rung: 2 }, Output::Restored { rung: 2 }], "{mode:?}");
    }
}

#[test]
fn another_codec_is_not_mixed_in() {
    let mut bench = Bench::with_source(LatencyMode::Reduced);
    let coded =
        |codec: &str| format!("-f lavfi -i testsrc2=s=320x180:r=30 {TONE} -t 3 -pix_fmt yuv420p {codec} -c:a aac");
    let hevc = "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=30:scenecut=0:open-gop=0:bframes=0";
    let hevc = clip(bench.folder.path(), &coded(hevc));
    let h264 = clip(bench.folder.path(), &coded("-c:v libx264 -preset ultrafast -g 30"));
    bench.contribute(&hevc);
    bench.contribute(&h264);
    let (programme, _folder) = bench.finish();
    let (_, _, left) = programme.rungs.last().unwrap();
    let sent = frames(&hevc);
    assert!(left.len() >= 80 && left.iter().all(|left| sent.iter().any(|sent| sent.payload == left.payload)));
}
