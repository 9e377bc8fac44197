//! What the networks of one machine have in common: the rules, which are one table, the ranges and
//! numbers that no two of them may have, and when all of them have got as far as they get.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::cidr::Family;
use super::config::Config;
use super::docker_user;
use super::kernel::{Error, Kernel};
use super::named::{Clash, Pair, Which, clash, possible};
use super::rules::{self, Part};

/// How long container runtimes wait for networks with names, once the one without has its subnet.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Shared {
    allowed: BTreeSet<Pair>,
    configs: RefCell<BTreeMap<Which, Config>>,
    parts: RefCell<BTreeMap<Which, Part>>,
    /// The generation of all rules right after ours were loaded, and ours.
    loaded: RefCell<Option<(u32, String)>>,
    unsettled: watch::Sender<BTreeSet<Which>>,
}

impl Default for Shared {
    fn default() -> Shared {
        Shared::new([Which::Default], BTreeSet::new())
    }
}

impl Shared {
    pub fn new(all: impl IntoIterator<Item = Which>, allowed: BTreeSet<Pair>) -> Shared {
        Shared {
            allowed,
            configs: RefCell::default(),
            parts: RefCell::default(),
            loaded: RefCell::default(),
            unsettled: watch::Sender::new(all.into_iter().collect()),
        }
    }

    /// The network is taken part in from now on, unless one before it, by name, is in its way. One
    /// behind it has to give way.
    pub fn claim(&self, which: &Which, config: &Config) -> Result<(), Clash> {
        let mut configs = self.configs.borrow_mut();
        let found = match possible(which, config) {
            Err(impossible) => Some(impossible),
            Ok(()) => clash(config, configs.range(..which)),
        };
        match found {
            Some(clash) => {
                configs.remove(which);
                self.parts.borrow_mut().remove(which);
                Err(clash)
            }
            None => {
                configs.insert(which.clone(), config.clone());
                Ok(())
            }
        }
    }

    /// The table is there and ours, whoever flushed or changed what meanwhile.
    pub fn hold_rules(
        &self,
        which: &Which,
        part: Part,
        kernel: &mut impl Kernel,
    ) -> Result<(), Error> {
        let mut parts = self.parts.borrow_mut();
        parts.insert(which.clone(), part);
        let text = rules::table(&parts, &self.allowed);
        let now = kernel.rules_generation()?;
        let mut loaded = self.loaded.borrow_mut();
        if loaded.as_ref() == Some(&(now, text.clone())) {
            return Ok(());
        }
        kernel.load_rules(&text)?;
        let generation = kernel.rules_generation()?;
        // Ours was one step. Whoever else changed something meanwhile may have done it after us.
        let is_alone = generation == following(now);
        let is_settled = parts.len() < 2 || !self.tell_docker(&parts, kernel)?;
        // Once docker's chain was changed, the next time shows whether that is what is there.
        *loaded = (is_alone && is_settled).then_some((generation, text));
        Ok(())
    }

    /// Whether anything had to be changed.
    fn tell_docker(
        &self,
        parts: &BTreeMap<Which, Part>,
        kernel: &mut impl Kernel,
    ) -> Result<bool, Error> {
        let mut has_changed = false;
        for family in [Family::V4, Family::V6] {
            let Some(listed) = kernel.docker_rules(family)? else {
                continue;
            };
            if let Some(text) = docker_user::changes(family, &listed, parts, &self.allowed) {
                kernel.load_rules(&text)?;
                has_changed = true;
            }
        }
        Ok(has_changed)
    }

    /// The network has its subnet, or cannot have one for now.
    pub fn settle(&self, which: &Which) {
        self.unsettled.send_if_modified(|all| all.remove(which));
    }

    /// Networks with names begin behind the one without, which they give way to.
    pub async fn turn_of_named(&self) {
        let mut unsettled = self.unsettled.subscribe();
        let first = unsettled.wait_for(|all| !all.contains(&Which::Default));
        let _ = timeout(PATIENCE, first).await;
    }

    /// When container runtimes may start.
    pub async fn settled(&self) {
        let mut unsettled = self.unsettled.subscribe();
        // The sender is here.
        let _ = unsettled
            .wait_for(|all| !all.contains(&Which::Default))
            .await;
        let _ = timeout(PATIENCE, unsettled.wait_for(BTreeSet::is_empty)).await;
    }
}

/// The kernel's next generation of rules: it passes over 0.
fn following(generation: u32) -> u32 {
    generation.wrapping_add(1).max(1)
}

#[cfg(test)]
#[path = "shared_tests.rs"]
mod tests;
