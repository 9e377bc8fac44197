//! What a unit asks of the cluster: its `[X-Fleet]` and `[X-Strake]` options, checked.

use std::collections::{BTreeMap, BTreeSet};

use super::calendar::Calendar;
use super::condition::{Condition, quantity};
use super::container;
use super::glob::Glob;
use super::keys::Fence;
use super::name::UnitName;
use super::target::Target;
use super::text::{Entry, Problem, Text};
use super::value::{Yes, joined, nearest, span, truth};

pub const FLEET: &str = "X-Fleet";
pub const STRAKE: &str = "X-Strake";

const FLEET_OPTIONS: [&str; 6] = [
    "MachineID",
    "MachineOf",
    "MachineMetadata",
    "Conflicts",
    "Replaces",
    "Global",
];
/// Names that fleet's own predecessors used, and what they are now.
const FORMER: [(&str, &str); 5] = [
    ("X-ConditionMachineID", "MachineID"),
    ("X-ConditionMachineBootID", "MachineID"),
    ("X-ConditionMachineOf", "MachineOf"),
    ("X-ConditionMachineMetadata", "MachineMetadata"),
    ("X-Conflicts", "Conflicts"),
];
const STRAKE_OPTIONS: [&str; 15] = [
    "Require",
    "Prefer",
    "Avoid",
    "Spread",
    "Memory",
    "CPU",
    "Priority",
    "Sticky",
    "Batch",
    "Fence",
    "Calendar",
    "Replicas",
    "MaxUnavailable",
    "HealthyFor",
    "HealthyWithin",
];
const PRIORITIES: std::ops::RangeInclusive<i32> = -1000..=1000;
const REPLICAS: std::ops::RangeInclusive<usize> = 1..=1000;
const WEIGHTS: std::ops::RangeInclusive<i64> = -1000..=1000;

/// Whether a unit runs on one machine or on every one that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Reach {
    #[default]
    Single,
    Global,
}

/// Whether a unit that was placed may be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Hold {
    #[default]
    Movable,
    Sticky,
}

/// How long a unit is wanted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Course {
    /// Until somebody says otherwise.
    #[default]
    Lasting,
    /// Until it has ended, well or not.
    Once,
    /// At each of these times until it has ended.
    Calendar(Box<Calendar>),
}

/// How many instances a template has, and how their texts are replaced.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Replicas {
    pub count: usize,
    /// How many of them may be down for being replaced.
    pub most_down: usize,
    /// A replica has to be up for so many seconds to be healthy,
    pub healthy_for: u64,
    /// and it has to be healthy within so many.
    pub healthy_within: u64,
}

impl Default for Replicas {
    fn default() -> Replicas {
        Replicas {
            count: 0,
            most_down: 1,
            healthy_for: 10,
            healthy_within: 300,
        }
    }
}

/// Units with equal requirements form one class for the planner.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Requirements {
    pub machine_id: Option<String>,
    /// It has to be beside each of these.
    pub machine_of: BTreeSet<Target>,
    /// One of the values for each key.
    pub metadata: BTreeMap<String, BTreeSet<String>>,
    pub conflicts: Vec<Glob>,
    pub replaces: Vec<Glob>,
    pub reach: Reach,
    pub require: Vec<Condition>,
    pub prefer: Vec<(i64, Condition)>,
    /// Other units this one would rather not share a machine with.
    pub avoid: Vec<Glob>,
    /// Metadata keys over whose values units of the same name before `@` are spread.
    pub spread: Vec<String>,
    /// Bytes.
    pub memory: u64,
    /// Thousandths of a processor.
    pub cpu: u64,
    pub priority: i32,
    pub hold: Hold,
    pub course: Course,
    pub fence: Fence,
    /// Of a template only.
    pub replicas: Replicas,
}

impl Requirements {
    /// Reads the options of the unit; all problems, not the first.
    pub fn read(name: &UnitName, text: &Text) -> Result<Requirements, Vec<Problem>> {
        let mut reader = Reader {
            name,
            found: Requirements::default(),
            problems: Vec::new(),
        };
        for entry in text.entries() {
            match entry.section.as_str() {
                FLEET => reader.fleet(entry),
                STRAKE => reader.strake(entry),
                section if section.starts_with("X-") => reader.misspelt(entry),
                _ => {}
            }
        }
        reader.combinations(text);
        reader.contradictions(text);
        reader.ending(text);
        reader.replication(text);
        if name.is_container()
            && let Err(problems) = container::service(name, text)
        {
            reader.problems.extend(problems);
        }
        if reader.problems.is_empty() {
            Ok(reader.found)
        } else {
            Err(reader.problems)
        }
    }
}

