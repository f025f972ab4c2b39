//! The programme that is pushed: a clip of ffmpeg's, after the splice.

use std::process::{Command, Stdio};
use std::sync::OnceLock;

use bytes::Bytes;
use media::{Frame, Kind, Timescale, Timestamp, Track, TrackId};
use slate::{Item, Splice};
use wire::flv::{self, Demuxer, Tag};
use wire::ts;

/// Bytes of an FLV file's header with the size before the first tag, and of a tag's header.
const FILE_HEADER: usize = 13;
const TAG_HEADER: usize = 11;

/// Returns the tags of an FLV file, as far as they are complete.
fn tags(bytes: &Bytes) -> Vec<Tag> {
    let (mut tags, mut at) = (Vec::new(), FILE_HEADER);
    while let Some(&[kind, l2, l1, l0, t2, t1, t0, t3, ..]) = bytes.get(at..at + TAG_HEADER) {
        let len = u32::from_be_bytes([0, l2, l1, l0]) as usize;
        if bytes.len() < at + TAG_HEADER + len {
            break;
        }
        let body = bytes.slice(at + TAG_HEADER..at + TAG_HEADER + len);
        let millis = i64::from(u32::from_be_bytes([t3, t2, t1, t0]));
        let kind = [(8, Kind::Audio), (9, Kind::Video)].into_iter().find(|(number, _)| *number == kind);
        if let Some((_, kind)) = kind {
            flv::read(kind, &body, |packet| tags.push(Tag { millis, packet })).expect("a valid tag");
        }
        at += TAG_HEADER + len + 4;
    }
    tags
}

/// Returns tracks and frames of tags, in order.
pub(crate) fn demux(tags: impl IntoIterator<Item = Tag>) -> Vec<wire::Item> {
    let mut demuxer = Demuxer::new();
    let mut items: Vec<_> = tags.into_iter().flat_map(|tag| demuxer.push(tag)).collect();
    items.extend(demuxer.finish());
    items
}

/// Returns the frames of an FLV file.
pub(crate) fn recorded(bytes: Vec<u8>) -> Vec<Frame> {
    frames(&demux(tags(&bytes.into())))
}

/// Returns the frames among items.
pub(crate) fn frames(items: &[wire::Item]) -> Vec<Frame> {
    items
        .iter()
        .filter_map(|item| if let wire::Item::Frame(frame) = item { Some(frame.clone()) } else { None })
        .collect()
}

/// Sizes of the clips.
pub(crate) const SMALL: &str = "320x240";
pub(crate) const LARGE: &str = "480x270";

/// Returns a clip of H.264 with B-frames and AAC.
fn clip(size: &str) -> &'static [wire::Item] {
    static CLIPS: [OnceLock<Vec<wire::Item>>; 2] = [const { OnceLock::new() }; 2];
    CLIPS[usize::from(size == LARGE)].get_or_init(|| {
        let mut command = Command::new("ffmpeg");
        let video = format!("testsrc2=size={size}:rate=25,noise=alls=20:allf=t");
        command.args(["-v", "error", "-f", "lavfi", "-i", &video]);
        command.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "6"]);
        command.args(["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "25", "-pix_fmt", "yuv420p"]);
        command.args(["-b:v", "3M", "-c:a", "aac", "-f", "flv", "-flvflags", "no_duration_filesize", "-"]);
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().expect("ffmpeg runs");
        assert!(output.status.success());
        demux(tags(&output.stdout.into()))
    })
}

/// The programme of an encoder that sends a clip, reconnects, and sends another one.
pub(crate) struct Programme {
    splice: Splice,
    pub(crate) tracks: Vec<Item>,
    pub(crate) frames: Vec<Item>,
}

impl Programme {
    /// Creates a programme of contributions with the small clip.
    pub(crate) fn new(contributions: usize) -> Self {
        Self::of(&vec![SMALL; contributions])
    }

    /// Creates a programme of contributions with clips of these sizes.
    pub(crate) fn of(sizes: &[&str]) -> Self {
        let mut programme = Self { splice: Splice::for_passthrough(), tracks: Vec::new(), frames: Vec::new() };
        sizes.iter().for_each(|size| programme.connect(clip(size)));
        let first = programme.frames.iter().position(|item| matches!(item, Item::Frame(_))).expect("frames");
        programme.tracks = programme.frames.drain(..first).collect();
        // Targets receive both tracks before the first frame.
        assert_eq!(programme.tracks.len(), 2, "{:?}", programme.tracks);
        programme
    }

