//! Metadata comes out at the time of the pictures that it came with.

use bytes::Bytes;
use ladder::Output;
use ladder::plan::Level;
use media::{LatencyMode, Metadata, MetadataKind, TimeDelta};
use wire::Item;

use crate::rises;
use crate::support::{Bench, clip, pictures};

/// Puts a word before each picture at which a white flash begins, of those `fps` a second: one in each second.
fn with_words(items: Vec<Item>, fps: usize) -> Vec<Item> {
    let video = pictures(&items);
    let picture = |item: &Item| match item {
        Item::Frame(frame) if frame.track == video => Some(frame.pts),
        _ => None,
    };
    let mut pictures: Vec<_> = items.iter().filter_map(picture).collect();
    pictures.sort_unstable();
    let flashes: Vec<_> = pictures.iter().copied().skip(fps).step_by(fps).collect();
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
fn it_is_dated_like_the_pictures_over_a_reconnect_too() {
    for mode in [LatencyMode::Low, LatencyMode::Standard] {
        let mut bench = Bench::new(Level::Plus, mode);
        let source = "-f lavfi -i color=black:s=320x180:r=25,geq=lum='if(lt(mod(T\\,1)\\,0.2)\\,235\\,16)':cb=128:cr=128 \
            -t 4.5 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -bf 2 -g 25";
        let items = with_words(clip(bench.folder.path(), &source.replace('\'', "")), 25);
        bench.contribute(&items);
        bench.contribute(&items);
        let (programme, folder) = bench.finish();
        let flashes = rises(&programme.brightness(folder.path(), 0), 128, TimeDelta::from_millis(500));
        let words = programme.others.iter().filter_map(|other| match other {
            Output::Metadata(word) => Some(word.pts),
            _ => None,
        });
        let words: Vec<_> = words.collect();
        assert_eq!(words.len(), 8, "{mode:?}: {words:?}");
        for word in words {
            let off = flashes.iter().map(|flash| (*flash - word).abs()).min().unwrap();
            assert!(off <= TimeDelta::from_millis(40), "{mode:?}: {word:?} is {} ms off {flashes:?}", off.as_millis());
        }
    }
}
