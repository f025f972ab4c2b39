//! Closed captions inside the contribution's video are inside every rung.

use ladder::plan::Level;
use media::{Frame, LatencyMode};
use wire::Item;

use crate::h264;
use crate::support::{Bench, clip, video_track};

/// `ATSC1_data` with `cc_data`, registered by ITU-T T.35 for the United States (ATSC A/53 part 4 §6.2.3).
const HEAD: &[u8] = b"\xb5\x00\x31GA94\x03";
const FRAMES: usize = 180;

/// Two letters for frame `n`.
fn letters(n: usize) -> [u8; 2] {
    [b' ' + (n / 64) as u8, b'@' + (n % 64) as u8]
}

/// Puts a packet of captions, and one of padding, in front of each frame.
fn captioned(mut items: Vec<Item>) -> Vec<Item> {
    let video = video_track(&items);
    let video_frames = items.iter_mut().filter_map(|item| match item {
        Item::Frame(frame) if frame.track == video => Some(frame),
        _ => None,
    });
    let mut frames: Vec<_> = video_frames.collect();
    frames.sort_unstable_by_key(|frame| frame.pts);
    for (n, frame) in frames.into_iter().enumerate() {
        let [one, other] = letters(n);
        let message = [HEAD, &[0x42, 0xff, 0xfc, one, other, 0xf8, 0x80, 0x80, 0xff]].concat();
        let unit = [&[6, 4, message.len() as u8], &message[..], &[0x80]].concat();
        frame.payload = [&(unit.len() as u32).to_be_bytes(), &unit[..], &frame.payload].concat().into();
    }
    items
}

/// Letters in the frames of a rung, in presentation order.
fn read(frames: &[Frame]) -> Vec<[u8; 2]> {
    let mut presented: Vec<_> = frames.iter().collect();
    presented.sort_unstable_by_key(|frame| frame.pts);
    let mut all = Vec::new();
    for frame in presented {
        let Some(at) = frame.payload.windows(HEAD.len()).position(|bytes| bytes == HEAD) else { continue };
        let data = &frame.payload[at + HEAD.len()..];
        let packets = data[2..].chunks_exact(3).take(usize::from(data[0] & 0x1f));
        all.extend(packets.map(|packet| [packet[1], packet[2]]));
    }
    all
}

#[test]
fn every_rung_has_the_captions_once_and_in_order() {
    for mode in [LatencyMode::Low, LatencyMode::Standard] {
        let mut bench = Bench::new(Level::Premium, mode);
        let items = captioned(clip(bench.folder.path(), &h264("540x304", 60, 3)));
        bench.contribute(&items);
        // The last frame is repeated, but its captions are not.
        bench.wait("a repeated frame", |_| bench.ladder.stats().continuity.repeated >= 10);
        let stats = bench.ladder.stats();
        let (programme, _folder) = bench.finish();
        let sent: Vec<_> = (0..FRAMES).map(letters).collect();
        assert!(programme.rungs.iter().any(|(rung, ..)| rung.divisor == 2), "a rung has every other frame");
        for (rung, _, frames) in &programme.rungs {
            let read = read(frames);
            assert!(read.is_sorted() && read.windows(2).all(|pair| pair[0] != pair[1]), "{mode:?} {}", rung.name);
            // A busy machine skips frames.
            let lost = sent.iter().filter(|letters| !read.contains(letters)).count() as u64;
            let bound = stats.skipped_frames + stats.continuity.late_frames;
            assert!(lost <= bound, "{mode:?} {}: {lost} of {FRAMES} are lost: {stats:?}", rung.name);
        }
    }
}
