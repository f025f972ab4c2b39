//! See `wire::fuzz::codec_headers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::fuzz::codec_headers(data));
