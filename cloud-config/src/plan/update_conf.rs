//! `update.conf`: which of its lines a config sets, and the text that results.
//!
//! Lines are matched by their whole key, so comments, blank lines and other keys stay as they
//! are and in their order. New keys go to the end, sorted.

use serde::Serialize;

use crate::config::Update;

pub const PATH: &str = "/etc/coreos/update.conf";
/// Read in its place while the first does not exist.
pub const DEFAULT_PATH: &str = "/usr/share/coreos/update.conf";

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpdateConf {
    /// Key and value, sorted by key.
    values: Vec<(&'static str, String)>,
}

impl UpdateConf {
    /// `None` when the config sets nothing there.
    pub fn of(update: &Update) -> Option<Self> {
        let mut values = Vec::new();
        if let Some(group) = &update.group {
            values.push(("GROUP", group.clone()));
        }
        if let Some(strategy) = update.reboot_strategy {
            values.push(("REBOOT_STRATEGY", strategy.to_string()));
        }
        if let Some(server) = &update.server {
            values.push(("SERVER", server.clone()));
        }
        (!values.is_empty()).then_some(Self { values })
    }

    pub fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
    }

    pub fn merge(&self, existing: &str) -> String {
        merge_lines(existing, &self.values)
    }
}

/// Replaces the lines `KEY=...` of the given keys where they stand, first occurrence only, drops
/// later ones, and adds the keys that are missing.
pub(super) fn merge_lines(existing: &str, values: &[(&'static str, String)]) -> String {
    let mut text = String::with_capacity(existing.len() + 64);
    let mut done = vec![false; values.len()];
    for line in existing.lines() {
        let key = line.split_once('=').map(|(key, _)| key.trim());
        match values.iter().position(|(name, _)| Some(*name) == key) {
            Some(index) if done[index] => {}
            Some(index) => {
                done[index] = true;
                push_line(&mut text, &values[index]);
            }
            None => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    for (value, _) in values.iter().zip(done).filter(|(_, done)| !done) {
        push_line(&mut text, value);
    }
    text
}

fn push_line(text: &mut String, (key, value): &(&'static str, String)) {
    text.push_str(key);
    text.push('=');
    text.push_str(value);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RebootStrategy;

    #[track_caller]
    fn check(existing: &str, expected: &str) {
        let update = Update {
            group: Some("beta".into()),
            server: None,
            reboot_strategy: Some(RebootStrategy::Off),
        };
        let conf = UpdateConf::of(&update).expect("two values");
        assert_eq!(conf.merge(existing), expected);
        assert_eq!(
            conf.merge(expected),
            expected,
            "merging twice changes nothing"
        );
    }

    #[test]
    fn missing_keys_are_added_sorted() {
        check("", "GROUP=beta\nREBOOT_STRATEGY=off\n");
        check("SERVER=s", "SERVER=s\nGROUP=beta\nREBOOT_STRATEGY=off\n");
    }

    #[test]
    fn lines_are_replaced_where_they_stand_and_comments_stay() {
        check(
            "# GROUP=old\nREBOOT_STRATEGY=reboot\n\nGROUP=stable\nSERVER=x\n",
            "# GROUP=old\nREBOOT_STRATEGY=off\n\nGROUP=beta\nSERVER=x\n",
        );
    }

    #[test]
    fn a_key_that_merely_begins_alike_is_another_key() {
        check("GROUPX=1\n", "GROUPX=1\nGROUP=beta\nREBOOT_STRATEGY=off\n");
    }

    #[test]
    fn a_repeated_key_is_left_once() {
        check("GROUP=a\nGROUP=b\n", "GROUP=beta\nREBOOT_STRATEGY=off\n");
    }

    #[test]
    fn nothing_set_is_no_file() {
        assert_eq!(UpdateConf::of(&Update::default()), None);
    }
}
