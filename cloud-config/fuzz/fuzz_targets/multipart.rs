#![no_main]
//! Any bytes behind the header of a multipart message.

use libfuzzer_sys::fuzz_target;
use strake_cloud_config::{Context, check};

fuzz_target!(|body: &[u8]| {
    let bytes = [b"Content-Type: multipart/mixed; boundary=B\n\n", body].concat();
    let _ = check(&bytes, &Context::default());
});
