use serde_json::{Value, json};

use super::*;
use crate::scheduler::keys;
use crate::store::{Batch, Entry, Event as Change};

struct Story {
    tracker: Tracker,
    revision: Revision,
}

impl Story {
    #[track_caller]
    fn put(&mut self, key: &str, value: Value, expected: &[&str]) {
        self.revision += 1;
        let change = Change::Put(Entry {
            key: format!("{}{key}", keys::ALL),
            value: match value {
                Value::String(text) => text.into_bytes(),
                value => serde_json::to_vec(&value).expect("json"),
            },
            created: self.revision,
            modified: self.revision,
            lease: None,
        });
        self.change(change, expected);
    }

    #[track_caller]
    fn delete(&mut self, key: &str, expected: &[&str]) {
        self.revision += 1;
        let key = format!("{}{key}", keys::ALL);
        self.change(Change::Deleted { key }, expected);
    }

    #[track_caller]
    fn change(&mut self, change: Change, expected: &[&str]) {
        let events = self.tracker.step(&Batch {
            revision: self.revision,
            events: vec![change],
        });
        assert!(events.iter().all(|event| event.revision == self.revision));
        let told: Vec<String> = events.iter().map(|event| event.what.to_string()).collect();
        assert_eq!(told, expected);
    }

    fn order(&mut self, state: &str, expected: &[&str]) {
        self.put(
            "units/a.service",
            json!({"digest": "d", "state": state}),
            expected,
        );
    }

    fn hold(&mut self, machine: &str, units: &[&str], expected: &[&str]) {
        let assigned = json!({"digest": "d", "state": "launched"});
        let units: serde_json::Map<_, _> = units
            .iter()
            .map(|name| (name.to_string(), assigned.clone()))
            .collect();
        let desired = json!({"generation": 1, "units": units});
        self.put(&format!("desired/{machine}"), desired, expected);
    }
}

fn story() -> Story {
    Story {
        tracker: Tracker::default(),
        revision: 0,
    }
}

const UNIT: &[&str] = &["a.service"];

#[test]
fn a_unit_that_moves_is_told_with_both_machines() {
    let mut story = story();
    story.put("machines/m1", json!({}), &["machine m1 came"]);
    story.put("machines/m1", json!({"facts": 2}), &[]);
    story.order("launched", &["a.service is to be launched"]);
    story.hold("m1", UNIT, &["a.service placed on m1"]);
    story.delete("machines/m1", &["machine m1 went"]);
    story.hold("m1", &[], &["a.service removed from m1"]);
    story.hold("m2", UNIT, &["a.service moved from m1 to m2"]);
    // Back where it was, after having been unloaded: that is no move.
    story.order("inactive", &["a.service is to be inactive"]);
    story.hold("m2", &[], &["a.service removed from m2"]);
    story.order("loaded", &["a.service is to be loaded"]);
    story.hold("m1", UNIT, &["a.service placed on m1"]);
    story.delete("units/a.service", &["a.service was destroyed"]);
    story.hold("m1", &[], &["a.service removed from m1"]);
}

#[test]
fn what_systemd_says_is_told_when_it_changes() {
    let mut story = story();
    let seen = |active: &str, problem: Value| {
        json!({"generation": 1, "units": {"a.service": {
            "digest": "d", "load": "loaded", "active": active, "sub": "s", "started": true,
            "problem": problem,
        }}})
    };
    let none = Value::Null;
    story.put("observed/m1", seen("inactive", none.clone()), &[]);
    story.put(
        "observed/m1",
        seen("active", none.clone()),
        &["a.service is active (s) on m1"],
    );
    story.put("observed/m1", seen("active", none.clone()), &[]);
    let both = [
        "a.service does not work on m1: why",
        "a.service is failed (s) on m1",
    ];
    story.put("observed/m1", seen("failed", json!("why")), &both);
    story.put("observed/m1", seen("failed", json!("why not")), &[]);
}

#[test]
fn the_seat_taken_first_leads_and_duties_are_told() {
    let mut story = story();
    story.put("leader/0", json!("m1 7"), &["machine m1 leads"]);
    story.put("leader/1", json!("m2 8"), &[]);
    story.delete("leader/0", &["machine m2 leads"]);
    story.put("leader/0", json!("m1 9"), &[]);
    story.put("tags/m1", json!({"metadata": {"a": "b"}}), &[]);
    story.put(
        "tags/m1",
        json!({"duty": "draining"}),
        &["machine m1 is drained"],
    );
    story.delete("tags/m1", &["machine m1 takes units again"]);
}

#[test]
fn what_is_not_understood_tells_nothing() {
    let mut story = story();
    for key in ["units/a.service", "desired/m1", "observed/m1", "tags/m1"] {
        story.put(key, json!("nonsense"), &[]);
    }
    story.put("machines/NO ID", json!({}), &[]);
    story.put("text/d", json!("[Unit]"), &[]);
    story.delete("units/b.service", &[]);
    story.delete("machines/m9", &[]);
}
