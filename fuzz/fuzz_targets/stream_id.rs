//! See `ingest::fuzz::stream_id`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ingest::fuzz::stream_id(data));
