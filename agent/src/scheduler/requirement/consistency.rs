//! Options that do not go together, or not with what the unit is: found when all are read.

use super::fleet::current;
use super::read::Reader;
use super::{Course, FLEET, Reach, Replicas, STRAKE};
use crate::scheduler::target::Target;
use crate::scheduler::text::{Entry, Problem, Text};
use crate::scheduler::value::joined;

impl Reader<'_> {
    /// Instances have their template's text, and with it what is said about replicas.
    pub(super) fn replication(&mut self, text: &Text) {
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
    pub(super) fn ending(&mut self, text: &Text) {
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
    pub(super) fn contradictions(&mut self, text: &Text) {
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
    pub(super) fn combinations(&mut self, text: &Text) {
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
            let mut entries = text.in_section(FLEET);
            let entry = entries.find(|entry| current(&entry.name) == option);
            self.problems
                .extend(entry.map(|entry| entry.problem(message, None)));
        }
    }
}
