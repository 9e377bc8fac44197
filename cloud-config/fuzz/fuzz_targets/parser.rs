#![no_main]
//! Any text below the header: check and plan.

use libfuzzer_sys::fuzz_target;
use strake_cloud_config::{Context, check, plan};

fuzz_target!(|text: &[u8]| {
    let bytes = [b"#cloud-config\n", text].concat();
    let context = Context::default();
    if let Some(config) = check(&bytes, &context).config {
        let _ = format!("{:#}", plan(&config, &context));
    }
});
