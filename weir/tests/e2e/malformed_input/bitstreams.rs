//! Bytes and headers that break the rules of FLV and MPEG-TS. Viewers get all media that can be recovered.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::encode_clip;
use super::publisher::{AUDIO, Tag, VIDEO, publish, tags};
use crate::support::{Clip, Encoder, Server, Stream, attribute, clip, kept, shared};

/// Bytes of an FLV tag before its NAL units.
const HEAD: usize = 5;
/// Bytes of a transport stream packet.
const PACKET: usize = 188;
/// Packets of an SRT message.
const MESSAGE: usize = 7 * PACKET;

/// A contribution of twelve seconds, the fault that is reported for it, and whether its audio is played.
struct Case {
    name: &'static str,
    tags: fn() -> Vec<Tag>,
    fault: Option<&'static str>,
    audio: bool,
}

fn plain() -> Vec<Tag> {
    tags(&clip(&Clip::plain(12)))
}

/// Six seconds of CABAC slices and six of CAVLC: the PPS changes while the SPS stays the same.
fn other_pps() -> Vec<Tag> {
    let part = |cabac: u32| {
        let arguments = format!(
            "testsrc2=size=320x180:rate=30 -f lavfi -i sine=sample_rate=48000 -t 6 -c:v libx264 -profile:v main \
             -preset veryfast -tune zerolatency -pix_fmt yuv420p -g 30 -x264-params cabac={cabac}:weightp={}:bframes=0 \
             -c:a aac -ac 2",
            1 - cabac
        );
        tags(&encode_clip(&format!("bad-cabac-{cabac}.flv"), &arguments))
    };
    let later = part(0).into_iter().map(|tag| Tag { at: tag.at + 6_000, sent_at: tag.sent_at + 6_000, ..tag });
    part(1).into_iter().filter(|tag| !(tag.kind == VIDEO && tag.body[1] == 2)).chain(later).collect()
}

/// Returns the NAL units of a video tag, each with its length field.
fn units(tag: &Tag) -> Vec<&[u8]> {
    let (mut rest, mut units) = (&tag.body[HEAD..], Vec::new());
    while let Some(length) = rest.first_chunk() {
        let (unit, following) = rest.split_at(4 + u32::from_be_bytes(*length) as usize);
        units.push(unit);
        rest = following;
    }
    units
}

/// Replaces the tags that contain frames.
fn with_frames(tags: Vec<Tag>, change: impl Fn(Tag) -> Vec<Tag>) -> Vec<Tag> {
    tags.into_iter().flat_map(|tag| if tag.is_header() || tag.body[1] == 2 { vec![tag] } else { change(tag) }).collect()
}

/// Frames of four slices, with each NAL unit in a message of its own.
fn nal_unit_per_message() -> Vec<Tag> {
    let arguments = "testsrc2=size=320x180:rate=30 -f lavfi -i sine=sample_rate=48000 -t 12 -c:v libx264 -preset veryfast \
                 -tune zerolatency -pix_fmt yuv420p -g 30 -x264-params slices=4 -c:a aac -ac 2";
    with_frames(tags(&encode_clip("bad-slices.flv", arguments)), |tag| match tag.kind {
        VIDEO => {
            let alone = |unit: &&[u8]| Tag { body: [&tag.body[..HEAD], unit].concat(), ..tag.clone() };
            units(&tag).iter().map(alone).collect()
        }
        _ => vec![tag],
    })
}

fn start_codes() -> Vec<Tag> {
    with_frames(plain(), |tag| {
        let coded = || units(&tag).iter().flat_map(|unit| [&[0, 0, 0, 1], &unit[4..]].concat()).collect::<Vec<u8>>();
        let body = if tag.kind == VIDEO { [&tag.body[..HEAD], &coded()].concat() } else { tag.body.clone() };
        vec![Tag { body, ..tag }]
    })
}