struct Reader<'u> {
    name: &'u UnitName,
    found: Requirements,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn refuse(&mut self, entry: &Entry, message: impl ToString) {
        let message = format!("{}: {}", entry.name, message.to_string());
        self.problems.push(entry.problem(message, None));
    }

    /// A section that is nearly one of ours is a slip; others are somebody else's.
    fn misspelt(&mut self, entry: &Entry) {
        let near = nearest(&entry.section, &[FLEET, STRAKE]);
        if let Some(near) = near {
            let message = format!("[{}] is no section known here", entry.section);
            let hint = Some(format!("did you mean [{near}]?"));
            self.problems.push(entry.problem(message, hint));
        }
    }

    fn unknown(&mut self, entry: &Entry, known: &[&str]) {
        let hint = match nearest(&entry.name, known) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("known are {}", known.join(", ")),
        };
        let message = format!("[{}] has no option {:?}", entry.section, entry.name);
        self.problems.push(entry.problem(message, Some(hint)));
    }

    fn fleet(&mut self, entry: &Entry) {
        let former = FORMER.iter().find(|(old, _)| *old == entry.name);
        let option = former.map_or(entry.name.as_str(), |(_, new)| new);
        let value = self.name.expand(&joined(&entry.value));
        match option {
            "MachineID" if value.is_empty() => self.refuse(entry, "a machine id is missing"),
            // The first one counts, as in fleet.
            "MachineID" => {
                self.found.machine_id.get_or_insert(value);
            }
            "MachineOf" => {
                for word in value.split_whitespace() {
                    match Target::parse(word) {
                        Ok(Target::Unit(other)) if other == *self.name => {
                            self.refuse(entry, "a unit cannot follow itself");
                        }
                        Ok(target) => {
                            self.found.machine_of.insert(target);
                        }
                        Err(refused) => self.refuse(entry, format!("{word:?}: {refused}")),
                    }
                }
            }
            "MachineMetadata" => self.metadata(entry, &value),
            "Conflicts" => {
                let globs = self.globs(entry, &value);
                self.found.conflicts.extend(globs);
            }
            "Replaces" => {
                let globs = self.globs(entry, &value);
                self.found.replaces.extend(globs);
            }
            "Global" => match truth(&value) {
                Some(Yes::Yes) => self.found.reach = Reach::Global,
                Some(Yes::No) => self.found.reach = Reach::Single,
                None => self.refuse(entry, "this is yes or no"),
            },
            _ => self.unknown(entry, &FLEET_OPTIONS),
        }
    }

    fn metadata(&mut self, entry: &Entry, value: &str) {
        let Some(pairs) = words(value) else {
            return self.refuse(entry, "a quote is left open");
        };
        for pair in pairs {
            match pair.split_once('=') {
                Some((key, value))
                    if !key.is_empty() && !value.is_empty() && !value.contains('=') =>
                {
                    let values = self.found.metadata.entry(key.to_string()).or_default();
                    values.insert(value.to_string());
                }
                _ => self.refuse(entry, format!("{pair:?} is not key=value")),
            }
        }
    }

    fn globs(&mut self, entry: &Entry, value: &str) -> Vec<Glob> {
        let mut globs = Vec::new();
        for word in value.split_whitespace() {
            match Glob::parse(word) {
                Ok(glob) => globs.push(glob),
                Err(malformed) => self.refuse(entry, malformed),
            }
        }
        globs
    }

    fn strake(&mut self, entry: &Entry) {
        let value = self.name.expand(&joined(&entry.value));
        match entry.name.as_str() {
            "Require" => match Condition::parse(&value) {
                Ok(condition) => self.found.require.push(condition),
                Err(refused) => self.refuse(entry, refused),
            },
            "Prefer" => self.prefer(entry, &value),
            "Avoid" => {
                let globs = self.globs(entry, &value);
                self.found.avoid.extend(globs);
            }
            "Spread" => {
                let keys = value.split_whitespace().map(str::to_string);
                self.found.spread.extend(keys);
            }
            "Memory" => match quantity(&value) {
                Some(bytes) => self.found.memory = bytes as u64,
                None => self.refuse(entry, "this is a number of bytes, such as 512M or 2G"),
            },
            "CPU" => match quantity(&value).filter(|cpus| *cpus <= 4096.0) {
                Some(cpus) => self.found.cpu = (cpus * 1000.0) as u64,
                None => self.refuse(entry, "this is a number of processors, such as 0.5 or 2"),
            },
            "Priority" => match value.parse() {
                Ok(priority) if PRIORITIES.contains(&priority) => self.found.priority = priority,
                _ => self.refuse(entry, "this is a number from -1000 to 1000"),
            },
            "Sticky" => match truth(&value) {
                Some(Yes::Yes) => self.found.hold = Hold::Sticky,
                Some(Yes::No) => self.found.hold = Hold::Movable,
                None => self.refuse(entry, "this is yes or no"),
            },
            "Fence" => match truth(&value) {
                Some(Yes::Yes) => self.found.fence = Fence::Yes,
                Some(Yes::No) => self.found.fence = Fence::No,
                None => self.refuse(entry, "this is yes or no"),
            },
            "Batch" => match truth(&value) {
                Some(Yes::Yes) if self.found.course == Course::Lasting => {
                    self.found.course = Course::Once;
                }
                Some(_) => {}
                None => self.refuse(entry, "this is yes or no"),
            },
            "Calendar" => match Calendar::parse(&value) {
                Ok(calendar) => self.found.course = Course::Calendar(Box::new(calendar)),
                Err(refused) => self.refuse(entry, refused),
            },
            "Replicas" => match value.parse() {
                Ok(count) if REPLICAS.contains(&count) => self.found.replicas.count = count,
                _ => self.refuse(entry, "this is a number from 1 to 1000"),
            },
            "MaxUnavailable" => match value.parse() {
                Ok(most) if REPLICAS.contains(&most) => self.found.replicas.most_down = most,
                _ => self.refuse(entry, "this is a number from 1 to 1000"),
            },
            "HealthyFor" => match span(&value) {
                Some(seconds) => self.found.replicas.healthy_for = seconds,
                None => self.refuse(entry, "this is a time up to 24h, such as 30s or 5m"),
            },
            "HealthyWithin" => match span(&value) {
                Some(seconds) => self.found.replicas.healthy_within = seconds,
                None => self.refuse(entry, "this is a time up to 24h, such as 30s or 5m"),
            },
            _ => self.unknown(entry, &STRAKE_OPTIONS),
        }
    }

    fn prefer(&mut self, entry: &Entry, value: &str) {
        let (weight, condition) = match value.split_once(char::is_whitespace) {
            Some((first, rest)) if first.starts_with(['+', '-']) => match first.parse() {
                Ok(weight) => (weight, rest),
                Err(_) => return self.refuse(entry, format!("{first:?} is no weight")),
            },
            _ => (10, value),
        };
        if !WEIGHTS.contains(&weight) {
            return self.refuse(entry, "a weight is a number from -1000 to 1000");
        }
        match Condition::parse(condition) {
            Ok(condition) => self.found.prefer.push((weight, condition)),
            Err(refused) => self.refuse(entry, refused),
        }
    }

    /// Instances have their template's text, and with it what is said about replicas.
    fn replication(&mut self, text: &Text) {
        const OPTIONS: [&str; 4] = ["Replicas", "MaxUnavailable", "HealthyFor", "HealthyWithin"];
        let named = |entry: &&Entry| OPTIONS.contains(&entry.name.as_str());
        let Some(entry) = text.in_section(STRAKE).find(named) else {
            return;
        };
        let replicas = &self.found.replicas;
        let message = match self.found.reach {
            _ if self.name.instance().is_some() => {
                // They are single units, each for itself.
                self.found.replicas = Replicas::default();
                return;
            }
            _ if !self.name.is_template() => "only a template has replicas",
            _ if replicas.count == 0 => "this needs Replicas= beside it",
            Reach::Global => "a global unit is everywhere and has no replicas",
            _ if self.found.course != Course::Lasting => "a unit that ends has no replicas",
            _ if replicas.healthy_within <= replicas.healthy_for => {
                "HealthyWithin= has to be longer than HealthyFor= (300s and 10s unless given)"
            }
            Reach::Single => return,
        };
        self.refuse(entry, message);
    }

    /// Only what has a process ends, and only on one machine.
    fn ending(&mut self, text: &Text) {
        if self.found.course == Course::Lasting {
            return;
        }
        let service = ["service", "container"].contains(&self.name.unit_type());
        let message = match self.found.reach {
            _ if !service => "only services and containers end",
            Reach::Global => "a unit that ends cannot be global",
            Reach::Single => return,
        };
        let named = |entry: &&Entry| ["Batch", "Calendar"].contains(&entry.name.as_str());
        if let Some(entry) = text.in_section(STRAKE).find(named) {
            self.refuse(entry, message);
        }
    }

    /// Conditions that no machine can meet together; the place is that of the second.
    fn contradictions(&mut self, text: &Text) {
        let mut refused: Vec<(&str, String)> = Vec::new();
        let require = &self.found.require;
        for (index, condition) in require.iter().enumerate() {
            let earlier = require[..index].iter().find(|one| one.excludes(condition));
            let metadata = self.found.metadata.iter();
            let other = metadata
                .filter(|(key, values)| condition.excludes_all(key, values.iter()))
                .map(|(key, _)| format!("MachineMetadata={key}=..."))
                .next();
            let other = other.or(earlier.map(|one| format!("Require={}", one.as_str())));
            if let Some(other) = other {
                let message = format!("no machine can meet {:?} and {other}", condition.as_str());
                refused.push((condition.as_str(), message));
            }
        }
        let entry = |condition: &str| {
            let mut entries = text.in_section(STRAKE);
            entries.find(|entry| {
                let value = self.name.expand(&joined(&entry.value));
                entry.name == "Require" && value.trim() == condition
            })
        };
        let problems: Vec<Problem> = refused
            .into_iter()
            .filter_map(|(condition, message)| {
                let message = format!("Require: {message}");
                Some(entry(condition)?.problem(message, None))
            })
            .collect();
        self.problems.extend(problems);
    }

    /// Options that exclude each other; the place is that of the second.
    fn combinations(&mut self, text: &Text) {
        let is_there = |option: &str| match option {
            "MachineID" => self.found.machine_id.is_some(),
            "MachineOf" => !self.found.machine_of.is_empty(),
            "Conflicts" => !self.found.conflicts.is_empty(),
            "Replaces" => !self.found.replaces.is_empty(),
            _ => self.found.reach == Reach::Global,
        };
        let pairs = [
            ("MachineID", "MachineOf"),
            ("MachineID", "Conflicts"),
            ("MachineID", "Global"),
            ("MachineID", "Replaces"),
            ("Global", "MachineOf"),
            ("Global", "Replaces"),
            ("Conflicts", "Replaces"),
        ];
        let mut refused: Vec<(String, String)> = pairs
            .iter()
            .filter(|(one, other)| is_there(one) && is_there(other))
            .map(|(one, other)| {
                let message = format!("{one} and {other} cannot be used together");
                (other.to_string(), message)
            })
            .collect();
        let units = self.found.machine_of.iter().filter_map(Target::unit);
        for other in units {
            let globs = self.found.conflicts.iter().chain(&self.found.replaces);
            if let Some(glob) = globs.into_iter().find(|g| g.matches(other.as_str())) {
                let message = format!("{other} cannot be followed: {glob} keeps it away");
                refused.push(("MachineOf".to_string(), message));
            }
        }
        for (option, message) in refused {
            let named = |name: &str| {
                let former = FORMER.iter().find(|(old, _)| *old == name);
                former.map_or(name, |(_, new)| new) == option
            };
            let entry = text.in_section(FLEET).find(|entry| named(&entry.name));
            self.problems
                .extend(entry.map(|entry| entry.problem(message, None)));
        }
    }
}

/// Words apart by blanks; quotes keep blanks together.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    (!quoted).then_some(words)
}

#[cfg(test)]
#[path = "requirement_tests.rs"]
mod tests;
