//! Two machines with one machine id: the second one to ask for the lock says so, for both to see.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strake_updates::time::Timestamp;

use super::{Claimant, Error, Lock};
use crate::store::{Store, Transaction, Write, read_all};

/// As long as nobody says it again, it is over after this.
const LASTS: Duration = Duration::from_secs(3600);

/// Under one id there are these boots, of different machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Twin {
    pub id: String,
    pub boots: [String; 2],
    pub at: Timestamp,
}

impl<S: Store> Lock<S> {
    /// Said by the one that was refused.
    pub async fn tell_twin(&self, who: &Claimant, other_boot: &str) -> Result<(), Error> {
        let lease = self.store.grant(LASTS).await?;
        let twin = Twin {
            id: who.id.clone(),
            boots: [
                other_boot.to_string(),
                who.boots.last().cloned().unwrap_or_default(),
            ],
            at: crate::update::clock(),
        };
        let write = Write::Put {
            key: self.group.twin(&who.id),
            value: serde_json::to_vec(&twin).unwrap_or_default(),
            lease: Some(lease),
        };
        let transaction = Transaction {
            compares: Vec::new(),
            writes: vec![write],
        };
        self.store.commit(&transaction).await?;
        Ok(())
    }

    /// All that was said in the last hour.
    pub async fn twins(&self) -> Result<Vec<Twin>, Error> {
        let told = read_all(&self.store, &self.group.twins()).await?;
        let told = told.entries.iter();
        Ok(told.filter_map(|entry| super::json(&entry.value)).collect())
    }

    /// Asked by whoever is about to take a place, or has one.
    pub async fn twin(&self, id: &str) -> Result<Option<Twin>, Error> {
        let told = self.store.read(&self.group.twin(id)).await?;
        Ok(told.and_then(|entry| super::json(&entry.value)))
    }
}
