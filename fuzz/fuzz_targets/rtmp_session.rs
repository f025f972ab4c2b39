//! See `wire::fuzz::rtmp_session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::fuzz::rtmp_session(data));
