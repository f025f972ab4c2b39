//! Metadata leaves with the time of the frames that it came with.

use bytes::Bytes;
use ladder::Output;
use ladder::plan::Level;
use media::{LatencyMode, Metadata, MetadataKind, TimeDelta};
use wire::Item;

use crate::rises;
use crate::support::{Bench, clip, video_track};

/// Puts a marker before each frame at which a white flash begins: one in each second, with `fps` frames per second.
fn with_markers(items: Vec<Item>, fps: usize) -> Vec<Item> {
    let video = video_track(&items);
    let frame_pts = |item: &Item| match item {
        Item::Frame(frame) if frame.track == video => Some(frame.pts),
        _ => None,
    };
    let mut presented: Vec<_> = items.iter().filter_map(frame_pts).collect();
    presented.sort_unstable();
    let flashes: Vec<_> = presented.iter().copied().skip(fps).step_by(fps).collect();
    let mut all = Vec::new();
    for item in items {
        if let Item::Frame(frame) = &item
            && flashes.contains(&frame.pts)
        {
            let payload = Bytes::from_static(b"ID3");
            all.push(Item::Metadata(Metadata { kind: MetadataKind::Id3, pts: frame.pts, payload }));
        }
        all.push(item);
    }
    all
}

#[test]
fn metadata_keeps_the_time_of_its_frames_across_a_reconnect() {
    for mode in [LatencyMode::Low, LatencyMode::Standard] {
        let mut bench = Bench::new(Level::Plus, mode);
        let source = "-f lavfi -i color=black:s=320x180:r=25,geq=lum='if(lt(mod(T\\,1)\\,0.2)\\,235\\,16)':cb=128:cr=128 \
            -t 4.5 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -bf 2 -g 25";
        let items = with_markers(clip(bench.folder.path(), &source.replace('\'', "")), 25);
        bench.contribute(&items);
        bench.contribute(&items);
        let (programme, folder) = bench.finish();
        let flashes = rises(&programme.brightness(folder.path(), 0), 128, TimeDelta::from_millis(500));
        let markers = programme.others.iter().filter_map(|other| match other {
            Output::Metadata(marker) => Some(marker.pts),
            _ => None,
        });
        let markers: Vec<_> = markers.collect();
        assert_eq!(markers.len(), 8, "{mode:?}: {markers:?}");
        for marker in markers {
            let off = flashes.iter().map(|flash| (*flash - marker).abs()).min().unwrap();
            assert!(
                off <= TimeDelta::from_millis(40),
                "{mode:?}: {marker:?} is {} ms off {flashes:?}",
                off.as_millis()
            );
        }
    }
}
