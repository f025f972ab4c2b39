//! Playlists of several renditions: the order of the multivariant playlist, and rendition reports.
#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

mod common;

use common::dependent::{MODES, arriving, clip, dependent, ladder, multivariant, variants, window, within};
use common::source::{Fed, VIDEO, Video, audio, audio_track, dependent_track, mux, on_dependent, video_track};
use media::LatencyMode::{Low, Reduced};
use media::{Frame, TimeDelta, Timestamp};
use packager::log::RenditionId;
use packager::playlist::MediaOptions;
use packager::window::Window;

#[test]
fn the_first_playlist_waits_for_dependent_renditions_but_not_forever() {
    for mode in MODES {
        let video = clip(&Video::default()).make();
        let mut fed = ladder(mode);
        let dependents = [(100, on_dependent(0, 0, &video)), (1_500, on_dependent(1, 0, &video))];
        let playable = |fed: &mut Fed, frames: Vec<Frame>| {
            frames.into_iter().find_map(|frame| {
                let dts = frame.dts;
                fed.push(vec![frame]);
                window(&fed.events).is_playable().then_some(dts)
            })
        };
        let frames =
            arriving([(0, video.clone()), (0, audio(48_000, 0, 20_000))].into_iter().chain(dependents).collect());
        let since = playable(&mut fed, frames).unwrap() - Timestamp::ZERO;
        assert!(since >= TimeDelta::from_secs(6), "the third rendition never came: {since:?}");
        assert!(since < TimeDelta::from_millis(10_100), "but it is not needed: {since:?}");
        let listed = variants(&fed.events);
        assert_eq!(listed.len(), 3, "{listed:?}");
    }
}

/// hls.js 1.7 ignores `LAST-PART=0`, and requests a part that comes up to a segment later: a player that switches levels
/// at that moment stalls.
#[test]
fn no_report_names_the_first_part_of_a_segment() {
    let video = clip(&Video::default()).make();
    let mut fed = ladder(Low);
    fed.push(mux([within(&video, 0, 12_000), on_dependent(0, 0, &within(&video, 0, 12_000))]));
    let (mut window, mut seen) = (Window::new(), 0);
    for event in &fed.events {
        window.apply(event);
        if !window.is_playable() {
            continue;
        }
        let Some(list) = window.media_playlist(dependent(0)).map(|list| list.render(&MediaOptions::default())) else {
            continue;
        };
        let report = list.lines().find_map(|line| line.split_once("URI=\"video.m3u8\",LAST-MSN=")).unwrap().1;
        let (msn, part) = report.split_once(",LAST-PART=").unwrap();
        let (msn, part) = (msn.parse().unwrap(), part.parse().unwrap());
        assert!(part > 0 && window.part(RenditionId::VIDEO, msn, part).is_some(), "{report}");
        seen += 1;
    }
    assert!(seen > 50);
}

#[test]
fn the_multivariant_playlist_begins_with_a_good_start_and_goes_down() {
    let video = clip(&Video { frames: 30_000, per: 1_001, ..Video::default() }).make();
    let mut fed = Fed::new(Low, &[video_track(), audio_track(48_000)]);
    let sizes = [(1920, 1080, 4_000), (960, 540, 600), (640, 360, 300), (426, 240, 100)];
    let mut streams = vec![video.clone(), audio(48_000, 0, 20_000)];
    for (n, (width, height, more)) in (0..).zip(sizes) {
        fed.add_rendition(n, dependent_track(n, width, height));
        streams.push(on_dependent(n, more, &video));
    }
    fed.push(mux(streams));
    let text = multivariant(&fed.events);
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("#EXTM3U") && !line.contains("VERSION")).collect();
    let resolutions: Vec<_> =
        lines.iter().filter_map(|line| line.split("RESOLUTION=").nth(1)?.split(',').next()).collect();
    // The reference of 1280x720 has the smallest frames, so it is last except for the start.
    assert_eq!(resolutions, ["1280x720", "1920x1080", "960x540", "640x360", "426x240"]);
    assert_eq!(text.matches("#EXT-X-MEDIA:TYPE=AUDIO").count(), 1);
    assert_eq!(text.matches(",FRAME-RATE=29.970,AUDIO=\"audio\"").count(), 5, "{text}");
    assert!(text.contains("CODECS=\"avc1.42C01E,mp4a.40.2\",RESOLUTION=640x360"), "{text}");
    let rate = |size: &str, name: &str| -> u64 {
        let line = lines.iter().find(|line| line.contains(size)).unwrap();
        line.split([':', ',']).find_map(|field| field.strip_prefix(name)).unwrap().parse().unwrap()
    };
    // 4 kB 30 times a second, and a few bytes of boxes and audio.
    let (peak, average) = (rate("1920x1080", "BANDWIDTH="), rate("1920x1080", "AVERAGE-BANDWIDTH="));
    assert!(
        (960_000..1_050_000).contains(&average) && (average..average * 3 / 2 + 30_000).contains(&peak),
        "{peak} {average}"
    );
    let uris: Vec<_> = lines.iter().filter(|line| line.starts_with("play/")).collect();
    assert_eq!(uris.len(), 5);
    let list =
        window(&fed.events).media_playlist(dependent(1)).map(|list| list.render(&MediaOptions::default())).unwrap();
    assert!(list.contains("#EXT-X-MAP:URI=\"video3-init-0.mp4\""), "{list}");
    assert_eq!(list.matches("#EXT-X-RENDITION-REPORT:URI=").count(), 5, "{list}");
    assert!(list.contains("#EXT-X-RENDITION-REPORT:URI=\"video.m3u8\",LAST-MSN="), "{list}");
    assert!(list.contains("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"video3-"), "{list}");
}

#[test]
fn players_begin_with_the_smallest_rendition_if_none_is_small_enough() {
    let video = clip(&Video { length: 9_000, ..Video::default() }).make();
    let reference = media::Track { id: VIDEO, ..dependent_track(7, 3840, 2160) };
    let mut fed = Fed::new(Reduced, &[reference]);
    fed.add_rendition(0, dependent_track(0, 2560, 1440)).add_rendition(1, dependent_track(1, 1080, 1920));
    fed.push(mux([on_same(&video), on_dependent(0, 500, &video), on_dependent(1, 200, &video)]));
    assert_eq!(variants(&fed.events), ["video3", "video", "video2"]);
}

/// Frames of the reference, larger than the others.
fn on_same(frames: &[Frame]) -> Vec<Frame> {
    on_dependent(0, 900, frames).into_iter().map(|frame| Frame { track: VIDEO, ..frame }).collect()
}
