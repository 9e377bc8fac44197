//! The sections of a `.container` file, checked.

use std::collections::BTreeMap;

use super::SECTION;
use super::keys::{KEYS, Key, Meaning};
use super::word::split;
use crate::scheduler::text::{Entry, Problem, Text};
use crate::scheduler::value::{Yes, joined, nearest, truth};

/// What systemd does about the client that holds the container, not about the container: only
/// what means the same for both.
const SERVICE: [&str; 31] = [
    "Environment",
    "EnvironmentFile",
    "ExecCondition",
    "ExecStartPost",
    "ExecStartPre",
    "ExecStopPost",
    "LogLevelMax",
    "LogRateLimitBurst",
    "LogRateLimitIntervalSec",
    "PassEnvironment",
    "RemainAfterExit",
    "Restart",
    "RestartForceExitStatus",
    "RestartMaxDelaySec",
    "RestartMode",
    "RestartPreventExitStatus",
    "RestartSec",
    "RestartSteps",
    "RuntimeMaxSec",
    "RuntimeRandomizedExtraSec",
    "StandardError",
    "StandardOutput",
    "SuccessExitStatus",
    "SyslogFacility",
    "SyslogIdentifier",
    "SyslogLevel",
    "TimeoutSec",
    "TimeoutStartFailureMode",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "Type",
];
const TYPES: [&str; 3] = ["exec", "notify", "oneshot"];
const SECTIONS: [&str; 4] = ["Unit", SECTION, "Service", "Install"];

#[derive(Debug, Default)]
pub(super) struct Container {
    values: BTreeMap<&'static str, Vec<String>>,
    pub(super) unit: Vec<Entry>,
    pub(super) service: Vec<Entry>,
}

impl Container {
    pub(super) fn all(&self, key: &str) -> &[String] {
        self.values.get(key).map_or(&[], Vec::as_slice)
    }

    pub(super) fn last(&self, key: &str) -> Option<&str> {
        self.all(key).last().map(String::as_str)
    }

    pub(super) fn is_set(&self, key: &str) -> bool {
        self.last(key).and_then(truth) == Some(Yes::Yes)
    }

    /// Whether the unit puts something at this path.
    pub(super) fn mounts(&self, path: &str) -> bool {
        let of_volume = |value: &String| value.split(':').take(2).any(|part| part == path);
        let of_mount = |value: &String| {
            let fields = value.split(',').filter_map(|field| field.split_once('='));
            let target = |(name, at): (&str, &str)| {
                ["target", "destination", "dst"].contains(&name) && at == path
            };
            fields.into_iter().any(target)
        };
        let plain = self.all("Volume").iter().chain(self.all("Tmpfs"));
        plain.into_iter().any(of_volume) || self.all("Mount").iter().any(of_mount)
    }
}

pub(super) fn read(text: &Text) -> Result<Container, Vec<Problem>> {
    let mut reader = Reader::default();
    for entry in text.entries() {
        match entry.section.as_str() {
            SECTION => reader.container(entry),
            "Service" => reader.service(entry),
            "Unit" => reader.found.unit.push(entry.clone()),
            "Install" => {}
            section if section.starts_with("X-") => {}
            _ => reader.stranger(entry),
        }
    }
    reader.combinations(text);
    match reader.problems.is_empty() {
        true => Ok(reader.found),
        false => Err(reader.problems),
    }
}

#[derive(Default)]
struct Reader {
    found: Container,
    problems: Vec<Problem>,
}

impl Reader {
    fn refuse(&mut self, entry: &Entry, message: &str) {
        let message = format!("{}: {message}", entry.name);
        self.problems.push(entry.problem(message, None));
    }

    fn stranger(&mut self, entry: &Entry) {
        let message = format!("[{}] is no section of a container", entry.section);
        let hint = match nearest(&entry.section, &SECTIONS) {
            Some(near) => format!("did you mean [{near}]?"),
            None => format!("known are [{}]", SECTIONS.join("], [")),
        };
        self.problems.push(entry.problem(message, Some(hint)));
    }

    fn container(&mut self, entry: &Entry) {
        let Some(key) = KEYS.iter().find(|key| key.name == entry.name) else {
            let known: Vec<&str> = KEYS
                .iter()
                .filter(|key| !matches!(key.meaning, Meaning::Not(_)))
                .map(|key| key.name)
                .collect();
            let hint = match nearest(&entry.name, &known) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("known are {}", known.join(", ")),
            };
            let message = format!("[{SECTION}] has no option {:?}", entry.name);
            return self.problems.push(entry.problem(message, Some(hint)));
        };
        if let Meaning::Not(why) = key.meaning {
            return self.refuse(entry, &format!("not possible here: {why}"));
        }
        let value = joined(&entry.value);
        if value.is_empty() {
            // As in systemd: what came before is forgotten.
            self.found.values.remove(key.name);
            return;
        }
        match words(key, &value) {
            Ok(words) => self.found.values.entry(key.name).or_default().extend(words),
            Err(message) => self.refuse(entry, message),
        }
    }

    fn service(&mut self, entry: &Entry) {
        let name = entry.name.as_str();
        if name == "ExecStart" {
            return self.refuse(entry, "the command of a container is Exec= in [Container]");
        }
        if !SERVICE.contains(&name) {
            let message = "this does not reach the container: see the keys of [Container]";
            return self.refuse(entry, message);
        }
        let value = joined(&entry.value);
        if name == "Type" && !TYPES.contains(&value.as_str()) {
            return self.refuse(entry, "a container is of type exec, notify or oneshot");
        }
        if value.is_empty() {
            self.found.service.retain(|given| given.name != name);
        } else {
            let value = entry.value.clone();
            self.found.service.push(Entry {
                value,
                ..entry.clone()
            });
        }
    }

    fn combinations(&mut self, text: &Text) {
        let given = |name: &str| {
            text.in_section(SECTION)
                .filter(move |e| e.name == name)
                .last()
        };
        let has = |found: &Container, name: &str| found.last(name).is_some();
        if given("Image").is_none() {
            let first = text.in_section(SECTION).next().or(text.entries().first());
            let line = first.map_or(1, |entry| entry.line.max(1));
            self.problems.push(Problem {
                line,
                column: 1,
                message: "a container needs Image= in [Container]".to_string(),
                hint: None,
            });
        }
        let pairs = [
            (
                "Group",
                has(&self.found, "User"),
                "this needs User= beside it",
            ),
            (
                "Notify",
                self.found.last("Notify") != Some("healthy")
                    || self.found.last("HealthCmd") != Some("none"),
                "a container without a health check is never healthy",
            ),
            (
                "ReloadCmd",
                !has(&self.found, "ReloadSignal"),
                "ReloadCmd and ReloadSignal cannot be used together",
            ),
        ];
        for (name, fine, message) in pairs {
            if let Some(entry) = given(name).filter(|_| has(&self.found, name) && !fine) {
                self.refuse(entry, message);
            }
        }
    }
}

/// What a value adds, when all of it has the key's form.
fn words(key: &Key, value: &str) -> Result<Vec<String>, &'static str> {
    let (fits, form) = key.form;
    let words = match key.meaning {
        Meaning::Words(_) => split(value)?,
        _ => vec![value.to_string()],
    };
    if ["Exec", "ReloadCmd"].contains(&key.name) {
        split(value)?;
    }
    match words.iter().all(|word| fits(word)) {
        true => Ok(words),
        false => Err(form),
    }
}
