//! See `wire::fuzz::rtmp_chunks`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::fuzz::rtmp_chunks(data));
