//! Encoders that come back as another one: by another protocol, with another codec, in another size. In passthrough the
//! playlists go on behind a discontinuity, with the header of the newcomer.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::json;

use crate::players::{assert_content, seconds, watch};
use crate::support::{
    Encoder, Fragment, Rendition, Segment, Server, Stream, alone, encode, ffmpeg9, fragments, kept, shared, timescale,
    until,
};

/// A picture may stand for so long while one encoder takes over from another, in milliseconds.
const HAND_OVER: &str = "4000";
/// Rounding of seconds.
const ROUNDED: f64 = 0.001;
/// Segments of each encoder that are looked at.
const ENOUGH: usize = 2;

/// How an encoder pushes.
#[derive(Clone, Copy)]
pub(crate) enum By {
    Rtmp,
    Srt,
}

/// One of the encoders that follow each other.
pub(crate) struct Turn {
    pub by: By,
    pub size: &'static str,
    /// What ffmpeg encodes with.
    pub encoder: &'static str,
    /// How CODECS begins.
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
    /// Four seconds of picture and tone, encoded once.
    pub(crate) fn file(&self) -> PathBuf {
        let words = format!(
            "-f lavfi -i testsrc2=size={}:rate=30 -f lavfi -i sine=frequency=440:sample_rate=48000 -t 4 -pix_fmt yuv420p \
             -c:v {} -g 30 -b:v 1500k -c:a aac -b:a 96k -ac 2 -f matroska",
            self.size, self.encoder
        );
        kept(&format!("rejoin-{}-{}mkv", self.size, self.codec), |draft| encode(ffmpeg9(), &words, draft))
    }

    /// Pushes it over and over.
    pub(crate) fn push(&self, server: &Server, stream: &Stream) -> Encoder {
        self.push_to(&match self.by {
            By::Rtmp => server.rtmp_url(&stream.key),
            By::Srt => server.srt_url(stream),
        })
    }

    /// The same to another address: that of a relay.
    pub(crate) fn push_to(&self, url: &str) -> Encoder {
        let file = self.file();
        // The static build has no SRT, and Debian's no AV1 in RTMP.
        let (program, format) = match self.by {
            By::Rtmp => (ffmpeg9(), "flv"),
            By::Srt => ("ffmpeg", "mpegts"),
        };
        let head = ["-hide_banner", "-nostdin", "-nostats", "-re", "-stream_loop", "-1", "-i"];
        let tail = [file.to_str().expect("a UTF-8 path"), "-c", "copy", "-f", format, url];
        Encoder::run(program, &[head.as_slice(), &tail].concat())
    }
}

/// Everything that a media playlist ever listed.
pub(crate) struct Record {
    pub rendition: Rendition,
    frozen: (f64, Option<f64>, Option<String>),
    pub segments: Vec<Listed>,
}

/// A segment with what is in it.
pub(crate) struct Listed {
    pub segment: Segment,
    timescale: f64,
    fragments: Vec<Fragment>,
}

impl Listed {
    /// Where it begins on the decode timeline, in seconds.
    pub(crate) fn start(&self) -> f64 {
        self.fragments[0].decode_time as f64 / self.timescale
    }
}

impl Record {
    pub(crate) fn new(rendition: Rendition) -> Self {
        let frozen = rendition.playlist().frozen();
        Self { rendition, frozen, segments: Vec::new() }
    }

    /// Adds what is new; what was listed before must be as it was.
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

    /// The runs between discontinuities.
    pub(crate) fn runs(&self) -> Vec<&[Listed]> {
        self.segments.chunk_by(|_, next| !next.segment.discontinuity).collect()
    }

    /// Inside a run each fragment begins where the one before ended; from run to run, time does not go back.
    pub(crate) fn assert_continuous(&self) {
        let mut end = 0.0;
        for run in self.runs() {
            let first = run[0].fragments[0].decode_time as f64 / run[0].timescale;
            assert!(first >= end - ROUNDED, "{} begins at {first}, before {end}", run[0].segment.uri);
            let mut next = None;
            for listed in run {
                for fragment in &listed.fragments {
                    let next = next.replace(fragment.decode_time + fragment.duration);
                    assert_eq!(next.unwrap_or(fragment.decode_time), fragment.decode_time, "{}", listed.segment.uri);
                }
                end = next.expect("a fragment") as f64 / listed.timescale;
            }
        }
    }

    /// Where the runs begin.
    fn breaks(&self) -> Vec<u64> {
        self.segments.iter().filter(|listed| listed.segment.discontinuity).map(|listed| listed.segment.number).collect()
    }
}

#[test]
fn playlists_go_on_with_any_protocol_and_codec() {
    let _machine = shared();
    let server = Server::start();
    // There is no slate in this mode unless it is asked for; see `slates.rs` for those.
    let stream = server.api().create("standard", json!({ "reconnect_window": 60 }));
    let playback = server.playback(&stream);
    let mut records: Vec<Record> = Vec::new();
    let mut encoder: Option<Encoder> = None;
    for (before, turn) in TURNS.iter().enumerate() {
        let file = turn.file();
        if let Some(mut gone) = encoder.take() {
            gone.kill();
        }
        encoder = Some(turn.push(&server, &stream));
        if records.is_empty() {
            records = playback.renditions().into_iter().map(Record::new).collect();
        }
        until(&format!("segments of {}", file.display()), || {
            records.iter_mut().for_each(Record::reload);
            let there = |record: &Record| record.runs().get(before).is_some_and(|run| run.len() >= ENOUGH);
            records.iter().all(there).then_some(())
        });
        let multivariant = playback.answer().text();
        assert!(multivariant.contains(turn.codec), "{} is not in {multivariant}", turn.codec);
        assert!(multivariant.contains(&format!("RESOLUTION={}", turn.size)), "{} is not in {multivariant}", turn.size);
        assert_eq!(playback.renditions().len(), records.len(), "{multivariant}");
    }
    assert_eq!(records.len(), 2, "pictures and sound");
    assert_eq!(records[0].breaks(), records[1].breaks(), "a discontinuity stands in both at once");
    for record in &records {
        assert_eq!(record.runs().len(), TURNS.len());
        record.assert_continuous();
    }
    let video = records.iter().find(|record| record.rendition.kind == "video").expect("pictures");
    let mut headers = BTreeSet::new();
    for run in video.runs() {
        let maps: BTreeSet<_> = run.iter().map(|listed| &listed.segment.map).collect();
        assert_eq!(maps.len(), 1, "a run has one header");
        assert!(maps.into_iter().all(|map| headers.insert(map)), "each run has a header of its own");
    }
}

#[test]
fn hls_js_plays_on_when_an_encoder_comes_back_by_srt_in_another_size() {
    let _machine = alone();
    let (server, turns) = (Server::start(), [SMALLER, LARGER]);
    turns.iter().for_each(|turn| drop(turn.file()));
    let stream = server.api().create("low", json!({ "reconnect_window": 60 }));
    let mut first = turns[0].push(&server, &stream);
    let main = server.playback(&stream).main();
    main.wait_for("three target durations", |list| list.segments.len() >= 3);
    let mut player = watch(&server, &stream, seconds(), &[HAND_OVER]);
    first.kill();
    let _second = turns[1].push(&server, &stream);
    main.wait_for("the change", |list| list.segments.iter().any(|segment| segment.discontinuity));
    assert_content(&mut player);
    assert!(player.output().contains("\"height\":1080"), "the larger picture was shown:\n{}", player.output());
}
