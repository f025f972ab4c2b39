//! Enhanced RTMP of ffmpeg 9.0, as its FLV muxer writes it, through the demuxer.

#[path = "common/flv.rs"]
mod flv_file;

use bytes::Bytes;
use flv_file::tags;
use media::{Access, CodecConfig, Fault, Frame, Kind, Timescale, Track, TrackId};
use wire::Item;
use wire::flv::{self, Body, Demuxer, Reason, Tag, VIDEO_TRACK, audio_track};

/// Output of the demuxer.
#[derive(Default)]
struct Seen {
    tracks: Vec<Track>,
    frames: Vec<Frame>,
    left_out: Vec<String>,
    faults: Vec<Fault>,
    dropped: u64,
}

fn demux(tags: &[(Kind, i64, Bytes)]) -> Seen {
    let (mut demuxer, mut seen) = (Demuxer::new(), Seen::default());
    for (kind, millis, body) in tags {
        let mut packets = Vec::new();
        flv::read(*kind, body, |packet| packets.push(packet)).expect("ffmpeg keeps to the grammar");
        for packet in packets {
            demuxer.push(Tag { millis: *millis, packet }).for_each(|item| seen.take(item));
        }
    }
    demuxer.finish().for_each(|item| seen.take(item));
    seen.dropped = demuxer.dropped();
    seen
}

impl Seen {
    fn take(&mut self, item: Item) {
        match item {
            Item::Track(track) => self.tracks.push(track),
            Item::Frame(frame) => self.frames.push(frame),
            Item::Fault(report) => match report.fault {
                Fault::TrackLeftOut => self.left_out.extend(report.detail.map(String::from)),
                fault => self.faults.push(fault),
            },
            Item::VideoExpected => {}
            other @ Item::Metadata(_) => panic!("{other:?}"),
        }
    }

    /// Returns number and codec of each track, in the order of output.
    fn codecs(&self) -> Vec<(TrackId, String)> {
        self.tracks.iter().map(|track| (track.id, track.codec_string())).collect()
    }

    fn of(&self, id: TrackId) -> Vec<&Frame> {
        self.frames.iter().filter(|frame| frame.track == id).collect()
    }

    /// Returns DTS and composition time of each frame in milliseconds.
    fn times(&self, id: TrackId) -> Vec<(i64, i64)> {
        self.of(id).iter().map(|f| (Timescale::MILLIS.ticks(f.dts), (f.pts - f.dts).as_millis())).collect()
    }

    /// Returns the indexes of the frames at which decoding may start.
    fn starts(&self, id: TrackId) -> Vec<usize> {
        let frames = self.of(id);
        (0..frames.len()).filter(|at| frames[*at].access != Access::Dependent).collect()
    }
}

#[test]
fn hevc_and_opus() {
    let seen = demux(&tags("hevc_opus.flv"));
    assert_eq!(seen.codecs(), [(VIDEO_TRACK, "hvc1.1.6.L30.90".into()), (audio_track(0), "Opus".into())]);
    assert_eq!(seen.tracks[0].codec.resolution(), Some((64, 64)));
    assert_eq!(seen.tracks[1].codec.channels(), Some(2));
    let times = seen.times(VIDEO_TRACK);
    assert_eq!(times.iter().map(|(dts, _)| *dts).collect::<Vec<_>>(), [0, 40, 80, 120, 160, 200, 240, 280]);
    let mut pts: Vec<_> = times.iter().map(|(dts, composition)| dts + composition).collect();
    pts.sort_unstable();
    assert_eq!(pts, [80, 120, 160, 200, 240, 280, 320, 360], "each frame has its own time");
    assert_eq!(seen.starts(VIDEO_TRACK).first(), Some(&0));
    assert!(seen.starts(VIDEO_TRACK).len() >= 2, "a key frame in every five");
    assert!(seen.of(audio_track(0)).len() > 5);
    assert_eq!((seen.left_out.len(), seen.dropped, seen.faults), (0, 0, vec![]));
}

#[test]
fn av1_and_flac() {
    let seen = demux(&tags("av1_flac.flv"));
    let video = (VIDEO_TRACK, "av01.0.00M.08".to_owned());
    // SVT-AV1 uses coding tools in its first frame that its header does not declare: the frame counts.
    assert_eq!(seen.codecs(), [video.clone(), (audio_track(0), "fLaC".into()), video]);
    assert_eq!(seen.tracks[2].codec.resolution(), Some((64, 64)));
    for frame in seen.of(VIDEO_TRACK) {
        assert_ne!(frame.payload[..2], [0x12, 0], "samples have no temporal delimiter");
        assert_eq!(frame.pts, frame.dts);
    }
    assert_eq!(seen.starts(VIDEO_TRACK), [0, 5]);
    // The header at the end of FLAC declares its length and checksum: no new track. The empty frame after it is
    // dropped.
    assert_eq!((seen.left_out.len(), seen.dropped, seen.faults), (0, 1, vec![Fault::DamagedFrames]));
}

#[test]
fn vp9_and_ac3() {
    let seen = demux(&tags("vp9_ac3.flv"));
    assert_eq!(seen.codecs(), [(audio_track(0), "ac-3".into()), (VIDEO_TRACK, "vp09.00.10.08".into())]);
    assert_eq!(seen.tracks[1].codec.resolution(), Some((64, 64)), "from the key frame, not from the header");
    assert_eq!(seen.tracks[0].codec.sample_rate(), Some(48_000), "from the frame: the header is empty");
    assert_eq!(seen.starts(VIDEO_TRACK), [0, 5]);
    assert_eq!((seen.left_out.len(), seen.dropped, seen.faults), (0, 0, vec![]));
}

