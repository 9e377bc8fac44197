//! What the networks of one machine have in common: the rules, which are one table, the ranges and
//! numbers that no two of them may have, and when all of them have got as far as they get.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::cidr::Family;
use super::config::{Backend, Config};
use super::docker_user;
use super::kernel::{Error, Kernel};
use super::named::{Clash, Pair, Which, clash};
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
        let is_possible = matches!(config.backend, Backend::Vxlan(_) | Backend::HostGw);
        let found = match which {
            // Of the others there is one device and one key on a machine.
            Which::Named(_) if !is_possible => Some(Clash::Backend(config.backend.name())),
            _ => clash(config, configs.range(..which)),
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
        let is_settled = parts.len() < 2 || !self.tell_docker(&parts, kernel)?;
        // Once docker's chain was changed, the next time shows whether that is what is there.
        *loaded = is_settled.then_some((generation, text));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Which {
        Which::Named(text.parse().expect(text))
    }

    #[test]
    fn the_later_one_of_two_that_clash_gives_way() {
        let shared = Shared::default();
        let config = |text: &str| Config::parse(text.as_bytes()).expect(text);
        let wide = config(r#"{"Network":"10.0.0.0/8","Backend":{"Type":"host-gw"}}"#);
        let narrow = config(r#"{"Network":"10.5.0.0/16"}"#);
        shared.claim(&named("db"), &wide).expect("it is alone");
        shared
            .claim(&named("db"), &wide)
            .expect("it clashes with none but itself");
        shared
            .claim(&Which::Default, &narrow)
            .expect("it comes before");
        let clash = shared.claim(&named("db"), &wide).expect_err("a clash");
        assert!(clash.to_string().contains("the network default"), "{clash}");
        shared
            .claim(&Which::Default, &wide)
            .expect("the other is out");
        let wired = config(r#"{"Network":"172.16.0.0/16","Backend":{"Type":"wireguard"}}"#);
        let refused = shared.claim(&named("db"), &wired).expect_err("one device");
        assert!(refused.to_string().contains("wireguard"), "{refused}");
    }

    #[tokio::test(start_paused = true)]
    async fn runtimes_wait_for_the_network_without_a_name_and_a_while_for_the_others() {
        let all = || [Which::Default, named("db")];
        let shared = Shared::new(all(), BTreeSet::new());
        shared.settle(&named("db"));
        let early = timeout(Duration::from_secs(3600), shared.settled()).await;
        assert!(early.is_err(), "there is no subnet");
        shared.settle(&Which::Default);
        let start = tokio::time::Instant::now();
        shared.settled().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        let shared = Shared::new(all(), BTreeSet::new());
        shared.settle(&Which::Default);
        shared.settled().await;
        assert_eq!(start.elapsed(), PATIENCE);
    }
}
