//! Encoders that reconnect with another protocol, codec or size. In passthrough the playlists continue after a
//! discontinuity, with an init section of the new encoder.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::json;

use crate::players::{assert_success, seconds, watch};
use crate::support::{
    Encoder, Fragment, Rendition, Segment, Server, Stream, alone, encode, ffmpeg9, fragments, kept, shared, timescale,
    until,
};

/// Longest freeze of the video while one encoder takes over from another, in milliseconds.
const MAX_FREEZE_MS: &str = "4000";
/// Tolerance for rounding, in seconds.
const ROUNDING: f64 = 0.001;
/// Segments of each encoder to check.
const ENOUGH: usize = 2;

/// The protocol of an encoder.
#[derive(Clone, Copy)]
pub(crate) enum By {
    Rtmp,
    Srt,
}

/// One of several encoders that follow each other.
pub(crate) struct Turn {
    pub by: By,
    pub size: &'static str,
    /// Encoder options for ffmpeg.
    pub encoder: &'static str,
    /// Beginning of CODECS.
    pub codec: &'static str,
}

pub(crate) const AVC: &str = "libx264 -preset ultrafast -sc_threshold 0 -bf 0";
pub(crate) const HEVC: &str =
    "libx265 -preset ultrafast -x265-params log-level=none:keyint=30:min-keyint=30:scenecut=0:bframes=0";
pub(crate) const AV1: &str = "libsvtav1 -preset 12 -svtav1-params scd=0:keyint=30";
const SMALLER: Turn = Turn { by: By::Rtmp, size: "1280x720", encoder: AVC, codec: "avc1." };
const LARGER: Turn = Turn { by: By::Srt, size: "1920x1080", encoder: AVC, codec: "avc1." };
const TURNS: [Turn; 4] = [
    SMALLER,
    LARGER,
    Turn { by: By::Srt, size: "1280x720", encoder: HEVC, codec: "hvc1." },
    Turn { by: By::Rtmp, size: "640x360", encoder: AV1, codec: "av01." },
];

impl Turn {
    /// Returns a clip of four seconds with video and a tone, which is encoded once.
    pub(crate) fn file(&self) -> PathBuf {
        let arguments = format!(
            "-f lavfi -i testsrc2=size={}:rate=30 -f lavfi -i sine=frequency=440:sample_rate=48000 -t 4 -pix_fmt yuv420p \
             -c:v {} -g 30 -b:v 1500k -c:a aac -b:a 96k -ac 2 -f matroska",
            self.size, self.encoder
        );
        kept(&format!("rejoin-{}-{}mkv", self.size, self.codec), |draft| encode(ffmpeg9(), &arguments, draft))
    }

    /// Pushes the clip in a loop.
    pub(crate) fn push(&self, server: &Server, stream: &Stream) -> Encoder {
        self.push_to(&match self.by {
            By::Rtmp => server.rtmp_url(&stream.key),
            By::Srt => server.srt_url(stream),
        })
    }

    /// Pushes the clip in a loop to another address, such as that of a relay.
    pub(crate) fn push_to(&self, url: &str) -> Encoder {
        let file = self.file();
        // The static build of ffmpeg lacks SRT, and Debian's lacks AV1 in RTMP.
        let (program, format) = match self.by {
            By::Rtmp => (ffmpeg9(), "flv"),
            By::Srt => ("ffmpeg", "mpegts"),
        };
        let head = ["-hide_banner", "-nostdin", "-nostats", "-re", "-stream_loop", "-1", "-i"];
        let tail = [file.to_str().expect("a UTF-8 path"), "-c", "copy", "-f", format, url];
        Encoder::run(program, &[head.as_slice(), &tail].concat())
    }
}

/// Every segment that a media playlist has listed.
pub(crate) struct Record {
    pub rendition: Rendition,
    frozen: (f64, Option<f64>, Option<String>),
    pub segments: Vec<Listed>,
}

/// A segment and its contents.
pub(crate) struct Listed {
    pub segment: Segment,
    timescale: f64,
    fragments: Vec<Fragment>,
}

impl Listed {
    /// Returns the start on the decode timeline, in seconds.
    pub(crate) fn start(&self) -> f64 {
        self.fragments[0].decode_time as f64 / self.timescale
    }
}

impl Record {
    pub(crate) fn new(rendition: Rendition) -> Self {
        let frozen = rendition.playlist().frozen();
        Self { rendition, frozen, segments: Vec::new() }
    }