/// AAC-LC, 48 kHz, stereo.
fn with_adts_headers() -> Vec<Tag> {
    with_frames(plain(), |tag| {
        if tag.kind != AUDIO {
            return vec![tag];
        }
        let size = tag.body.len() - 2 + 7;
        let head = [0xff, 0xf1, 0x4c, 0x80 | (size >> 11) as u8, (size >> 3) as u8, (size << 5) as u8 | 0x1f, 0xfc];
        vec![Tag { body: [&tag.body[..2], &head, &tag.body[2..]].concat(), ..tag }]
    })
}

fn with_adts_headers_only() -> Vec<Tag> {
    with_adts_headers().into_iter().filter(|tag| tag.kind == VIDEO || !tag.is_header()).collect()
}

/// Audio in a channel order of ffmpeg that only a program config element can describe.
fn program_config_element() -> Vec<Tag> {
    let arguments = "testsrc2=size=320x180:rate=30 -f lavfi -i sine=sample_rate=48000 -t 12 -c:v libx264 -preset veryfast \
                 -tune zerolatency -pix_fmt yuv420p -g 30 -filter:a \
                 pan=5.1(side)|FL=c0|FR=c0|FC=c0|LFE=c0|SL=c0|SR=c0 -c:a aac";
    tags(&encode_clip("bad-5.1.flv", arguments))
}

fn cases() -> [Case; 6] {
    [
        Case { name: "another picture parameter set", tags: other_pps, fault: None, audio: true },
        Case {
            name: "a message for each NAL unit",
            tags: nal_unit_per_message,
            fault: Some("split_access_unit"),
            audio: true,
        },
        Case { name: "start codes", tags: start_codes, fault: Some("start_codes"), audio: true },
        Case { name: "ADTS headers", tags: with_adts_headers, fault: Some("adts_headers"), audio: true },
        Case { name: "ADTS headers only", tags: with_adts_headers_only, fault: Some("adts_headers"), audio: true },
        Case {
            name: "a program config element",
            tags: program_config_element,
            fault: Some("track_left_out"),
            audio: false,
        },
    ]
}

#[test]
fn nonstandard_flv_is_played() {
    let _machine = shared();
    let server = Server::start();
    for case in cases() {
        let stream = server.api().create("low", json!({ "reconnect_window": 0 }));
        publish(server.rtmp_port(), &stream.key, (case.tags)(), false);
        let playback = server.playback(&stream);
        playback.main().wait_for("the end of the list", |list| list.ended);
        let text = playback.answer().text();
        let rate = attribute(text.lines().find(|line| line.contains("FRAME-RATE")).expect("a variant"), "FRAME-RATE");
        assert_eq!(rate.as_deref(), Some("30.000"), "{}: {text}", case.name);
        assert_eq!(text.contains("mp4a"), case.audio, "{}: {text}", case.name);
        assert_eq!(decoded_frames(&server, &stream), 360, "{}", case.name);
        assert_reported(&server, &stream, case.fault);
    }
}

/// Checks that the fault, and no other, is logged once for the stream.
fn assert_reported(server: &Server, stream: &Stream, fault: Option<&str>) {
    let counted = server.log().lines().filter(|line| line.contains(&stream.id) && line.contains("fault=")).count();
    assert_eq!(counted, fault.iter().count(), "{}", server.log());
    let line = |fault: String| server.log().lines().any(|line| line.contains(&stream.id) && line.contains(&fault));
    assert!(fault.is_none_or(|fault| line(format!("fault=\"{fault}\""))), "{}", server.log());
}

/// Counts the video frames of the whole programme that ffmpeg decodes. Fails on any decoding error.
fn decoded_frames(server: &Server, stream: &Stream) -> usize {
    let url = server.playlist_url(stream);
    let arguments = ["-v", "error", "-xerror", "-nostdin", "-live_start_index", "0", "-i", &url];
    let run =
        Command::new("ffmpeg").args(arguments).args(["-map", "0:v", "-f", "framecrc", "-"]).output().expect("ffmpeg");
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && errors.is_empty(), "{errors}");
    String::from_utf8_lossy(&run.stdout).lines().filter(|line| !line.starts_with('#')).count()
}

