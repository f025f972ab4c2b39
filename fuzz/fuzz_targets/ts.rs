//! See `wire::fuzz::ts`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::fuzz::ts(data));
