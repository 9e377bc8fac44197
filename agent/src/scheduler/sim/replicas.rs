//! A template with replicas, whose text its users replace, and what has to come of it.

use super::{TEMPLATE, World};
use crate::scheduler::keys::{self, Seen, State};
use crate::scheduler::name::UnitName;
use crate::scheduler::rollout::{Rollout, Target};
use crate::scheduler::text::Text;
use crate::store::Store;

impl World {
    /// Gives the template of the replicas another text, sometimes one that fails.
    pub(super) async fn replace_replicas(&mut self) {
        let command = ["sleep 1", "sleep 2", "false"][self.random.below(3) as usize];
        let text = format!(
            "[Service]\nExecStart=/bin/{command}\n[X-Strake]\nReplicas=2\nHealthyFor=2\n\
             HealthyWithin=60\n"
        );
        let text = Text::parse(&text).expect("text");
        let state = match self.random.percent(10) {
            true => State::Inactive,
            false => State::Launched,
        };
        self.order(&TEMPLATE.parse().expect("name"), state, text)
            .await;
    }

    /// Each replica is on one machine, with the text of now or, when that was refused, the former.
    pub(super) async fn replicas_converged(&self) {
        let seed = self.seed;
        let template: UnitName = TEMPLATE.parse().expect("name");
        let entry = self.memory.read(&keys::rollout(&template)).await;
        let entry = entry.expect("the store");
        let rollout: Rollout = entry.map_or_else(Rollout::default, |entry| {
            serde_json::from_slice(&entry.value).expect("rollout")
        });
        let Some((state, text)) = self.wanted.get(&template) else {
            return;
        };
        let target = Target {
            digest: text.digest(),
            run: self.runs.get(&template).copied().unwrap_or(0),
            most_down: 1,
        };
        let fails = text.value("Service", "ExecStart") == Some("/bin/false");
        let aim = rollout.aim(&target);
        for number in 1..=2 {
            let name = template.numbered(number);
            let held = self.nodes.iter().filter_map(|n| n.host.all().remove(&name));
            let held: Vec<Seen> = held.collect();
            if *state == State::Inactive {
                assert_eq!(held, [], "seed {seed}: {name}");
                continue;
            }
            assert_eq!(held.len(), 1, "seed {seed}: {name}");
            assert!(held[0].started, "seed {seed}: {name}");
            // With nothing to go back to, the replacing stops where it is.
            if fails && rollout.good.is_none() {
                continue;
            }
            assert_eq!(held[0].digest, *aim, "seed {seed}: {name}");
            assert!(!fails || *aim != target.digest, "seed {seed}: {rollout:?}");
        }
    }
}
