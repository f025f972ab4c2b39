//! See `wire::fuzz::pes`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::fuzz::pes(data));
