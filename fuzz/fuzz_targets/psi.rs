//! See `wire::fuzz::psi`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::fuzz::psi(data));