    /// Creates a programme of HEVC, AC-3 and Opus.
    pub(crate) fn of_other_codecs() -> Self {
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25"]);
        command.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "3"]);
        command.args(["-map", "0", "-map", "1", "-map", "1", "-c:v", "libx265", "-preset", "ultrafast"]);
        command.args(["-x265-params", "log-level=none:keyint=25", "-pix_fmt", "yuv420p"]);
        command.args(["-c:a:0", "ac3", "-c:a:1", "libopus", "-f", "mpegts", "-"]);
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().expect("ffmpeg runs");
        assert!(output.status.success());
        let (mut demuxer, mut items) = (ts::Demuxer::new(ts::Limits::default()), Vec::new());
        demuxer.push(&output.stdout, &mut items).expect("a transport stream");
        demuxer.finish(&mut items);
        let mut programme = Self { splice: Splice::for_passthrough(), tracks: Vec::new(), frames: Vec::new() };
        programme.connect(&items);
        let is_track = |item: &Item| matches!(item, Item::Track(_));
        (programme.tracks, programme.frames) = programme.frames.into_iter().partition(is_track);
        programme
    }

    fn connect(&mut self, items: &[wire::Item]) {
        self.splice.begin();
        for item in items {
            match item {
                wire::Item::Track(track) => self.splice.track(track.clone(), &mut self.frames),
                wire::Item::Frame(frame) => self.splice.frame(frame.clone(), &mut self.frames),
                _ => {}
            }
        }
    }

    pub(crate) fn track(&self, kind: Kind) -> TrackId {
        let is_it = |item: &&Item| matches!(item, Item::Track(Track { codec, .. }) if codec.kind() == kind);
        match self.tracks.iter().find(is_it) {
            Some(Item::Track(track)) => track.id,
            other => panic!("{other:?}"),
        }
    }

    /// Returns the frames that a target receives if it is connected before the first one: all from the first key frame
    /// on.
    pub(crate) fn expected(&self) -> Vec<Frame> {
        let mut start: Option<Timestamp> = None;
        let video = self.track(Kind::Video);
        let mut expected = Vec::new();
        for item in &self.frames {
            let Item::Frame(frame) = item else { continue };
            if start.is_none() && frame.track == video && frame.access.is_independent() {
                start = Some(frame.dts);
            }
            if start.is_some_and(|start| frame.dts >= start) {
                expected.push(frame.clone());
            }
        }
        expected
    }

    /// Asserts that `received` over RTMP is `expected`: payloads, and times in milliseconds since the first frame.
    pub(crate) fn assert_received(&self, received: &[Frame], expected: &[Frame]) {
        self.assert_received_as(
            [(Kind::Video, flv::VIDEO_TRACK), (Kind::Audio, flv::audio_track(0))],
            received,
            expected,
        );
    }

    /// Asserts that `received` with these tracks is `expected`.
    pub(crate) fn assert_received_as(&self, tracks: [(Kind, TrackId); 2], received: &[Frame], expected: &[Frame]) {
        let origin = expected.first().expect("frames").dts;
        // A transport stream keeps the timestamps.
        let start = received.first().expect("frames").dts;
        for (kind, id) in tracks {
            let of = |frames: &[Frame], id, origin| -> Vec<_> {
                let of_track = frames.iter().filter(|frame| frame.track == id);
                let millis = |at: Timestamp| Timescale::MILLIS.delta_ticks(at - origin);
                of_track.map(|frame| (millis(frame.dts), millis(frame.pts), frame.payload.clone())).collect()
            };
            let (received, expected) = (of(received, id, start), of(expected, self.track(kind), origin));
            assert_eq!(received.len(), expected.len(), "{kind:?}");
            for (received, expected) in received.iter().zip(&expected) {
                let times = [(received.0, received.1), (expected.0, expected.1)];
                assert!(received == expected, "{kind:?}: received and expected DTS and PTS are {times:?} ms");
            }
        }
    }
}
