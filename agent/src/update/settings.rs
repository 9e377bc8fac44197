//! Where updates come from and what they may take: `update.conf` and `/etc/strake/update.json`.

use std::time::Duration;

use serde::Deserialize;
use strake_updates::channel::{Channel, InvalidChannel};

use crate::root::Root;

/// First that exists; the second is the image's own.
const UPDATE_CONF: [&str; 2] = ["/etc/coreos/update.conf", "/usr/share/coreos/update.conf"];
const LIMITS: &str = "/etc/strake/update.json";
const ROOTS: [&str; 2] = [
    "/etc/strake/update/root.json",
    "/usr/share/strake/update/root.json",
];
const INTERVAL: Duration = Duration::from_secs(45 * 60);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// None turns updates off.
    pub server: Option<String>,
    pub channel: Channel,
    pub interval: Duration,
    /// Bytes a second.
    pub bandwidth: Option<u64>,
    /// Of one processor.
    pub cpu_percent: Option<u8>,
    pub windows: Vec<Window>,
}

/// A weekly or daily span in which downloads may run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Window {
    /// `HH:MM`, or a weekday before it; local time.
    pub start: String,
    pub length_seconds: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("reading {0}")]
    Read(&'static str, #[source] std::io::Error),
    #[error("{0} is not as written by strake.update")]
    Json(&'static str, #[source] serde_json::Error),
    #[error("{0}, GROUP")]
    Channel(&'static str, #[source] InvalidChannel),
    #[error(
        "no trusted root: neither {} (from the config) nor {} (from the image) exists",
        ROOTS[0],
        ROOTS[1]
    )]
    NoRoot,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Limits {
    poll_interval_seconds: Option<u64>,
    bandwidth: Option<u64>,
    cpu_percent: Option<u8>,
    windows: Vec<Window>,
}

impl Settings {
    pub fn read(root: &Root) -> Result<Settings, Error> {
        let (path, text) = update_conf(root)?;
        let value = |key: &str| {
            let lines = text.lines().filter_map(|line| line.split_once('='));
            let mut values = lines.filter(|(name, _)| name.trim() == key);
            values.next().map(|(_, value)| value.trim().to_owned())
        };
        let server = value("SERVER").filter(|server| !matches!(server.as_str(), "" | "disabled"));
        let group = value("GROUP").unwrap_or_else(|| "stable".into());
        let text = root.read_optional(LIMITS);
        let text = text.map_err(|error| Error::Read(LIMITS, error))?;
        let limits: Limits = match text {
            Some(text) => {
                serde_json::from_str(&text).map_err(|error| Error::Json(LIMITS, error))?
            }
            None => Limits::default(),
        };
        let interval = limits.poll_interval_seconds.map(Duration::from_secs);
        Ok(Settings {
            server,
            channel: group.parse().map_err(|error| Error::Channel(path, error))?,
            interval: interval.unwrap_or(INTERVAL),
            bandwidth: limits.bandwidth,
            cpu_percent: limits.cpu_percent,
            windows: limits.windows,
        })
    }
}

/// What `update.conf` says about reboots, in whatever words; nothing when it says nothing.
pub fn reboot_strategy(root: &Root) -> Result<Option<String>, Error> {
    let (_, text) = update_conf(root)?;
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let mut values = lines.filter(|(name, _)| name.trim() == "REBOOT_STRATEGY");
    let value = values.next().map(|(_, value)| value.trim().to_owned());
    Ok(value.filter(|value| !value.is_empty()))
}

fn update_conf(root: &Root) -> Result<(&'static str, String), Error> {
    for path in UPDATE_CONF {
        let text = root.read_optional(path);
        if let Some(text) = text.map_err(|error| Error::Read(path, error))? {
            return Ok((path, text));
        }
    }
    Ok((UPDATE_CONF[0], String::new()))
}

/// The root that is trusted before any other: the config's, else the image's.
pub fn trusted_root(root: &Root) -> Result<Vec<u8>, Error> {
    for path in ROOTS {
        match root.read(path) {
            Ok(bytes) => return Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::Read(path, error)),
        }
    }
    Err(Error::NoRoot)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().expect("temp dir");
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("dir");
            std::fs::write(path, text).expect("file");
        }
        let root = Root::new(dir.path());
        (dir, root)
    }

    #[test]
    fn without_a_server_updates_are_off() {
        for text in ["", "SERVER=\n", "SERVER=disabled\n", "GROUP=beta\n"] {
            let (_dir, root) = machine(&[("etc/coreos/update.conf", text)]);
            assert_eq!(Settings::read(&root).expect(text).server, None, "{text}");
        }
    }

    #[test]
    fn the_configs_file_comes_before_the_images() {
        let (_dir, root) = machine(&[
            ("usr/share/coreos/update.conf", "SERVER=http://image\n"),
            (
                "etc/coreos/update.conf",
                "# x\nSERVER=http://config\nGROUP=beta\n",
            ),
            (
                "etc/strake/update.json",
                r#"{"poll_interval_seconds":60,"windows":[{"start":"04:00","length_seconds":60}]}"#,
            ),
        ]);
        let settings = Settings::read(&root).expect("valid");
        assert_eq!(settings.server.as_deref(), Some("http://config"));
        assert_eq!(settings.channel.as_str(), "beta");
        assert_eq!(settings.interval, Duration::from_secs(60));
        assert_eq!(settings.windows.len(), 1);
    }

    #[test]
    fn a_refusal_names_file_and_field() {
        let (_dir, root) = machine(&[("etc/coreos/update.conf", "GROUP=../x\n")]);
        let error = Settings::read(&root).expect_err("refused");
        assert_eq!(error.to_string(), "/etc/coreos/update.conf, GROUP");
        let error = trusted_root(&root).expect_err("none");
        assert!(error.to_string().contains(ROOTS[0]) && error.to_string().contains(ROOTS[1]));
    }
}
