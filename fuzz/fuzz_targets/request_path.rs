//! See `origin::fuzz::request_path`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| origin::fuzz::request_path(data));
