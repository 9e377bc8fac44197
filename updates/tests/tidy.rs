//! Modules that only compute stay that way.

use std::path::Path;

const PURE: [&str; 24] = [
    "channel.rs",
    "digest.rs",
    "entry.rs",
    "fetch/backoff.rs",
    "offer.rs",
    "payload/diff.rs",
    "payload/frames.rs",
    "payload/ladder.rs",
    "payload/patch.rs",
    "payload/tree.rs",
    "policy/mod.rs",
    "release.rs",
    "report.rs",
    "rollout.rs",
    "slot.rs",
    "time.rs",
    "tuf/canonical.rs",
    "tuf/chain.rs",
    "tuf/envelope.rs",
    "tuf/key.rs",
    "tuf/mod.rs",
    "tuf/role.rs",
    "tuf/workflow.rs",
    "version.rs",
];

const OUTSIDE: [&str; 9] = [
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "SystemTime",
    "Instant",
    "tokio",
    "reqwest",
    "rustix",
];

#[test]
fn pure_modules_touch_no_file_no_clock_and_no_network() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in PURE {
        let text = std::fs::read_to_string(sources.join(file)).unwrap();
        for word in OUTSIDE {
            assert!(!text.contains(word), "{file} mentions {word}");
        }
    }
}
