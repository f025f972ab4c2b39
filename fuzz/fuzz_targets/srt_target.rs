//! See `wire::fuzz::srt_target`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::fuzz::srt_target(data));
