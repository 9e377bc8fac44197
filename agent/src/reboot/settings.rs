//! How this machine reboots: `update.conf`, `/etc/strake/reboot.json`, and locksmith's variables.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::Deserialize;
use strake_cloud_config::config::RebootStrategy;

use crate::cluster::settings::PATH as CLUSTER;
use crate::health::settings::duration;
use crate::lock::keys::Group;
use crate::root::Root;
use crate::store::etcd;
use crate::update::settings::{self, Window};
use crate::update::window;

pub const PATH: &str = "/etc/strake/reboot.json";
const ZONES: &str = "/usr/share/zoneinfo";
const MINUTE: u64 = 60;
const WEEK: u64 = 7 * 24 * 60 * MINUTE;
const USERS: Duration = Duration::from_secs(5 * MINUTE);
const DRAIN: Duration = Duration::from_secs(5 * MINUTE);

#[derive(Debug, Clone)]
pub struct Settings {
    pub strategy: RebootStrategy,
    pub group: Group,
    pub windows: Vec<Window>,
    pub zone: TimeZone,
    /// How long users who are logged in are waited for.
    pub users: Duration,
    /// How long units may take to go elsewhere.
    pub drain: Duration,
    /// Machines that a release may fall back on before the cluster refuses it; nothing: by the size
    /// of the cluster.
    pub budget: Option<usize>,
    /// Where FleetLock clients are served.
    pub fleetlock: Option<SocketAddr>,
    /// Where the lock is; nothing: this machine stands alone.
    pub store: Option<etcd::Settings>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("reading {0}")]
    Read(&'static str, #[source] std::io::Error),
    #[error("{PATH} is not as written by strake.reboot")]
    Json(#[source] serde_json::Error),
    #[error("reading the settings of updates")]
    Update(#[from] settings::Error),
    #[error("REBOOT_STRATEGY={0} is none of etcd-lock, reboot, best-effort and off")]
    Strategy(String),
    #[error(transparent)]
    Window(#[from] window::InvalidWindow),
    #[error(
        "a window begins and has no length, or the other way round: set REBOOT_WINDOW_START and REBOOT_WINDOW_LENGTH"
    )]
    HalfWindow,
    #[error("a window lasts {0:?}; it is from 1m to 168h")]
    Length(String),
    #[error("{0:?} is no time zone of {ZONES}")]
    Zone(String),
    #[error("the store's settings: {0}")]
    Store(String),
    #[error(
        "the strategy etcd-lock needs a cluster: neither strake.cluster nor coreos.locksmith.endpoint is set"
    )]
    NoCluster,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    windows: Vec<Window>,
    time_zone: Option<String>,
    group: Option<String>,
    users_seconds: Option<u64>,
    drain_seconds: Option<u64>,
    budget: Option<usize>,
    fleetlock: Option<SocketAddr>,
}

/// Locksmith's variables, which `coreos.locksmith` sets for the service.
#[derive(Debug, Clone, Default)]
pub struct Environment(pub BTreeMap<String, String>);

impl Environment {
    pub fn read() -> Environment {
        let known = |(name, value): (String, String)| {
            let ours = name.starts_with("LOCKSMITHD_") || name.starts_with("REBOOT_WINDOW_");
            (ours && !value.is_empty()).then_some((name, value))
        };
        Environment(std::env::vars().filter_map(known).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        let prefixed = self.0.get(&format!("LOCKSMITHD_{name}"));
        prefixed.or_else(|| self.0.get(name)).map(String::as_str)
    }

    fn window(&self) -> Result<Option<Window>, Error> {
        let (start, length) = (
            self.get("REBOOT_WINDOW_START"),
            self.get("REBOOT_WINDOW_LENGTH"),
        );
        let (start, length) = match (start, length) {
            (None, None) => return Ok(None),
            (Some(start), Some(length)) => (start, length),
            _ => return Err(Error::HalfWindow),
        };
        let wrong = || Error::Length(length.to_string());
        Ok(Some(Window {
            start: start.to_string(),
            length_seconds: duration(length).ok_or_else(wrong)?.as_secs(),
        }))
    }

    fn store(&self) -> Option<etcd::Settings> {
        let endpoints = self.get("ENDPOINT")?;
        let file = |name: &str| self.get(name).map(Into::into);
        Some(etcd::Settings {
            endpoints: endpoints.split(',').map(str::to_string).collect(),
            ca: file("ETCD_CAFILE"),
            cert: file("ETCD_CERTFILE"),
            key: file("ETCD_KEYFILE"),
        })
    }
}

impl Settings {
    pub fn read(root: &Root, environment: &Environment) -> Result<Settings, Error> {
        let text = root.read_optional(PATH);
        let file: File = match text.map_err(|error| Error::Read(PATH, error))? {
            Some(text) => serde_json::from_str(&text).map_err(Error::Json)?,
            None => File::default(),
        };
        let mut windows = file.windows;
        windows.extend(environment.window()?);
        for window in &windows {
            window::check(window)?;
            if !(MINUTE..=WEEK).contains(&window.length_seconds) {
                return Err(Error::Length(format!("{} s", window.length_seconds)));
            }
        }
        let store = store(root, environment)?;
        let strategy = match settings::reboot_strategy(root)? {
            Some(word) => RebootStrategy::parse(&word).ok_or(Error::Strategy(word))?,
            None if store.is_some() => RebootStrategy::EtcdLock,
            None => RebootStrategy::Reboot,
        };
        if strategy == RebootStrategy::EtcdLock && store.is_none() {
            return Err(Error::NoCluster);
        }
        let group = file.group.as_deref().or_else(|| environment.get("GROUP"));
        Ok(Settings {
            strategy,
            group: Group::named(group.unwrap_or_default()),
            windows,
            zone: match &file.time_zone {
                Some(name) => zone(root, name)?,
                None => window::zone(root),
            },
            users: file.users_seconds.map_or(USERS, Duration::from_secs),
            budget: file.budget.map(|budget| budget.max(1)),
            fleetlock: file.fleetlock,
            drain: file.drain_seconds.map_or(DRAIN, Duration::from_secs),
            store,
        })
    }
}

fn zone(root: &Root, name: &str) -> Result<TimeZone, Error> {
    let wrong = || Error::Zone(name.to_string());
    let is_plain = !name.is_empty() && name.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !is_plain {
        return Err(wrong());
    }
    let bytes = root.read(format!("{ZONES}/{name}")).map_err(|_| wrong())?;
    TimeZone::tzif(name, &bytes).map_err(|_| wrong())
}

/// A machine of a cluster gets `etcd.json` with its certificate; until then there is a lock, and
/// nobody can reach it.
fn store(root: &Root, environment: &Environment) -> Result<Option<etcd::Settings>, Error> {
    if let Some(settings) = environment.store() {
        return Ok(Some(settings));
    }
    let exists = |path: &str| root.follow(path.as_ref()).is_ok_and(|path| path.exists());
    if !exists(etcd::SETTINGS) && !exists(CLUSTER) {
        return Ok(None);
    }
    let settings = etcd::Settings::read(root);
    settings
        .map(Some)
        .map_err(|error| Error::Store(format!("{error:#}")))
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

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        let pair = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        Environment(pairs.iter().map(pair).collect())
    }

