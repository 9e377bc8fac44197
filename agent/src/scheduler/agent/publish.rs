//! What is here is told to the cluster, under this machine's key.

use std::time::Duration;

use super::steps::{Standing, at_rest};
use super::{Agent, Cache, Host, Registration};
use crate::scheduler::keys::{self, Observed, Seen};
use crate::store::{Compare, Outcome, Revision, Store, Transaction, Write};
use crate::systemd::Active;

/// A longer value is written less often.
const PER_UNIT: Duration = Duration::from_micros(250);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Published {
    /// What is in the store is not known.
    Unknown,
    Known(Observed, Revision),
}

impl<S: Store, H: Host, C: Cache> Agent<S, H, C> {
    pub(super) async fn observe(&self) -> anyhow::Result<Observed> {
        let mut units = self.host.units().await?;
        let generation = match at_rest(&self.desired, &units) {
            Standing::Same => self.desired.generation,
            Standing::Differs => match &self.published {
                Published::Known(observed, _) => observed.generation,
                Published::Unknown => 0,
            },
        };
        for (name, problem) in &self.problems {
            let seen = units.entry(name.clone()).or_insert_with(|| Seen {
                digest: problem.digest.clone(),
                load: "not-found".to_string(),
                active: Active::Inactive,
                sub: "dead".to_string(),
                started: false,
                run: 0,
                problem: None,
            });
            seen.problem = Some(problem.text.clone());
        }
        let leases = usize::from(self.registration != Registration::Out);
        self.figures.holds(&units, leases);
        Ok(Observed { generation, units })
    }

    pub(super) fn is_published(&self, observed: &Observed) -> bool {
        matches!(&self.published, Published::Known(known, _) if known == observed)
    }

    /// Writes what is observed, if that is news; tells how long to be quiet then.
    pub(super) async fn publish(&mut self) -> anyhow::Result<Duration> {
        let key = keys::observed(&self.machine.borrow().id);
        if self.published == Published::Unknown {
            let entry = self.store.read(&key).await?;
            let modified = entry.as_ref().map_or(0, |entry| entry.modified);
            let known = entry.and_then(|entry| serde_json::from_slice(&entry.value).ok());
            self.published = Published::Known(known.unwrap_or_default(), modified);
        }
        let observed = self.observe().await?;
        let quiet = self.pace.publish + PER_UNIT * observed.units.len() as u32;
        let Published::Known(known, modified) = &self.published else {
            return Ok(quiet);
        };
        if *known == observed {
            return Ok(Duration::ZERO);
        }
        let transaction = Transaction {
            compares: vec![Compare::Modified(key.clone(), *modified)],
            writes: vec![Write::Put {
                key,
                value: serde_json::to_vec(&observed)?,
                lease: None,
            }],
        };
        // Until the answer is there, nobody knows what is in the store.
        self.published = Published::Unknown;
        if let Outcome::Done(revision) = self.store.commit(&transaction).await? {
            self.published = Published::Known(observed, revision);
        }
        Ok(quiet)
    }
}
