//! Units of type `.container`: Quadlet's keys, turned into the service that runs the container
//! with the machine's docker. Pure; done where a unit is handed to systemd, and when it is checked.
//!
//! A key is taken where it means the same to docker, and refused otherwise: nothing is left out in
//! silence. A container belongs to its unit by a label, so that starting and ending one never
//! touches another that happens to have the same name.

mod keys;
mod read;
mod word;

use super::name::UnitName;
use super::text::{Entry, Problem, Text};
use super::value::{Yes, truth};
use keys::{KEYS, Meaning};
use read::Container;
use word::{Dollar, quoted, split};

pub const SECTION: &str = "Container";
const DOCKER: &str = "/usr/bin/docker";
/// Says which unit a container belongs to.
const LABEL: &str = "strake.unit";
/// Pulling an image takes its time; systemd's own limit would be 90 s.
const START_SECONDS: &str = "600";
/// How much longer than the container's own time systemd waits for its end.
const STOP_SECONDS_MORE: u32 = 30;
/// What a process ends with that SIGTERM ended.
const TERMINATED: &str = "143";

/// The service that systemd is given for the unit; all problems, not the first.
pub fn service(name: &UnitName, text: &Text) -> Result<Text, Vec<Problem>> {
    let container = read::read(text)?;
    let writer = Writer {
        unit: name,
        name: container_name(name, &container),
        container: &container,
    };
    let mut entries = Vec::new();
    writer.unit(&mut entries);
    writer.service(&mut entries);
    Text::from_entries(entries)
}

/// Quadlet's names: `systemd-web` and, for an instance, `systemd-web_1`.
fn container_name(unit: &UnitName, container: &Container) -> String {
    if let Some(given) = container.last("ContainerName") {
        return given.to_string();
    }
    let own = match unit.instance() {
        Some(instance) => format!("systemd-{}_{instance}", unit.prefix()),
        None => format!("systemd-{}", unit.stem()),
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    own.replace(|c| !allowed(c), "_")
}

/// When a unit counts as started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Started {
    /// When the container runs.
    Running,
    /// When docker calls it healthy.
    Healthy,
    /// When it has ended: a unit of type oneshot.
    Ended,
}

struct Writer<'u> {
    unit: &'u UnitName,
    name: String,
    container: &'u Container,
}

fn entry(section: &str, name: &str, value: impl Into<String>) -> Entry {
    Entry {
        section: section.to_string(),
        name: name.to_string(),
        value: value.into(),
        line: 0,
    }
}

