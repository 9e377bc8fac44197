#![no_main]
//! Any bytes as gzip, and any bytes packed: the limit holds.

use std::io::Write;

use flate2::write::GzEncoder;
use flate2::Compression;
use libfuzzer_sys::fuzz_target;
use strake_cloud_config::{Context, check};

fuzz_target!(|bytes: &[u8]| {
    let _ = check(&[b"\x1f\x8b", bytes].concat(), &Context::default());
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    if encoder.write_all(bytes).is_ok() {
        if let Ok(packed) = encoder.finish() {
            let _ = check(&packed, &Context::default());
        }
    }
});
