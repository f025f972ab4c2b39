//! See `wire::fuzz::latm`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::fuzz::latm(data));