impl Writer<'_> {
    fn unit(&self, entries: &mut Vec<Entry>) {
        entries.push(entry("Unit", "Requires", "docker.socket"));
        // Stopped before docker is; started without waiting for it, since the socket wakes it.
        entries.push(entry("Unit", "After", "docker.socket docker.service"));
        entries.extend(self.container.unit.iter().cloned());
    }

    fn service(&self, entries: &mut Vec<Entry>) {
        let started = self.started();
        let mut put = |name: &str, value: String| entries.push(entry("Service", name, value));
        let kind = match started {
            Started::Ended => "oneshot",
            Started::Running | Started::Healthy => "exec",
        };
        put("Type", kind.to_string());
        put("SuccessExitStatus", TERMINATED.to_string());
        for (name, value) in self.defaults(started) {
            put(name, value);
        }
        put("ExecStopPost", format!("-{}", self.removal()));
        if started != Started::Ended {
            put("ExecStartPost", self.waiting(started));
        }
        for given in &self.container.service {
            if given.name != "Type" {
                put(&given.name, given.value.clone());
            }
        }
        put("ExecStartPre", format!("-{}", self.removal()));
        put("ExecStartPre", self.creation());
        let name = quoted(&self.name, Dollar::Plain);
        put("ExecStart", format!("{DOCKER} start --attach {name}"));
        if started != Started::Ended {
            put("ExecStop", format!("{DOCKER} stop {name}"));
        }
        if let Some(reload) = self.reload(&name) {
            put("ExecReload", reload);
        }
    }

    fn started(&self) -> Started {
        let kind = self.container.service.iter().rfind(|e| e.name == "Type");
        if kind.is_some_and(|entry| entry.value == "oneshot") {
            return Started::Ended;
        }
        match self.container.last("Notify") {
            Some("healthy") => Started::Healthy,
            _ => Started::Running,
        }
    }

    /// What is set unless the unit sets it.
    fn defaults(&self, started: Started) -> Vec<(&'static str, String)> {
        let given = |names: &[&str]| {
            let mut service = self.container.service.iter();
            service.any(|entry| names.contains(&entry.name.as_str()))
        };
        let mut defaults = Vec::new();
        if !given(&["SyslogIdentifier"]) {
            defaults.push(("SyslogIdentifier", "%N".to_string()));
        }
        if started != Started::Ended && !given(&["TimeoutStartSec", "TimeoutSec"]) {
            defaults.push(("TimeoutStartSec", START_SECONDS.to_string()));
        }
        let stop = self.container.last("StopTimeout");
        if let Some(seconds) = stop.and_then(|text| text.parse::<u32>().ok())
            && !given(&["TimeoutStopSec", "TimeoutSec"])
        {
            let seconds = seconds.saturating_add(STOP_SECONDS_MORE);
            defaults.push(("TimeoutStopSec", seconds.to_string()));
        }
        defaults
    }

    /// Ends and removes what the unit left behind, whatever it was called.
    fn removal(&self) -> String {
        let filter = format!("'label={LABEL}={}'", self.unit);
        let ids = format!("$(docker ps --all --quiet --no-trunc --filter {filter})");
        shell(&format!(
            "ids={ids}; [ -z \"$ids\" ] || docker rm --force --volumes $ids >/dev/null"
        ))
    }

    fn creation(&self) -> String {
        let mut words = vec![
            format!("{DOCKER} create"),
            quoted(&format!("--name={}", self.name), Dollar::Plain),
            quoted(&format!("--label={LABEL}={}", self.unit), Dollar::Plain),
        ];
        let flags = self.flags();
        words.extend(flags.iter().map(|flag| quoted(flag, Dollar::Plain)));
        if let Some(image) = self.container.last("Image") {
            words.push(quoted(image, Dollar::Plain));
        }
        let arguments = self.container.last("Exec").map(split);
        let arguments = arguments.and_then(Result::ok).into_iter().flatten();
        words.extend(arguments.map(|word| quoted(&word, Dollar::Variable)));
        words.join(" ")
    }

    fn flags(&self) -> Vec<String> {
        let container = self.container;
        // Its output comes through the attached client, and so into the unit's own journal.
        let driver = match container.last("LogDriver") {
            Some("journald") => "journald",
            _ => "none",
        };
        let mut flags = vec![format!("--log-driver={driver}")];
        for key in &KEYS {
            let values = container.all(key.name);
            let with = |flag: &str, value: &String| format!("{flag}={value}");
            match key.meaning {
                Meaning::Last(flag) => flags.extend(values.last().map(|v| with(flag, v))),
                Meaning::Each(flag) | Meaning::Words(flag) => {
                    flags.extend(values.iter().map(|value| with(flag, value)));
                }
                Meaning::Flag(flag) if container.is_set(key.name) => flags.push(flag.to_string()),
                _ => {}
            }
        }
        if let Some(user) = container.last("User") {
            let group = container.last("Group");
            let group = group.map(|group| format!(":{group}")).unwrap_or_default();
            flags.push(format!("--user={user}{group}"));
        }
        match container.last("HealthCmd") {
            Some("none") => flags.push("--no-healthcheck".to_string()),
            Some(command) => flags.push(format!("--health-cmd={command}")),
            None => {}
        }
        if let Some(seconds) = container.last("StopTimeout") {
            flags.push(format!("--stop-timeout={seconds}"));
        }
        if container.is_set("ReadOnly") {
            flags.push("--read-only".to_string());
            flags.extend(self.scratch());
        }
        flags
    }

    /// What podman leaves writable in a container that is read-only otherwise.
    fn scratch(&self) -> Vec<String> {
        if self.container.last("ReadOnlyTmpfs").and_then(truth) == Some(Yes::No) {
            return Vec::new();
        }
        let modes = [("/run", "0755"), ("/tmp", "1777"), ("/var/tmp", "1777")];
        let free = modes
            .iter()
            .filter(|(path, _)| !self.container.mounts(path));
        free.map(|(path, mode)| format!("--tmpfs={path}:rw,nosuid,nodev,exec,mode={mode}"))
            .collect()
    }

    /// Until the container is as far as it has to be, or its client has given up: then systemd
    /// knows from that one's exit code how the start went.
    fn waiting(&self, started: Started) -> String {
        let (format, ends) = match started {
            Started::Healthy => (
                "{{if .State.Health}}{{.State.Health.Status}}\
                 {{else if not .Config.Healthcheck}}no health check{{end}}",
                "healthy) exit 0;; unhealthy|no*) echo \"the container is: $state\"; exit 1",
            ),
            Started::Running | Started::Ended => ("{{.State.Status}}", "running) exit 0"),
        };
        shell(&format!(
            "while kill -0 $MAINPID 2>/dev/null; do \
             state=$(docker inspect --format '{format}' {} 2>/dev/null); \
             case \"$state\" in {ends};; esac; sleep 0.2; done",
            self.name
        ))
    }

    fn reload(&self, name: &str) -> Option<String> {
        if let Some(signal) = self.container.last("ReloadSignal") {
            return Some(format!("{DOCKER} kill --signal={signal} {name}"));
        }
        let words = split(self.container.last("ReloadCmd")?).ok()?;
        let words: Vec<String> = words.iter().map(|w| quoted(w, Dollar::Variable)).collect();
        Some(format!("{DOCKER} exec {name} {}", words.join(" ")))
    }
}

fn shell(script: &str) -> String {
    format!("/bin/sh -c {}", quoted(script, Dollar::Plain))
}

#[cfg(test)]
mod tests;
