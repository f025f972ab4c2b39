//! See `wire::fuzz::ts_mux`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::fuzz::ts_mux(data));
