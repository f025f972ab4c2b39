//! Common encoders publish, and the result can be decoded.

use serde_json::json;

use crate::support::{Clip, Encoder, Server, Stream, Watcher, clip, shared};

/// Segments to wait for before a decoder starts.
const ENOUGH: usize = 3;

/// Waits for renditions of these kinds and decodes some seconds with ffmpeg, while a [`Watcher`] checks all playlists.
pub(crate) fn assert_plays(server: &Server, stream: &Stream, kinds: &[&str]) {
    let watcher = Watcher::start(server, stream);
    let renditions = server.playback(stream).renditions();
    let mut found: Vec<_> = renditions.iter().map(|rendition| rendition.kind).collect();
    found.sort_unstable();
    assert_eq!(found, kinds);
    for rendition in &renditions {
        rendition.wait_for("segments", |list| list.segments.len() >= ENOUGH);
    }
    let url = server.playlist_url(stream);
    // Compares times in the ticks of the stream. In those of the nominal frame rate, two frames of a jittery encoder
    // may get the same time.
    let ticks = ["-enc_time_base:v", "-1"];
    let arguments = [&["-v", "error", "-xerror", "-i", &url, "-t", "3"][..], &ticks, &["-f", "null", "-"]].concat();
    let mut decoder = Encoder::ffmpeg(&arguments);
    decoder.wait_for_success();
    assert_eq!(decoder.output(), "", "ffmpeg printed a warning");
    assert_eq!(server.api().status(stream), "active");
    let seen = watcher.finish("its playlists");
    assert!(seen.outgrown.is_empty(), "{seen:?}");
}

#[test]
fn ffmpeg_pushes_a_file_as_it_is() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let _encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&stream.key));
    assert_plays(&server, &stream, &["audio", "video"]);
}

#[test]
fn ffmpeg_encodes() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("reduced", json!({}));
    let url = server.rtmp_url(&stream.key);
    let arguments = "-re -f lavfi -i testsrc2=size=640x360:rate=30 -f lavfi -i sine=sample_rate=44100 -c:v libx264 \
                 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 30 -c:a aac -f flv";
    let arguments: Vec<_> = arguments.split_whitespace().chain([url.as_str()]).collect();
    let _encoder = Encoder::ffmpeg(&arguments);
    assert_plays(&server, &stream, &["audio", "video"]);
}

fn gstreamer_pushes(sink: &str) {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let url = server.rtmp_url(&stream.key);
    let _encoder = Encoder::gst(&format!(
        "flvmux name=mux streamable=true ! {sink} location={url} \
         videotestsrc is-live=true ! video/x-raw,width=640,height=360,framerate=30/1 ! \
         x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 bitrate=800 ! h264parse ! mux. \
         audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2 ! avenc_aac ! aacparse ! mux."
    ));
    assert_plays(&server, &stream, &["audio", "video"]);
}

#[test]
fn gstreamer_rtmp2sink_pushes() {
    gstreamer_pushes("rtmp2sink");
}

#[test]
fn gstreamer_rtmpsink_pushes() {
    gstreamer_pushes("rtmpsink");
}

#[test]
fn ffmpeg_pushes_over_tls() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let _encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmps_url(&stream.key));
    assert_plays(&server, &stream, &["audio", "video"]);
}

#[test]
fn any_application_name_and_a_query_after_the_key_are_accepted() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let url = format!("rtmp://127.0.0.1:{}/live/{}?token=abc", server.rtmp_port(), stream.key);
    let _encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &url);
    assert_plays(&server, &stream, &["audio", "video"]);
}

#[test]
fn video_alone_plays() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let file = clip(&Clip { audio: false, ..Clip::plain(8) });
    let _encoder = Encoder::push_loop(&file, &server.rtmp_url(&stream.key));
    assert_plays(&server, &stream, &["video"]);
}

#[test]
fn audio_alone_plays() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let file = clip(&Clip { video: false, ..Clip::plain(8) });
    let _encoder = Encoder::push_loop(&file, &server.rtmp_url(&stream.key));
    assert_plays(&server, &stream, &["audio"]);
}

#[test]
fn an_audio_only_stream_drops_video() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({ "audio_only": true }));
    let _encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&stream.key));
    assert_plays(&server, &stream, &["audio"]);
}
