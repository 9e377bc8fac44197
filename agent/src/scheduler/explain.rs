//! For each machine why it may or may not hold a unit, asked of the planner itself. Where a unit may be
//! depends on all the others, so this is the one question that reads the whole cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::clock;
use super::keys::State;
use super::machine::MachineId;
use super::model::Model;
use super::name::UnitName;
use super::orders;
use super::plan::{self, Verdict, Wanted};
use crate::store::Store;

/// What the planner says of a unit, and the cluster that it says it of.
#[derive(Debug)]
pub struct Explained {
    pub model: Model,
    pub verdicts: BTreeMap<MachineId, Verdict>,
}

pub async fn explain(store: &impl Store, name: &UnitName) -> Result<Explained, orders::Error> {
    let mut model = Model::read(store).await?;
    if let Some(template) = name.template().filter(|t| model.replicas(t).contains(name))
        && let Some(unit) = model.units.get(&template).cloned()
    {
        model.units.insert(name.clone(), unit);
    }
    let Some(unit) = model.units.get_mut(name) else {
        return Err(orders::Error::NoUnit(name.clone()));
    };
    if name.is_template() {
        return Err(orders::Error::Template(name.clone()));
    }
    // Asked of a unit that is to be nowhere: where it would go.
    if unit.value.state == State::Inactive {
        unit.value.state = State::Loaded;
    }
    let mut snapshot = model.snapshot(&BTreeMap::new(), clock::now());
    // Or one that has ended, or waits for its time.
    if snapshot.finished.remove(name)
        && let Some(requirements) = model.read_requirements(name)
    {
        let requirements = Arc::new(requirements);
        snapshot.units.insert(name.clone(), Wanted { requirements });
    }
    let verdicts = plan::explain(&snapshot, name);
    Ok(Explained { model, verdicts })
}

impl Explained {
    /// Why no machine may hold the unit, in a line; nothing if one may or does.
    pub fn refusal(&self) -> Option<String> {
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for verdict in self.verdicts.values() {
            match verdict {
                Verdict::MayNot(reason) => *reasons.entry(reason).or_default() += 1,
                Verdict::Holds | Verdict::May { .. } => return None,
            }
        }
        if reasons.is_empty() {
            return Some("no machine is registered".to_string());
        }
        let told = reasons.iter().map(|(reason, count)| match count {
            1 => format!("1 machine: {reason}"),
            count => format!("{count} machines: {reason}"),
        });
        Some(told.collect::<Vec<_>>().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::keys;
    use crate::scheduler::machine::Machine;
    use crate::scheduler::orders::Known;
    use crate::scheduler::text::Text;
    use crate::store::memory::Memory;

    async fn machine(store: &Memory, id: &str, zone: &str) {
        let mut machine = Machine::bare(id);
        machine.metadata.insert("zone".into(), zone.into());
        store.put(keys::machine(&machine.id), &machine).await;
    }

    #[tokio::test]
    async fn why_no_machine_may_hold_a_unit_is_told_in_a_line() {
        let store = Memory::default();
        let name: UnitName = "a.service".parse().expect("name");
        let text = "[Service]\nExecStart=/bin/true\n[X-Fleet]\nMachineMetadata=zone=c\n\
                    [X-Strake]\nRequire=cpus > 2\n";
        let unknown = explain(&store, &name).await.expect_err("not known");
        assert!(matches!(unknown, orders::Error::NoUnit(_)));
        let text = Text::parse(text).expect("text");
        let known = orders::submit(&store, &name, &text, Known::Refuse).await;
        known.expect("known");
        let told = async || {
            let explained = explain(&store, &name).await.expect("an answer");
            explained.refusal()
        };
        assert_eq!(told().await.as_deref(), Some("no machine is registered"));
        machine(&store, "m1", "a").await;
        machine(&store, "m2", "b").await;
        machine(&store, "m3", "c").await;
        assert_eq!(
            told().await.as_deref(),
            Some(
                "2 machines: MachineMetadata: zone is not as asked; \
                 1 machine: Require: cpus > 2 does not hold"
            )
        );
        let text = Text::parse("[Service]\nExecStart=/bin/true\n").expect("text");
        let replaced = orders::submit(&store, &name, &text, Known::Replace).await;
        replaced.expect("replaced");
        assert_eq!(told().await, None);
    }
}
