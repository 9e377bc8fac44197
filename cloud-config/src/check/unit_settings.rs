//! Which settings systemd reads in which section.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

const LIST: &str = include_str!("unit_settings.txt");
/// Where a setting that stands in a wrong section most likely belongs, first match first.
const SECTIONS: &[&str] = &[
    "Unit",
    "Service",
    "Install",
    "Timer",
    "Socket",
    "Mount",
    "Path",
    "Swap",
    "Automount",
    "Slice",
];

type Settings = HashMap<&'static str, HashSet<&'static str>>;

fn settings() -> &'static Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    SETTINGS.get_or_init(|| read(LIST))
}

/// A header names the section, and the groups of settings it shares with others.
fn read(list: &'static str) -> Settings {
    let mut settings = Settings::new();
    let mut section = "";
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        if let Some((name, groups)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            section = name;
            let shared = groups
                .split_whitespace()
                .filter_map(|group| settings.get(group));
            let shared: HashSet<&str> = shared.flatten().copied().collect();
            settings.insert(section, shared);
        } else if let Some(known) = settings.get_mut(section) {
            known.extend(line.split_whitespace());
        }
    }
    settings
}

/// `None` for a section systemd does not know.
pub(super) fn of_section(section: &str) -> Option<&'static HashSet<&'static str>> {
    SECTIONS
        .contains(&section)
        .then(|| settings().get(section))
        .flatten()
}

pub(super) fn section_of(setting: &str) -> Option<&'static str> {
    let holds = |section: &&&str| of_section(section).is_some_and(|known| known.contains(setting));
    SECTIONS.iter().find(holds).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_has_its_own_and_its_shared_settings() {
        for (section, setting) in [
            ("Unit", "After"),
            ("Service", "ExecStart"),
            ("Service", "MemoryMax"),
            ("Service", "Environment"),
            ("Slice", "MemoryMax"),
            ("Install", "WantedBy"),
            ("Timer", "OnCalendar"),
            ("Mount", "What"),
        ] {
            let known = of_section(section).expect("a section");
            assert!(known.contains(setting), "[{section}] {setting}");
        }
        assert!(of_section("resources").is_none() && of_section("X-Fleet").is_none());
        assert_eq!(section_of("ExecStart"), Some("Service"));
        assert_eq!(section_of("Nonsense"), None);
    }
}
