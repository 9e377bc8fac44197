//! The options of `[X-Strake]`: what fleet had no word for.

use std::ops::RangeInclusive;

use super::read::Reader;
use super::{Course, Hold};
use crate::scheduler::calendar::Calendar;
use crate::scheduler::condition::{Condition, quantity};
use crate::scheduler::keys::Fence;
use crate::scheduler::text::Entry;
use crate::scheduler::value::{Yes, joined, span, truth};

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
const PRIORITIES: RangeInclusive<i32> = -1000..=1000;
const REPLICAS: RangeInclusive<usize> = 1..=1000;
const WEIGHTS: RangeInclusive<i64> = -1000..=1000;

impl Reader<'_> {
    pub(super) fn strake(&mut self, entry: &Entry) {
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
}