#[test]
fn several_audio_tracks_and_one_video_track() {
    let seen = demux(&tags("multitrack.flv"));
    let expected = [
        (VIDEO_TRACK, "avc1.64000A"),
        (audio_track(0), "mp4a.40.2"),
        (audio_track(1), "Opus"),
        (audio_track(2), "ec-3"),
    ];
    assert_eq!(seen.codecs(), expected.map(|(id, codec)| (id, codec.to_owned())));
    for (id, _) in expected {
        assert!(seen.of(id).len() > 3, "{id:?}");
    }
    let reports = seen.left_out;
    let why = "a live stream has one video track, and another one came first";
    assert_eq!(reports, [format!("video track 1 (HEVC) is left out: {why}")]);
    assert_eq!(seen.dropped, 5, "the frames of the second video track");
}

#[test]
fn every_body_cut_short_harms_nothing_else() {
    for name in ["hevc_opus.flv", "av1_flac.flv", "vp9_ac3.flv", "multitrack.flv"] {
        let tags = tags(name);
        let mut demuxer = Demuxer::new();
        for (kind, millis, body) in &tags {
            for end in (0..body.len()).take(300) {
                let _ = flv::read(*kind, &body.slice(..end), |packet| {
                    demuxer.push(Tag { millis: *millis, packet }).for_each(drop);
                });
            }
        }
        // The complete tags are understood after that.
        let mut frames = 0;
        for (kind, millis, body) in &tags {
            let read = flv::read(*kind, body, |packet| {
                frames += demuxer.push(Tag { millis: *millis, packet }).filter(|i| matches!(i, Item::Frame(_))).count();
            });
            assert_eq!(read, Ok(()));
        }
        assert!(frames >= demux(&tags).frames.len(), "{name}");
    }
}

/// Returns the tags of a file that `keep` selects.
fn only(name: &str, keep: impl Fn(Kind, &Body) -> bool) -> Vec<(Kind, i64, Bytes)> {
    let wanted = |(kind, _, body): &(Kind, i64, Bytes)| {
        let mut wanted = true;
        flv::read(*kind, body, |packet| wanted = keep(*kind, &packet.body)).expect("whole");
        wanted
    };
    tags(name).into_iter().filter(wanted).collect()
}

#[test]
fn av1_and_vp9_without_a_header_have_it_in_their_frames() {
    for name in ["av1_flac.flv", "vp9_ac3.flv"] {
        let with = demux(&only(name, |kind, _| kind == Kind::Video));
        let without = demux(&only(name, |kind, body| kind == Kind::Video && !matches!(body, Body::Header(_))));
        assert_eq!(with.tracks.last(), without.tracks.last(), "{name}");
        assert_eq!(with.frames, without.frames, "{name}");
    }
}

#[test]
fn frames_without_a_header_are_dropped_and_it_is_said() {
    let mut tags = only("hevc_opus.flv", |_, body| !matches!(body, Body::Header(_)));
    let cycle = tags.clone();
    while tags.len() < 200 {
        tags.extend_from_slice(&cycle);
    }
    let seen = demux(&tags);
    assert_eq!((seen.tracks, seen.frames), (vec![], vec![]));
    let reports = seen.left_out;
    let is_reported =
        |track: &str| reports.iter().any(|report| *report == format!("{track} is left out: {}", Reason::NoHeader));
    assert!(is_reported("video track 0 (HEVC)") && is_reported("audio track 0 (Opus)"), "{reports:?}");
    assert_eq!(reports.len(), 2, "once each");
    let media_tags = tags.iter().filter(|(_, _, body)| body[0] & 0x0f != 4).count();
    assert_eq!(seen.dropped, media_tags as u64);
}

#[test]
fn parameter_sets_in_the_frames_make_a_new_track() {
    let mut tags = tags("hevc_opus.flv");
    let small = demux(&tags).tracks.remove(0);
    // The second track of the other file is HEVC of another size. Here its parameter sets are in a frame.
    let mut other = None;
    for (kind, _, body) in self::tags("multitrack.flv") {
        let _ = flv::read(kind, &body, |packet| {
            if let (flv::Codec::Hevc, Body::Header(header)) = (packet.codec, packet.body) {
                other = Some(media::codec::hevc::Config::parse(header).expect("a header"));
            }
        });
    }
    let other = other.expect("HEVC in the file");
    let sets = other.parameter_sets();
    let mut frame = b"\x91hvc1\x00\x00\x00".to_vec();
    for set in sets.vps.iter().chain(&sets.sps).chain(&sets.pps) {
        frame.extend((set.len() as u32).to_be_bytes());
        frame.extend_from_slice(set);
    }
    frame.extend([0, 0, 0, 3, 0x26, 1, 0xaf]);
    tags.push((Kind::Video, 400, Bytes::from(frame.clone())));
    // The old header yields nothing, because only the frames changed.
    let header = tags.iter().find(|(kind, _, _)| *kind == Kind::Video).expect("a header").clone();
    tags.push(header);
    tags.push((Kind::Video, 440, Bytes::from(frame)));
    let seen = demux(&tags);
    let video: Vec<_> = seen.tracks.iter().filter(|track| track.id == VIDEO_TRACK).collect();
    assert_eq!(video.len(), 2);
    assert_eq!(video[0], &small);
    assert_eq!(video[1].codec.resolution(), Some((32, 32)));
    assert!(matches!(&video[1].codec, CodecConfig::Hevc(hevc) if hevc.parameter_sets() == sets));
}
