//! The same faults with hls.js as the player, which has to keep playing.

use serde_json::json;

use super::publisher::{AUDIO, Tag, VIDEO, publish, tags};
use super::{encode_clip, is_kept, parameter_sets, seconds, shift_audio_ahead};
use crate::players::assert_plays_in_chromium;
use crate::support::{Clip, Server, alone, clip};

/// The plain clip of a minute, with each tag changed or dropped.
fn changed(change: impl Fn(&mut Tag) -> bool) -> Vec<Tag> {
    let all = tags(&clip(&Clip::plain(60)));
    all.into_iter().filter_map(|mut tag| (tag.is_header() || change(&mut tag)).then_some(tag)).collect()
}

/// The clip, continued by other tags from the given seconds on.
fn joined(later: &[(u32, Vec<Tag>)]) -> Vec<Tag> {
    let mut all = changed(|_| true);
    for (from, tags) in later {
        let from = from * 1_000;
        all.retain(|tag| tag.at < from);
        all.extend(tags.iter().cloned().map(|tag| Tag { at: tag.at + from, sent_at: tag.sent_at + from, ..tag }));
    }
    all
}

/// Small video with a tone, at `rate` frames a second and with a key frame each second.
fn small(name: &str, rate: u32) -> Vec<Tag> {
    let arguments = format!(
        "testsrc2=size=320x180:rate={rate} -f lavfi -i sine=sample_rate=48000 -t 40 -c:v libx264 -preset ultrafast \
         -pix_fmt yuv420p -g {rate} -bf 0 -c:a aac -ac 2"
    );
    tags(&encode_clip(name, &arguments))
}

/// Plays a contribution that is sent in real time. Its faults are between the 10th and the 21st second, because the
/// player starts at about the 8th and is observed for 15.
fn assert_hls_js_plays(tags: Vec<Tag>) {
    assert_hls_js_plays_all(vec![tags]);
}

/// Plays contributions that follow one another; see [`assert_hls_js_plays`].
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
    // The publisher ends when its next write to the stopped server fails.
    drop(server);
    publisher.join().expect("the publisher ends");
}

/// Faults in a row: the clock jumps forward, audio is lost, the clock jumps back, frames are sent twice, the frame rate
/// varies.
fn many_faults() -> Vec<Tag> {
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

/// More faults in a row: the clock wraps, video and audio frames are empty, the frame rate is halved and restored.
fn more_faults() -> Vec<Tag> {
    let kept = changed(|tag| tag.kind == AUDIO || !(17_000..20_000).contains(&tag.at) || is_kept(tag));
    let mut all = Vec::new();
    for mut tag in kept {
        let empty = (13_000..16_000).contains(&tag.at) && !tag.is_header();
        tag.at = tag.at.wrapping_sub(11_000);
        let mut emptied = tag.clone();
        emptied.body.truncate(if tag.kind == VIDEO { 5 } else { 2 });
        all.extend([Some(tag), empty.then_some(emptied)].into_iter().flatten());
    }
    all
}

/// The tags of a range of seconds without those of one kind, and the headers. Times of sending begin at the start of
/// the range.
fn range(from: u32, to: u32, lost: u8) -> Vec<Tag> {
    let kept = |tag: &Tag| tag.kind != lost && (tag.is_header() || (from * 1_000..to * 1_000).contains(&tag.at));
    let all = changed(|_| true).into_iter().filter(kept);
    all.map(|tag| Tag { sent_at: tag.sent_at.saturating_sub(from * 1_000), ..tag }).collect()
}

#[test]
fn hls_js_plays_on_if_audio_does_not_return() {
    assert_hls_js_plays_all(vec![range(0, 13, 0), range(13, 50, AUDIO)]);
}

#[test]
fn hls_js_plays_on_if_video_does_not_return() {
    assert_hls_js_plays_all(vec![range(0, 13, 0), range(13, 50, VIDEO)]);
}

#[test]
fn hls_js_plays_through_one_fault_after_another() {
    assert_hls_js_plays(many_faults());
}

#[test]
fn hls_js_plays_through_more_faults_with_in_band_parameter_sets() {
    assert_hls_js_plays(parameter_sets::in_band(more_faults()));
}

/// Another size and frame rate with a header, and then another frame rate that only in-band parameter sets signal.
#[test]
fn hls_js_plays_on_after_changes_of_size_and_of_in_band_parameter_sets() {
    let all = joined(&[(11, small("bad-watched-25.flv", 25)), (17, small("bad-watched-30.flv", 30))]);
    assert_hls_js_plays(parameter_sets::changed_in_band(all, 2));
}

/// IDR pictures while the player starts, and open GOPs afterwards. Chromium decodes open GOPs, but cannot start with
/// one.
#[test]
fn hls_js_plays_on_if_gops_become_open() {
    let arguments = "testsrc2=size=320x180:rate=30 -f lavfi -i sine=sample_rate=48000 -t 40 -c:v libx264 -preset veryfast \
                 -pix_fmt yuv420p -g 30 -bf 2 -sc_threshold 0 -x264-params open-gop=1 -forced-idr 1 \
                 -force_key_frames 0,2,4,6,7,8,9,10,11,12,13,14 \
                 -c:a aac -ac 2";
    assert_hls_js_plays(tags(&encode_clip("bad-open-long.flv", arguments)));
}

#[test]
fn hls_js_plays_on_without_audio() {
    assert_hls_js_plays(changed(|tag| tag.kind == VIDEO));
}

#[test]
fn hls_js_plays_on_if_audio_starts_late_and_stops_for_good() {
    assert_hls_js_plays(changed(|tag| tag.kind == VIDEO || (11_000..17_000).contains(&tag.at)));
}

#[test]
fn hls_js_plays_on_if_audio_is_ahead() {
    assert_hls_js_plays(changed(shift_audio_ahead));
}

/// The newest key frame is repeated while there are no others, and audio goes on.
#[test]
fn hls_js_plays_on_if_video_starts_late_and_pauses() {
    let is_sent = |at: u32| at >= 3_000 && !(12_300..16_300).contains(&at);
    assert_hls_js_plays(changed(|tag| tag.kind == AUDIO || is_sent(tag.at)));
}
