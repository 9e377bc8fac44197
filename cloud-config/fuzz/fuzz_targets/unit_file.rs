#![no_main]
//! Any text as a unit file: the links stay below their directory.

use libfuzzer_sys::fuzz_target;
use strake_cloud_config::install::{Place, links};
use strake_cloud_config::unit_name::UnitName;

fuzz_target!(|text: &str| {
    let place = Place { links: "/l", unit: "/u" };
    for name in ["a.service", "a@.service", "a@b.service"] {
        let name = UnitName::parse(name).expect("a unit name");
        for link in links(&name, text, &place) {
            assert!(link.path.starts_with("/l/") && !link.path.contains("/../"));
        }
    }
});
