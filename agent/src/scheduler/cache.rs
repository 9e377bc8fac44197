//! The last desired value and the texts it names, on STATE.

use std::collections::BTreeSet;

use super::agent::Cache;
use super::keys::Desired;
use super::text::{Digest, Text};
use crate::apply::tree::Node;
use crate::apply::write::write_one;
use crate::root::Root;

const DESIRED: &str = "/state/scheduler/desired.json";
const TEXTS: &str = "/state/scheduler/text";

/// A cache that cannot be written is only a cache less: it is said and nothing else.
#[derive(Debug, Clone)]
pub struct OnState {
    root: Root,
}

impl OnState {
    pub fn new(root: Root) -> OnState {
        OnState { root }
    }

    fn write(&self, path: &str, node: Node) {
        if let Err(error) = write_one(&self.root, path, node) {
            eprintln!("strake: keeping {path}: {error}");
        }
    }

    /// Texts that the desired value does not name.
    fn drop_unused(&self, desired: &Desired) {
        let used: BTreeSet<&str> = desired
            .units
            .values()
            .map(|unit| unit.digest.as_str())
            .collect();
        for name in self.root.list(TEXTS) {
            if let Some(name) = name.to_str()
                && !used.contains(name)
            {
                self.write(&format!("{TEXTS}/{name}"), Node::Absent);
            }
        }
    }
}

impl Cache for OnState {
    fn save(&self, desired: &Desired) {
        match serde_json::to_vec(desired) {
            Ok(text) => self.write(DESIRED, Node::text(text)),
            Err(error) => eprintln!("strake: keeping {DESIRED}: {error}"),
        }
        self.drop_unused(desired);
    }

    fn load(&self) -> Option<Desired> {
        let text = self.root.read_text(DESIRED).ok()?;
        serde_json::from_str(&text).ok()
    }

    fn save_text(&self, digest: &Digest, text: &Text) {
        let path = format!("{TEXTS}/{digest}");
        self.write(&path, Node::text(text.to_string()));
    }

    fn load_text(&self, digest: &Digest) -> Option<Text> {
        let text = self.root.read_text(format!("{TEXTS}/{digest}")).ok()?;
        // A text that is not what its name says was damaged.
        Text::parse(&text)
            .ok()
            .filter(|text| text.digest() == *digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::keys::{Assignment, Scope, State};

    #[test]
    fn what_is_kept_is_found_again_and_what_is_unused_goes() {
        let dir = tempfile::tempdir().expect("temp dir");
        let cache = OnState::new(Root::new(dir.path()));
        assert_eq!(cache.load(), None);
        let text = Text::parse("[Service]\nExecStart=/bin/true\n").expect("text");
        let digest = text.digest();
        cache.save_text(&digest, &text);
        let mut desired = Desired::default();
        let assignment = Assignment {
            digest: digest.clone(),
            state: State::Launched,
            scope: Scope::Global,
            run: 0,
            fence: Default::default(),
        };
        desired
            .units
            .insert("a.service".parse().expect("name"), assignment);
        cache.save(&desired);
        assert_eq!(cache.load(), Some(desired));
        assert_eq!(cache.load_text(&digest), Some(text));
        cache.save(&Desired::default());
        assert_eq!(cache.load_text(&digest), None);
    }

    #[test]
    fn a_damaged_text_counts_as_missing() {
        let dir = tempfile::tempdir().expect("temp dir");
        let cache = OnState::new(Root::new(dir.path()));
        let text = Text::parse("[Service]\nExecStart=/bin/true\n").expect("text");
        let other = Text::parse("[Service]\nExecStart=/bin/false\n").expect("text");
        cache.save_text(&text.digest(), &other);
        assert_eq!(cache.load_text(&text.digest()), None);
    }
}
