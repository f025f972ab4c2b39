//! Playlists of all kinds, rendered from models: no window, no media.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use media::id::{BroadcastId, PlaybackId};
use media::{Kind, TimeDelta, WallTime};
use packager::log::{Format, NextPart, RenditionId, Targets};
use packager::playlist::{
    MediaOptions, MediaPlaylist, MultivariantOptions, MultivariantPlaylist, PartInfo, PlaylistKind, RenditionInfo,
    RenditionReport, SegmentInfo, Tail,
};
use packager::uri::Query;

const VIDEO: RenditionId = RenditionId::VIDEO;
const PARTS: [PartInfo; 2] = [part(true, false), part(false, false)];
const OPEN_PARTS: [PartInfo; 2] = [part(true, false), part(false, true)];

const fn part(independent: bool, gap: bool) -> PartInfo {
    PartInfo { duration: TimeDelta::from_secs(1), independent, gap }
}

/// 2026-11-21T08:00:00Z, the date of segment 40.
const EPOCH: i64 = 1_795_248_000_000;

fn segment(msn: u64) -> SegmentInfo<'static> {
    SegmentInfo {
        msn,
        duration: TimeDelta::from_secs(2),
        wall: WallTime::from_unix_millis(EPOCH + (msn as i64 - 40) * 2_000),
        init: 0,
        discontinuity: false,
        gap: false,
        independent: true,
        open: false,
        parts: &PARTS,
    }
}

/// Four segments: the second one comes after a discontinuity with a new init section, the third is a gap.
fn segments() -> Vec<SegmentInfo<'static>> {
    let changed = SegmentInfo { discontinuity: true, init: 1, ..segment(41) };
    let gap = SegmentInfo { gap: true, independent: false, init: 1, ..segment(42) };
    vec![segment(40), changed, gap, SegmentInfo { init: 1, ..segment(43) }]
}

/// The segments and one that is open.
fn live_segments() -> Vec<SegmentInfo<'static>> {
    let open = SegmentInfo { open: true, init: 1, parts: &OPEN_PARTS, ..segment(44) };
    segments().into_iter().chain([open]).collect()
}

fn open_tail() -> Tail {
    let report = RenditionReport { rendition: RenditionId::AUDIO, segment: Some(43), part: Some((44, 1)) };
    Tail::Open { next: NextPart { rendition: VIDEO, msn: 44, index: 2 }, reports: vec![report] }
}