/// The packets from the second second on, in which every PES packet is three bytes shorter than its length field. The
/// next key frame is three seconds later.
fn joined_in_mid_gop() -> Vec<u8> {
    let file = kept("bad-gop-4s.ts", encode_ts);
    let bytes = std::fs::read(file).expect("the clip can be read");
    let clock = |packet: &[u8]| {
        let field = packet[3] & 0x20 != 0 && packet[4] >= 7 && packet[5] & 0x10 != 0;
        field.then(|| u64::from(u32::from_be_bytes([packet[6], packet[7], packet[8], packet[9]])) << 1)
    };
    let first = bytes.chunks(PACKET).find_map(clock).expect("a clock reference");
    let from = bytes.chunks(PACKET).position(|packet| clock(packet).is_some_and(|at| at >= first + 90_000));
    let mut rest = bytes[from.expect("a packet of the second second") * PACKET..].to_vec();
    for packet in rest.chunks_mut(PACKET).filter(|packet| packet[1] & 0x40 != 0) {
        let payload = if packet[3] & 0x20 != 0 { 5 + usize::from(packet[4]) } else { 4 };
        if let Some([0, 0, 1, 0xc0..=0xef, high, low, ..]) = packet.get_mut(payload..) {
            let length = u16::from_be_bytes([*high, *low]);
            [*high, *low] = if length > 0 { length + 3 } else { 0 }.to_be_bytes();
        }
    }
    rest
}

fn encode_ts(draft: &Path) {
    let arguments = "-f lavfi -i testsrc2=size=320x180:rate=30 -f lavfi -i sine=sample_rate=48000 -t 14 -c:v libx264 -preset \
                 veryfast -tune zerolatency -pix_fmt yuv420p -g 120 -sc_threshold 0 -c:a aac -ac 2 -omit_video_pes_length 0 \
                 -f mpegts";
    crate::support::encode("ffmpeg", arguments, draft);
}

#[test]
fn srt_that_starts_in_mid_gop_with_wrong_pes_lengths_begins_with_video() {
    let _machine = shared();
    let server = Server::start();
    let bytes = joined_in_mid_gop();
    for (mode, quality) in [("low", "basic"), ("standard", "basic"), ("low", "plus")] {
        let settings = json!({ "reconnect_window": 0, "new_asset_settings": { "video_quality": quality } });
        let stream = server.api().create(mode, settings);
        let (relay, port) = Encoder::srt_relay(&[], &server.srt_url(&stream));
        let packets = bytes.clone();
        let sender = std::thread::spawn(move || send(port, &packets));
        let renditions = server.playback(&stream).renditions();
        let text = server.playback(&stream).answer().text();
        assert!(renditions.iter().any(|rendition| rendition.kind == "video"), "{mode}, {quality}: {text}");
        sender.join().expect("everything is sent");
        drop(relay);
        let metrics = server.client().get("/metrics").text();
        for fault in ["frames_before_key_frame", "wrong_headers"] {
            let mut lines = metrics.lines().filter(|line| line.contains(&format!("fault=\"{fault}\"")));
            assert!(lines.any(|line| line.contains(&stream.id)), "{metrics}");
        }
        assert!(!server.log().contains("damaged_frames"), "{}", server.log());
    }
}

/// Sends the packets, which last thirteen seconds, in real time.
fn send(port: u16, packets: &[u8]) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let messages = packets.chunks(MESSAGE);
    let interval = Duration::from_secs(13).div_f64(messages.len() as f64);
    let began = Instant::now();
    for (n, message) in (0..).zip(messages) {
        std::thread::sleep((began + interval * n).saturating_duration_since(Instant::now()));
        socket.send_to(message, ("127.0.0.1", port)).expect("the relay takes it");
    }
}
