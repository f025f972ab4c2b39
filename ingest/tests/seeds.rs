//! The seeds of the fuzz targets through their bodies.

use std::fs;
use std::path::Path;

#[test]
fn stream_ids() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/stream_id");
    let mut seeds = 0;
    for entry in fs::read_dir(folder).expect("the seeds are there") {
        let seed = fs::read(entry.expect("a seed").path()).expect("a file");
        (0..=seed.len()).for_each(|cut| ingest::fuzz::stream_id(&seed[..cut]));
        seeds += 1;
    }
    assert!(seeds > 0);
}