    const CONF: &str = "etc/coreos/update.conf";
    const ETCD: (&str, &str) = (
        "etc/strake/etcd.json",
        r#"{"endpoints":["http://10.0.0.1:2379"]}"#,
    );

    #[test]
    fn without_a_word_a_cluster_takes_the_lock_and_a_lone_machine_reboots() {
        let strategy = |files: &[(&str, &str)]| {
            let (_dir, root) = machine(files);
            Settings::read(&root, &Environment::default()).map(|settings| settings.strategy)
        };
        assert_eq!(strategy(&[]).expect("alone"), RebootStrategy::Reboot);
        assert_eq!(
            strategy(&[ETCD]).expect("cluster"),
            RebootStrategy::EtcdLock
        );
        let off = (CONF, "REBOOT_STRATEGY=off\n");
        assert_eq!(strategy(&[ETCD, off]).expect("off"), RebootStrategy::Off);
        let lock = (CONF, "GROUP=beta\nREBOOT_STRATEGY=etcd-lock\n");
        let error = strategy(&[lock]).expect_err("no cluster").to_string();
        assert!(error.contains("needs a cluster"), "{error}");
        let wrong = (CONF, "REBOOT_STRATEGY=soon\n");
        let error = strategy(&[wrong]).expect_err("wrong").to_string();
        assert!(error.contains("soon is none of"), "{error}");
    }

    #[test]
    fn locksmiths_variables_count_beside_the_file() {
        let file = r#"{"windows":[{"start":"04:00","length_seconds":3600}],"drain_seconds":0}"#;
        let (_dir, root) = machine(&[("etc/strake/reboot.json", file)]);
        let variables = environment(&[
            ("REBOOT_WINDOW_START", "Thu 05:00"),
            ("REBOOT_WINDOW_LENGTH", "1h30m"),
            ("LOCKSMITHD_GROUP", "workers"),
            ("LOCKSMITHD_ENDPOINT", "http://a:1,http://b:2"),
        ]);
        let settings = Settings::read(&root, &variables).expect("valid");
        assert_eq!(settings.windows.len(), 2);
        assert_eq!(settings.windows[1].length_seconds, 5400);
        assert_eq!(settings.group.name(), "workers");
        assert_eq!(settings.store.expect("a store").endpoints.len(), 2);
        assert_eq!(settings.strategy, RebootStrategy::EtcdLock);
        assert_eq!((settings.users, settings.drain), (USERS, Duration::ZERO));
    }

    #[test]
    fn nonsense_is_refused_with_what_is_wrong() {
        let check = |json: &str, variables: &[(&str, &str)], says: &str| {
            let (_dir, root) = machine(&[("etc/strake/reboot.json", json)]);
            let error = Settings::read(&root, &environment(variables)).expect_err(says);
            assert!(error.to_string().contains(says), "{error}");
        };
        let start = ("REBOOT_WINDOW_START", "04:00");
        check("{}", &[start], "has no length");
        check("{}", &[start, ("REBOOT_WINDOW_LENGTH", "-1h")], "-1h");
        check(
            "{}",
            &[start, ("REBOOT_WINDOW_LENGTH", "0s")],
            "from 1m to 168h",
        );
        check(
            "{}",
            &[start, ("REBOOT_WINDOW_LENGTH", "169h")],
            "from 1m to 168h",
        );
        let wrong = ("REBOOT_WINDOW_START", "14:00xyz");
        check("{}", &[wrong, ("REBOOT_WINDOW_LENGTH", "1h")], "14:00xyz");
        check(r#"{"time_zone":"../../etc/passwd"}"#, &[], "no time zone");
        check(r#"{"time_zone":"Mars/Base"}"#, &[], "no time zone");
        check("[1]", &[], "not as written by strake.reboot");
    }
}