fn render(kind: PlaylistKind, segments: &[SegmentInfo<'static>], tail: Tail, options: MediaOptions<'_>) -> String {
    let part = Some(TimeDelta::from_secs(1));
    let targets = Targets { segment_secs: 2, part, part_grid: None, max_stall: TimeDelta::from_millis(200) };
    let list = MediaPlaylist {
        rendition: VIDEO,
        kind,
        targets,
        media_sequence: 40,
        discontinuity_sequence: 3,
        segments: segments.iter().copied(),
        tail,
    };
    list.render(&options)
}

const CONTROL: &str = "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.00000,PART-HOLD-BACK=3.20000,\
                       HOLD-BACK=6.00000\n#EXT-X-PART-INF:PART-TARGET=1.00000\n";
/// From the first segment to the open one, with parts of the newest two.
const WITH_PARTS: &str = r#"#EXT-X-MEDIA-SEQUENCE:40
#EXT-X-DISCONTINUITY-SEQUENCE:3
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MAP:URI="video-init-0.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T08:00:00.000Z
#EXTINF:2.00000,
video-40.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI="video-init-1.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T08:00:02.000Z
#EXTINF:2.00000,
video-41.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T08:00:04.000Z
#EXT-X-PART:DURATION=1.00000,URI="video-42.0.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=1.00000,URI="video-42.1.m4s"
#EXT-X-GAP
#EXTINF:2.00000,
video-42.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T08:00:06.000Z
#EXT-X-PART:DURATION=1.00000,URI="video-43.0.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=1.00000,URI="video-43.1.m4s"
#EXTINF:2.00000,
video-43.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T08:00:08.000Z
#EXT-X-PART:DURATION=1.00000,URI="video-44.0.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=1.00000,URI="video-44.1.m4s",GAP=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="video-44.2.m4s"
#EXT-X-RENDITION-REPORT:URI="audio.m3u8",LAST-MSN=44,LAST-PART=1
"#;

#[test]
fn a_live_playlist_has_no_type() {
    let text = render(PlaylistKind::Live, &live_segments(), open_tail(), MediaOptions::default());
    assert_eq!(text, format!("#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n{CONTROL}{WITH_PARTS}"));
}

#[test]
fn an_event_playlist_is_a_live_one_that_only_grows() {
    let text = render(PlaylistKind::Event, &live_segments(), open_tail(), MediaOptions::default());
    let head = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n#EXT-X-PLAYLIST-TYPE:EVENT\n";
    assert_eq!(text, format!("{head}{CONTROL}{WITH_PARTS}"));
}

#[test]
fn an_event_playlist_without_parts_ends() {
    let query = Query { low_latency: false, extra: "token=a" };
    let text = render(PlaylistKind::Event, &segments()[3..], Tail::Ended, MediaOptions { skip: false, query });
    let want = r#"#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:2
#EXT-X-PLAYLIST-TYPE:EVENT
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.00000,HOLD-BACK=6.00000
#EXT-X-MEDIA-SEQUENCE:40
#EXT-X-DISCONTINUITY-SEQUENCE:3
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MAP:URI="video-init-1.mp4?token=a"
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T08:00:06.000Z
#EXTINF:2.00000,
video-43.m4s?token=a
#EXT-X-ENDLIST
"#;
    assert_eq!(text, want);
}

/// A recording is complete: no parts, no hints, nothing about reloading, whatever is asked for.
#[test]
fn a_vod_playlist_lists_whole_segments_and_ends() {
    let want = r#"#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:2
#EXT-X-PLAYLIST-TYPE:VOD
#EXT-X-MEDIA-SEQUENCE:40
#EXT-X-DISCONTINUITY-SEQUENCE:3
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MAP:URI="video-init-0.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T08:00:00.000Z
#EXTINF:2.00000,
video-40.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI="video-init-1.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T08:00:02.000Z
#EXTINF:2.00000,
video-41.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T08:00:04.000Z
#EXT-X-GAP
#EXTINF:2.00000,
video-42.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T08:00:06.000Z
#EXTINF:2.00000,
video-43.m4s
#EXT-X-ENDLIST
"#;
    for skip in [false, true] {
        let options = MediaOptions { skip, ..MediaOptions::default() };
        assert_eq!(render(PlaylistKind::Vod, &segments(), Tail::Ended, options), want);
        assert_eq!(render(PlaylistKind::Vod, &live_segments(), open_tail(), options), want);
    }
}

#[test]
fn a_delta_update_of_a_long_event_playlist_skips_most_of_it() {
    let all: Vec<_> = (40..4_040).map(segment).collect();
    let options = MediaOptions { skip: true, ..MediaOptions::default() };
    let text = render(PlaylistKind::Event, &all, open_tail(), options);
    assert!(text.contains("#EXT-X-SKIP:SKIPPED-SEGMENTS=3994\n#EXT-X-MAP:"), "{text}");
    assert_eq!(text.matches("#EXTINF").count(), 6);
}

#[test]
fn a_multivariant_playlist_needs_only_what_it_lists() {
    let (playback, broadcast): (PlaybackId, BroadcastId) = ("play".parse().unwrap(), "cast".parse().unwrap());
    let video = Format { resolution: Some((1_280, 720)), ..Format::new(Kind::Video, "avc1.64001f") };
    let audio = Format { channels: Some(2), ..Format::new(Kind::Audio, "mp4a.40.2") };
    let info = |id, format, bandwidth| RenditionInfo {
        id,
        format,
        codecs: vec![format.codec.as_str()],
        peak_bandwidth: bandwidth,
        bandwidth,
        average_bandwidth: bandwidth / 2,
        millihertz: (id == VIDEO).then_some(29_970),
    };
    let list = MultivariantPlaylist {
        renditions: vec![info(VIDEO, &video, 2_000_000), info(RenditionId::AUDIO, &audio, 100_000)],
        captions: false,
    };
    let options = MultivariantOptions { playback: &playback, broadcast: &broadcast, query: Query::default() };
    let want = r#"#EXTM3U
#EXT-X-VERSION:9
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="Audio 1",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",URI="play/cast/audio.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=2100000,AVERAGE-BANDWIDTH=1050000,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=29.970,AUDIO="audio",CLOSED-CAPTIONS=NONE
play/cast/video.m3u8
"#;
    assert_eq!(list.render(&options), want);
}
