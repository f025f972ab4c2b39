//! See `media::codec::fuzz::codec_headers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| media::codec::fuzz::codec_headers(data));
