//! Tracks with headers of real encoders, for the tests of other crates (feature `fixtures`).
#![allow(clippy::expect_used, reason = "the headers are constants that parse")]

use bytes::Bytes;

use crate::codec::{CodecConfig, aac, avc};
use crate::track::{Track, TrackId};

/// Sequence parameter set of x264: Constrained Baseline, 320x240, 25 frames per second.
pub const SPS: &[u8] = &[
    0x67, 0x42, 0xc0, 0x0d, 0xd9, 0x01, 0x41, 0xfb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03,
    0x20, 0xf1, 0x42, 0xa4, 0x80,
];
/// Picture parameter set that belongs to [`SPS`].
pub const PPS: &[u8] = &[0x68, 0xcb, 0x83, 0xcb, 0x20];
/// `AudioSpecificConfig` of AAC-LC, 48 kHz, stereo.
pub const AAC: &[u8] = &[0x11, 0x90];

/// Returns an H.264 track with the header of [`SPS`] and [`PPS`].
pub fn video(id: TrackId) -> Track {
    let config = avc::Config::from_parameter_sets(&[Bytes::from_static(SPS)], &[Bytes::from_static(PPS)]);
    Track::new(id, CodecConfig::Avc(config.expect("the parameter sets are valid")))
}

/// Returns an AAC-LC track with the header [`AAC`].
pub fn audio(id: TrackId) -> Track {
    let config = aac::Config::parse(Bytes::from_static(AAC));
    Track::new(id, CodecConfig::Aac(config.expect("the configuration is valid")))
}
