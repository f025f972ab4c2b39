//! See `wire::fuzz::annexb`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::fuzz::annexb(data));
