//! Checks of the targets that other tests send to: what ffmpeg publishes there arrives unchanged.

use std::path::Path;

use crate::support::targets::{FfmpegListener, NginxRtmp, NodeMediaServer, Service, SrtReceiver, TlsFront};
use crate::support::{Clip, Encoder, Hashes, clip, shared, until, video_hashes};

const KEY: &str = "a-key";

/// Publishes a clip, and returns the hashes of its frames.
fn publish(url: &str) -> Hashes {
    let clip = clip(&Clip::plain(2));
    Encoder::push_copy(&clip, url).wait_for_success();
    video_hashes(clip.to_str().expect("a UTF-8 path"))
}

/// Waits until the file has all these frames.
fn wait_for_frames(file: &Path, wanted: &Hashes) {
    let file = file.to_str().expect("a UTF-8 path");
    until(&format!("{} frames in {file}", wanted.len()), || {
        let size = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
        (size > 0 && video_hashes(file) == *wanted).then_some(())
    });
}

/// Publishes to a server that is frozen at first.
fn publish_to_frozen(service: &Service, url: &str) {
    service.freeze();
    let mut encoder = Encoder::push_copy(&clip(&Clip::plain(2)), url);
    until("the encoder to start", || encoder.output().contains("Input #0").then_some(()));
    service.thaw();
    encoder.wait_for_success();
}

#[test]
fn nginx_records_what_is_published() {
    let _machine = shared();
    let mut nginx = NginxRtmp::start();
    let url = format!("{}/{KEY}", nginx.url());
    let pushed = publish(&url);
    wait_for_frames(&nginx.recordings()[0], &pushed);
    nginx.service.kill();
    nginx.service.restart();
    publish_to_frozen(&nginx.service, &url);
    assert_eq!(nginx.recordings().len(), 2);
}

#[test]
fn nginx_refuses_keys() {
    let _machine = shared();
    let nginx = NginxRtmp::start();
    let mut encoder = Encoder::push_copy(&clip(&Clip::plain(2)), &format!("{}/{KEY}", nginx.refusing_url()));
    assert!(!encoder.wait().success());
    // nginx gives no reason, and closes the connection.
    assert!(nginx.service.output().contains("notify: publish"), "{}", nginx.service.output());
}

#[test]
fn a_front_adds_tls() {
    let _machine = shared();
    let nginx = NginxRtmp::start();
    let front = TlsFront::start(nginx.port());
    let pushed = publish(&format!("{}/{KEY}", front.url("live")));
    wait_for_frames(&nginx.recordings()[0], &pushed);
    assert!(front.service.output().contains("proxy"), "{}", front.service.output());
    // ffmpeg does not verify the certificate.
    let (address, ca_file) = (front.address(), front.ca_file().display().to_string());
    let verify = ["s_client", "-connect", &address, "-CAfile", &ca_file, "-verify_ip", "127.0.0.1"];
    Encoder::run("openssl", &[verify.as_slice(), &["-verify_return_error"]].concat()).wait_for_success();
}

#[test]
fn node_media_server_records_what_is_published() {
    let _machine = shared();
    let mut node = NodeMediaServer::start();
    for publications in 1..=2 {
        let pushed = publish(&format!("{}/{KEY}", node.url()));
        let recordings = node.recordings(KEY);
        assert_eq!(recordings.len(), publications);
        wait_for_frames(&recordings[publications - 1], &pushed);
        node.service.restart();
    }
}

#[test]
fn ffmpeg_records_one_publication() {
    let _machine = shared();
    let mut ffmpeg = FfmpegListener::start();
    for _ in 0..2 {
        let pushed = publish(&format!("{}/{}", ffmpeg.url(), FfmpegListener::KEY));
        wait_for_frames(&ffmpeg.recording(), &pushed);
        ffmpeg.restart();
    }
}

#[test]
fn srt_live_transmit_records_what_is_sent() {
    let _machine = shared();
    let mut receiver = SrtReceiver::start("passphrase=0123456789ab&pbkeylen=32");
    receiver.restart();
    let clip = clip(&Clip::plain(2));
    let file = clip.to_str().expect("a UTF-8 path");
    Encoder::ffmpeg(&["-re", "-i", file, "-c", "copy", "-f", "mpegts", &receiver.url()]).wait_for_success();
    // ffmpeg closes the connection at once, so the last frames do not arrive.
    let pushed = video_hashes(file);
    until("frames", || {
        let size = std::fs::metadata(receiver.recording()).map_or(0, |metadata| metadata.len());
        let received = if size > 0 { video_hashes(receiver.recording().to_str()?) } else { Hashes::new() };
        (received.len() > 30 && pushed.starts_with(&received)).then_some(())
    });
}