    /// Adds new segments. Those that were listed before must not have changed.
    pub(crate) fn reload(&mut self) {
        let list = self.rendition.playlist();
        assert_eq!(list.frozen(), self.frozen, "the targets are frozen");
        for segment in list.segments {
            if let Some(before) = self.segments.get(segment.number as usize) {
                let same = |one: &Segment| (one.uri.clone(), one.discontinuity, one.map.clone(), one.duration);
                assert_eq!(same(&segment), same(&before.segment), "what is published never changes");
                continue;
            }
            assert_eq!(segment.number as usize, self.segments.len(), "media sequence numbers go on");
            let timescale = f64::from(timescale(&self.rendition.fetch(&segment.map).body));
            let fragments = fragments(&self.rendition.fetch(&segment.uri).body);
            self.segments.push(Listed { segment, timescale, fragments });
        }
    }

    /// Returns the periods between discontinuities.
    pub(crate) fn periods(&self) -> Vec<&[Listed]> {
        self.segments.chunk_by(|_, next| !next.segment.discontinuity).collect()
    }

    /// Checks that each fragment of a period begins where the previous one ends, and that time does not go back between
    /// periods.
    pub(crate) fn assert_continuous(&self) {
        let mut end = 0.0;
        for period in self.periods() {
            let first = period[0].fragments[0].decode_time as f64 / period[0].timescale;
            assert!(first >= end - ROUNDING, "{} begins at {first}, before {end}", period[0].segment.uri);
            let mut next = None;
            for listed in period {
                for fragment in &listed.fragments {
                    let next = next.replace(fragment.decode_time + fragment.duration);
                    assert_eq!(next.unwrap_or(fragment.decode_time), fragment.decode_time, "{}", listed.segment.uri);
                }
                end = next.expect("a fragment") as f64 / listed.timescale;
            }
        }
    }

    /// Returns the numbers of the segments with a discontinuity.
    fn discontinuities(&self) -> Vec<u64> {
        self.segments.iter().filter(|listed| listed.segment.discontinuity).map(|listed| listed.segment.number).collect()
    }
}

#[test]
fn playlists_continue_with_any_protocol_and_codec() {
    let _machine = shared();
    let server = Server::start();
    // This mode has no slate by default; `slates.rs` tests slates.
    let stream = server.api().create("standard", json!({ "reconnect_window": 60 }));
    let playback = server.playback(&stream);
    let mut records: Vec<Record> = Vec::new();
    let mut encoder: Option<Encoder> = None;
    for (before, turn) in TURNS.iter().enumerate() {
        let file = turn.file();
        if let Some(mut previous) = encoder.take() {
            previous.kill();
        }
        encoder = Some(turn.push(&server, &stream));
        if records.is_empty() {
            records = playback.renditions().into_iter().map(Record::new).collect();
        }
        until(&format!("segments of {}", file.display()), || {
            records.iter_mut().for_each(Record::reload);
            let is_listed = |record: &Record| record.periods().get(before).is_some_and(|period| period.len() >= ENOUGH);
            records.iter().all(is_listed).then_some(())
        });
        let multivariant = playback.answer().text();
        assert!(multivariant.contains(turn.codec), "{} is not in {multivariant}", turn.codec);
        assert!(multivariant.contains(&format!("RESOLUTION={}", turn.size)), "{} is not in {multivariant}", turn.size);
        assert_eq!(playback.renditions().len(), records.len(), "{multivariant}");
    }
    assert_eq!(records.len(), 2, "video and audio");
    assert_eq!(records[0].discontinuities(), records[1].discontinuities(), "both have the same discontinuities");
    for record in &records {
        assert_eq!(record.periods().len(), TURNS.len());
        record.assert_continuous();
    }
    let video = records.iter().find(|record| record.rendition.kind == "video").expect("a video rendition");
    let mut init_sections = BTreeSet::new();
    for period in video.periods() {
        let maps: BTreeSet<_> = period.iter().map(|listed| &listed.segment.map).collect();
        assert_eq!(maps.len(), 1, "a period has one init section");
        assert!(maps.into_iter().all(|map| init_sections.insert(map)), "each period has its own init section");
    }
}

#[test]
fn hls_js_plays_on_when_an_encoder_reconnects_over_srt_in_another_size() {
    let _machine = alone();
    let (server, turns) = (Server::start(), [SMALLER, LARGER]);
    turns.iter().for_each(|turn| drop(turn.file()));
    let stream = server.api().create("low", json!({ "reconnect_window": 60 }));
    let mut first = turns[0].push(&server, &stream);
    let main = server.playback(&stream).main();
    main.wait_for("three target durations", |list| list.segments.len() >= 3);
    let mut player = watch(&server, &stream, seconds(), &[MAX_FREEZE_MS]);
    first.kill();
    let _second = turns[1].push(&server, &stream);
    main.wait_for("the change", |list| list.segments.iter().any(|segment| segment.discontinuity));
    assert_success(&mut player);
    assert!(player.output().contains("\"height\":1080"), "the larger video was played:\n{}", player.output());
}
