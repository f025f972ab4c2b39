//! The same troubles in front of hls.js, which has to keep playing.

use serde_json::json;

use super::publisher::{AUDIO, Tag, VIDEO, publish, tags};
use super::{dated_ahead, is_kept, made, parameter_sets, seconds};
use crate::players::assert_plays_in_chromium;
use crate::support::{Clip, Server, alone, clip};

/// The plain clip of a minute with each tag changed, or left out.
fn changed(change: impl Fn(&mut Tag) -> bool) -> Vec<Tag> {
    let all = tags(&clip(&Clip::plain(60)));
    all.into_iter().filter_map(|mut tag| (tag.is_header() || change(&mut tag)).then_some(tag)).collect()
}

/// The clip with the pictures of others behind each other, from these seconds on.
fn joined(later: &[(u32, Vec<Tag>)]) -> Vec<Tag> {
    let mut all = changed(|_| true);
    for (from, tags) in later {
        let from = from * 1_000;
        all.retain(|tag| tag.at < from);
        all.extend(tags.iter().cloned().map(|tag| Tag { at: tag.at + from, comes: tag.comes + from, ..tag }));
    }
    all
}

/// A small picture with a tone, of so many frames a second with a key frame each.
fn small(name: &str, rate: u32) -> Vec<Tag> {
    let words = format!(
        "testsrc2=size=320x180:rate={rate} -f lavfi -i sine=sample_rate=48000 -t 40 -c:v libx264 -preset ultrafast \
         -pix_fmt yuv420p -g {rate} -bf 0 -c:a aac -ac 2"
    );
    tags(&made(name, &words))
}

/// Plays a contribution that is sent at real speed, and whose troubles come between the 10th and the 21st second: the
/// player begins at about the 8th and is watched for 15.
fn assert_hls_js_plays(tags: Vec<Tag>) {
    assert_hls_js_plays_all(vec![tags]);
}

/// The same of contributions that follow one another.
fn assert_hls_js_plays_all(contributions: Vec<Vec<Tag>>) {
    let _machine = alone();
    let server = Server::start();
    let stream = server.api().create("low", json!({ "reconnect_window": 60 }));
    let (port, key) = (server.rtmp_port(), stream.key.clone());
    let publisher = std::thread::spawn(move || {
        contributions.into_iter().for_each(|tags| publish(port, &key, tags, true));
    });
    server.playback(&stream).main().wait_for("three target durations", |list| seconds(list) >= 6.0);
    assert_plays_in_chromium("watch", &server.watch_url(&stream));
    // It goes on sending into a server that is gone, and ends there.
    drop(server);
    publisher.join().expect("the publisher comes to its end");
}

/// The clock jumps, sound is lost, the clock goes back, frames come twice, the frame rate varies.
fn parade() -> Vec<Tag> {
    let mut all = Vec::new();
    for mut tag in changed(|_| true) {
        let (at, header) = (tag.at, tag.is_header());
        let lost = tag.kind == AUDIO && (12_000..14_500).contains(&at)
            || tag.kind == VIDEO && (18_500..20_500).contains(&at) && tag.body[0] >> 4 != 1 && at % 7 < 4;
        if lost && !header {
            continue;
        }
        tag.at = match at {
            10_500..15_500 => at + 3_600_000,
            15_500.. => at - 5_000,
            _ => at,
        };
        let again = (16_500..18_000).contains(&at).then(|| tag.clone());
        all.extend([Some(tag), again].into_iter().flatten());
    }
    all
}

/// The clock wraps, pictures and sounds are empty, the frame rate is halved and comes back.
fn second_parade() -> Vec<Tag> {
    let kept = changed(|tag| tag.kind == AUDIO || !(17_000..20_000).contains(&tag.at) || is_kept(tag));
    let mut all = Vec::new();
    for mut tag in kept {
        let empty = (13_000..16_000).contains(&tag.at) && !tag.is_header();
        tag.at = tag.at.wrapping_sub(11_000);
        let mut hollow = tag.clone();
        hollow.body.truncate(if tag.kind == VIDEO { 5 } else { 2 });
        all.extend([Some(tag), empty.then_some(hollow)].into_iter().flatten());
    }
    all
}

/// The tags of a stretch of seconds without one kind, and the headers, each sent so long after the stretch begins.
fn stretch(from: u32, to: u32, lost: u8) -> Vec<Tag> {
    let kept = |tag: &Tag| tag.kind != lost && (tag.is_header() || (from * 1_000..to * 1_000).contains(&tag.at));
    let all = changed(|_| true).into_iter().filter(kept);
    all.map(|tag| Tag { comes: tag.comes.saturating_sub(from * 1_000), ..tag }).collect()
}

#[test]
fn hls_js_plays_on_where_audio_does_not_come_back() {
    assert_hls_js_plays_all(vec![stretch(0, 13, 0), stretch(13, 50, AUDIO)]);
}

#[test]
fn hls_js_plays_on_where_video_does_not_come_back() {
    assert_hls_js_plays_all(vec![stretch(0, 13, 0), stretch(13, 50, VIDEO)]);
}

#[test]
fn hls_js_plays_through_one_trouble_after_another() {
    assert_hls_js_plays(parade());
}

#[test]
fn hls_js_plays_through_a_second_row_of_troubles_with_parameter_sets_in_the_pictures_only() {
    assert_hls_js_plays(parameter_sets::in_band(second_parade()));
}

/// Another size and rate with a header, and then another rate of which the pictures alone tell.
#[test]
fn hls_js_plays_on_in_another_picture_size_and_behind_other_parameter_sets() {
    let all = joined(&[(11, small("bad-watched-25.flv", 25)), (17, small("bad-watched-30.flv", 30))]);
    assert_hls_js_plays(parameter_sets::changed_in_band(all, 2));
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

#[test]
fn hls_js_plays_on_without_sound() {
    assert_hls_js_plays(changed(|tag| tag.kind == VIDEO));
}

#[test]
fn hls_js_plays_on_where_sound_comes_late_and_goes_for_good() {
    assert_hls_js_plays(changed(|tag| tag.kind == VIDEO || (11_000..17_000).contains(&tag.at)));
}

#[test]
fn hls_js_plays_on_where_sound_is_ahead() {
    assert_hls_js_plays(changed(dated_ahead));
}

/// The newest key frame stands while there are no others, and the sound goes on.
#[test]
fn hls_js_plays_on_where_pictures_begin_late_and_stay_away_for_a_while() {
    let there = |at: u32| at >= 3_000 && !(12_300..16_300).contains(&at);
    assert_hls_js_plays(changed(|tag| tag.kind == AUDIO || there(tag.at)));
}
