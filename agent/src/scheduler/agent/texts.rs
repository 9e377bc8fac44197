//! The texts of units that are wanted here: known, from the cache, or from the store.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;

use super::{Agent, Cache, Host};
use crate::scheduler::keys::{self, Assignment, Seen};
use crate::scheduler::name::UnitName;
use crate::scheduler::text::{Digest, Text};
use crate::store::Store;

impl<S: Store, H: Host, C: Cache> Agent<S, H, C> {
    /// Units whose wanted text cannot be had now.
    pub(super) async fn fetch_texts(
        &mut self,
        local: &BTreeMap<UnitName, Seen>,
    ) -> BTreeSet<UnitName> {
        let differs = |(name, wanted): &(&UnitName, &Assignment)| {
            local.get(*name).map(|seen| &seen.digest) != Some(&wanted.digest)
        };
        let missing: Vec<(UnitName, Digest)> = self
            .desired
            .units
            .iter()
            .filter(differs)
            .map(|(name, wanted)| (name.clone(), wanted.digest.clone()))
            .collect();
        let mut without = BTreeSet::new();
        for (name, digest) in missing {
            if self.text(&digest).await.is_err() {
                without.insert(name);
            }
        }
        without
    }

    pub(super) async fn text(&mut self, digest: &Digest) -> anyhow::Result<Text> {
        let known = self.texts.get(digest).cloned();
        if let Some(text) = known.or_else(|| self.cache.load_text(digest)) {
            return Ok(text);
        }
        let entry = self.store.read(&keys::text(digest)).await?;
        let entry = entry.context("its text is not in the store")?;
        let text = std::str::from_utf8(&entry.value).context("its text is no text")?;
        let text = Text::parse(text).ok().context("its text is no unit")?;
        self.cache.save_text(digest, &text);
        let wanted = &self.desired.units;
        self.texts
            .retain(|known, _| wanted.values().any(|unit| unit.digest == *known));
        self.texts.insert(digest.clone(), text.clone());
        Ok(text)
    }
}
