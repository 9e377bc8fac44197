//! `/etc/strake/names.json`, as `strake.cluster` renders it.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::root::Root;

pub const PATH: &str = "/etc/strake/names.json";

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The cluster's name: one label or several.
    pub cluster: String,
    /// Where containers and the host's resolver ask.
    pub listen: SocketAddr,
    /// Whom to ask for all other names.
    pub forward: SocketAddr,
}

impl Settings {
    /// Nothing where the cluster has no names.
    pub fn load(root: &Root) -> Result<Option<Settings>> {
        let text = root.read_optional(PATH);
        let Some(text) = text.with_context(|| format!("reading {PATH}"))? else {
            return Ok(None);
        };
        let settings: Settings =
            serde_json::from_str(&text).with_context(|| format!("understanding {PATH}"))?;
        let is_label = |label: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            (1..=63).contains(&label.len()) && label.chars().all(plain)
        };
        let is_domain = settings.cluster.split('.').all(is_label) && settings.cluster.len() <= 100;
        ensure!(
            is_domain,
            "{PATH}: {:?} cannot be a part of a domain",
            settings.cluster
        );
        ensure!(
            settings.listen != settings.forward,
            "{PATH}: {} would ask itself",
            settings.listen
        );
        Ok(Some(settings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused() {
        let cases = [
            (
                r#"{"cluster":"lab","listen":"127.0.0.1:53","forward":"127.0.0.53:53"}"#,
                None,
            ),
            (
                r#"{"cluster":"","listen":"127.0.0.1:53","forward":"127.0.0.53:53"}"#,
                Some("domain"),
            ),
            (
                r#"{"cluster":"a_b","listen":"127.0.0.1:53","forward":"127.0.0.53:53"}"#,
                Some("domain"),
            ),
            (
                r#"{"cluster":"lab","listen":"127.0.0.1","forward":"127.0.0.53:53"}"#,
                Some("understanding"),
            ),
            (
                r#"{"cluster":"lab","listen":"127.0.0.1:53","forward":"127.0.0.1:53"}"#,
                Some("itself"),
            ),
        ];
        for (text, expected) in cases {
            let dir = tempfile::tempdir().expect("temp dir");
            let root = Root::new(dir.path());
            assert_eq!(Settings::load(&root).expect("nothing"), None);
            std::fs::create_dir_all(dir.path().join("etc/strake")).expect("dir");
            std::fs::write(dir.path().join("etc/strake/names.json"), text).expect("file");
            let error = Settings::load(&root)
                .err()
                .map(|error| format!("{error:#}"));
            match (&error, expected) {
                (None, None) => {}
                (Some(error), Some(part)) => assert!(error.contains(part), "{error}"),
                _ => panic!("{text}: {error:?}"),
            }
        }
    }

    /// What `strake.cluster` of a cloud-config becomes is what is read here.
    #[test]
    fn the_file_of_a_cloud_config_is_understood() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../cloud-config/tests/fixtures/valid/cluster.yaml.expected"
        );
        let plan = std::fs::read_to_string(path).expect("the plan");
        let mut lines = plan.lines();
        lines
            .find(|line| line.contains("write /etc/strake/names.json"))
            .expect("the file");
        let text = lines.next().and_then(|line| line.strip_prefix("    | "));
        let settings: Settings = serde_json::from_str(text.expect("its text")).expect("settings");
        assert_eq!(
            settings.listen,
            "169.254.53.53:53".parse().expect("address")
        );
        assert_eq!(settings.forward, "127.0.0.53:53".parse().expect("address"));
    }
}
