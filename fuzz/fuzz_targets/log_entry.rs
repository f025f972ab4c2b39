//! See `packager::fuzz::log_entry`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| packager::fuzz::log_entry(data));
