//! Units that end: their result is told once, and a run that has ended is never started again.

use std::collections::BTreeMap;

use super::steps::has_ended;
use super::{Agent, Cache, Host};
use crate::journal::Note;
use crate::scheduler::keys::{self, Done};
use crate::scheduler::machine::Duty;
use crate::scheduler::name::UnitName;
use crate::store::{Compare, Entry, Outcome, Store, Transaction, Write};

/// The last run of each unit here whose end is known to the store.
pub(super) type Ends = BTreeMap<UnitName, u64>;

/// The run that a value in the store is about. One that is not understood is about none.
fn run_of(entry: Option<&Entry>) -> u64 {
    let done = entry.and_then(|entry| serde_json::from_slice::<Done>(&entry.value).ok());
    done.map_or(0, |done| done.run)
}

impl<S: Store, H: Host, C: Cache> Agent<S, H, C> {
    /// Whether the store knows the end of this run: after a power cut this machine does not.
    pub(super) async fn is_over(&mut self, name: &UnitName, run: u64) -> anyhow::Result<bool> {
        if run == 0 {
            return Ok(false);
        }
        let known = self.store.read(&keys::done(name)).await?;
        Ok(run_of(known.as_ref()) >= run)
    }

    /// Writes how units ended that have just done so. Only while the desired value is the one that
    /// is obeyed here: a run that was given to another machine is no longer this one's to tell.
    pub(super) async fn tell_ends(&mut self) -> anyhow::Result<()> {
        // A run that ends since the whole machine goes down is begun anew.
        if self.machine.borrow().duty == Duty::Draining {
            return Ok(());
        }
        let units = &self.desired.units;
        self.ends.retain(|name, _| units.contains_key(name));
        if units.values().all(|wanted| wanted.run == 0) {
            return Ok(());
        }
        let local = self.host.units().await?;
        let ended = |(name, wanted): (&UnitName, &keys::Assignment)| {
            let news = self.ends.get(name).is_none_or(|told| *told < wanted.run);
            let ended = local.get(name).is_some_and(|seen| has_ended(wanted, seen));
            (news && ended).then(|| (name.clone(), wanted.clone()))
        };
        let ended: Vec<_> = units.iter().filter_map(ended).collect();
        for (name, wanted) in ended {
            let key = keys::done(&name);
            let known = self.store.read(&key).await?;
            if run_of(known.as_ref()) < wanted.run {
                let machine = self.machine.borrow().id.clone();
                let done = Done {
                    run: wanted.run,
                    digest: wanted.digest,
                    ended: self.host.ended(&name).await?,
                    machine,
                };
                let own = keys::desired(&done.machine);
                let transaction = Transaction {
                    compares: vec![
                        Compare::Modified(key.clone(), known.map_or(0, |entry| entry.modified)),
                        Compare::Modified(own, self.modified),
                    ],
                    writes: vec![Write::Put {
                        key,
                        value: serde_json::to_vec(&done)?,
                        lease: None,
                    }],
                };
                // Refused: the leader has news for this machine, which comes first.
                if self.store.commit(&transaction).await? == Outcome::Refused {
                    continue;
                }
                let text = format!("{name} has ended: {}", done.ended.result);
                (self.log)(&Note::new(&text));
            }
            self.ends.insert(name, wanted.run);
        }
        Ok(())
    }
}
