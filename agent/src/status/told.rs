//! What a machine tells its cluster of its own standing, beside what units may ask for.

use super::phases::Init;
use crate::health::{Health, State};
use crate::root::Root;
use crate::update::live::{Live, Operation};

/// By the name of the fact. What is not known is not there.
pub fn facts(root: &Root) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let hostname = super::line(root, "/proc/sys/kernel/hostname");
    facts.extend(hostname.map(|name| ("hostname", name)));
    let init = root.read_text("/run/strake/init.json").unwrap_or_default();
    let init: Init = serde_json::from_str(&init).unwrap_or_default();
    facts.extend(init.slot.map(|slot| ("slot", slot)));
    let health = Health::read(root).state;
    if health != State::Unknown {
        facts.push(("health", health.word().to_string()));
    }
    let live = Live::read(root);
    let version = live.version.map(|version| version.to_string());
    match (live.operation, version) {
        (Operation::UpdatedNeedReboot, Some(version)) => facts.push(("next_release", version)),
        (operation, version) => facts.extend(update(operation, version)),
    }
    facts
}

/// Looking for an update is nothing to tell: all machines do so all the time.
fn update(operation: Operation, version: Option<String>) -> Option<(&'static str, String)> {
    let verb = match operation {
        Operation::Downloading => "downloads",
        Operation::Verifying => "verifies",
        Operation::Finalizing => "makes ready",
        _ => return None,
    };
    let version = version.unwrap_or_else(|| "a release".to_string());
    Some(("update", format!("{verb} {version}")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_machine_tells_its_slot_its_health_and_its_update() {
        let dir = tempfile::tempdir().expect("temp dir");
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            std::fs::write(path, text).expect("a file");
        };
        let root = Root::new(dir.path());
        assert_eq!(facts(&root), []);
        write("proc/sys/kernel/hostname", "node1\n");
        write("run/strake/init.json", r#"{"slot": "A"}"#);
        write(
            "run/strake/health.json",
            r#"{"state": "healthy", "reason": null}"#,
        );
        let cases = [
            ("IDLE", None, None),
            ("CHECKING_FOR_UPDATE", None, None),
            ("DOWNLOADING", Some("downloads 1.2.0"), None),
            ("FINALIZING", Some("makes ready 1.2.0"), None),
            ("UPDATED_NEED_REBOOT", None, Some("1.2.0")),
        ];
        for (operation, update, next) in cases {
            let live = format!(r#"{{"operation": "{operation}", "version": "1.2.0"}}"#);
            write("run/strake/update.json", &live);
            let facts: BTreeMap<_, _> = facts(&root).into_iter().collect();
            let fact = |name: &str| facts.get(name).map(String::as_str);
            let own = ["hostname", "slot", "health"].map(fact);
            assert_eq!(own, [Some("node1"), Some("A"), Some("healthy")]);
            assert_eq!(
                (fact("update"), fact("next_release")),
                (update, next),
                "{operation}"
            );
        }
    }
}
