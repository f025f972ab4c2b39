//! The same troubles in front of hls.js, which has to keep playing.

use serde_json::json;

use super::script::{AUDIO, Tag, VIDEO, publish, tags};
use super::{dated_ahead, is_kept, made, seconds, sets};
use crate::players::assert_plays_in_chromium;
use crate::support::{Clip, Server, alone, clip};

/// The plain clip of a minute with each tag changed, or left out.
fn changed(change: impl Fn(&mut Tag) -> bool) -> Vec<Tag> {
    let all = tags(&clip(&Clip::plain(60)));
    all.into_iter().filter_map(|mut tag| (tag.is_header() || change(&mut tag)).then_some(tag)).collect()
}

/// One trouble after another, at real speed.
fn parade() -> Vec<Tag> {
    let mut all = Vec::new();
    for mut tag in tags(&clip(&Clip::plain(60))) {
        let (at, header) = (tag.at, tag.is_header());
        let lost = tag.kind == AUDIO && (16_000..19_000).contains(&at)
            || tag.kind == VIDEO && (24_000..26_000).contains(&at) && tag.body[0] >> 4 != 1 && at % 7 < 4;
        if lost && !header {
            continue;
        }
        tag.at = match at {
            13_000..20_000 => at + 3_600_000,
            20_000.. => at - 5_000,
            _ => at,
        };
        let again = (21_000..23_000).contains(&at).then(|| tag.clone());
        all.extend([Some(tag), again].into_iter().flatten());
    }
    all
}

/// Plays a contribution that is sent at real speed, and whose troubles come between the 10th and the 25th second.
fn assert_hls_js_plays(tags: Vec<Tag>) {
    let _machine = alone();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let (port, key) = (server.rtmp_port(), stream.key.clone());
    let publisher = std::thread::spawn(move || publish(port, &key, tags, true));
    server.playback(&stream).main().wait_for("three target durations", |list| seconds(list) >= 6.0);
    assert_plays_in_chromium("watch", &server.watch_url(&stream));
    // It goes on sending into a server that is gone, and ends there.
    drop(server);
    publisher.join().expect("the publisher comes to its end");
}

#[test]
fn hls_js_plays_through_one_trouble_after_another() {
    assert_hls_js_plays(parade());
}

#[test]
fn hls_js_plays_on_in_another_picture_size() {
    let words = "testsrc2=size=320x180:rate=25 -f lavfi -i sine=sample_rate=48000 -t 40 -c:v libx264 -preset ultrafast \
                 -pix_fmt yuv420p -g 25 -bf 0 -c:a aac -ac 2";
    let mut all: Vec<_> = tags(&clip(&Clip::plain(60))).into_iter().filter(|tag| tag.at < 15_000).collect();
    let later = |tag: Tag| Tag { at: tag.at + 15_000, comes: tag.comes + 15_000, ..tag };
    all.extend(tags(&made("bad-other-long.flv", words)).into_iter().map(later));
    assert_hls_js_plays(all);
}

/// IDR pictures while the player starts, and then none any more: Chromium decodes open GOPs, but cannot begin with one.
#[test]
fn hls_js_plays_on_where_gops_become_open() {
    let words = "testsrc2=size=320x180:rate=30 -f lavfi -i sine=sample_rate=48000 -t 40 -c:v libx264 -preset veryfast \
                 -pix_fmt yuv420p -g 30 -bf 2 -sc_threshold 0 -x264-params open-gop=1 -forced-idr 1 \
                 -force_key_frames 0,2,4,6,7,8,9,10,11,12,13,14 \
                 -c:a aac -ac 2";
    assert_hls_js_plays(tags(&made("bad-open-long.flv", words)));
}

/// The clock wraps, the frame rate is halved and comes back, pictures and sounds are empty.
fn second_parade() -> Vec<Tag> {
    let kept = changed(|tag| tag.kind == AUDIO || !(20_000..23_000).contains(&tag.at) || is_kept(tag));
    let mut all = Vec::new();
    for mut tag in kept {
        let empty = (14_000..18_000).contains(&tag.at) && !tag.is_header();
        tag.at = tag.at.wrapping_sub(12_000);
        let mut hollow = tag.clone();
        hollow.body.truncate(if tag.kind == VIDEO { 5 } else { 2 });
        all.extend([Some(tag), empty.then_some(hollow)].into_iter().flatten());
    }
    all
}

#[test]
fn hls_js_plays_through_a_second_row_of_troubles() {
    assert_hls_js_plays(second_parade());
}

#[test]
fn hls_js_plays_on_without_sound() {
    assert_hls_js_plays(changed(|tag| tag.kind == VIDEO));
}

#[test]
fn hls_js_plays_on_where_sound_comes_late() {
    assert_hls_js_plays(changed(|tag| tag.kind == VIDEO || tag.at >= 12_000));
}

#[test]
fn hls_js_plays_on_where_sound_goes_for_good() {
    assert_hls_js_plays(changed(|tag| tag.kind == VIDEO || tag.at < 12_000));
}

#[test]
fn hls_js_plays_on_where_sound_is_ahead() {
    assert_hls_js_plays(changed(dated_ahead));
}

#[test]
fn hls_js_plays_on_where_pictures_begin_late() {
    assert_hls_js_plays(changed(|tag| tag.kind == AUDIO || tag.at >= 3_000));
}

#[test]
fn hls_js_plays_on_where_parameter_sets_change_in_the_pictures() {
    let words = "testsrc2=size=320x180:rate=30 -f lavfi -i sine=sample_rate=48000 -t 40 -c:v libx264 -preset ultrafast \
                 -pix_fmt yuv420p -g 30 -bf 0 -c:a aac -ac 2";
    let mut all = changed(|tag| tag.at < 15_000);
    let later = |tag: Tag| Tag { at: tag.at + 15_000, comes: tag.comes + 15_000, ..tag };
    all.extend(tags(&made("bad-sets-long.flv", words)).into_iter().map(later));
    assert_hls_js_plays(sets::changed_in_band(all));
}
