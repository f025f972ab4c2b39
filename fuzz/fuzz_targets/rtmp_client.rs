//! See `wire::fuzz::rtmp_client`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::fuzz::rtmp_client(data));
