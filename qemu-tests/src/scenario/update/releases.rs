//! The releases of the update scenarios and the repository they are published in, made by the
//! first scenario that asks.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::breaker;
use crate::publisher::{Built, Publisher, Variant};
use crate::tools::Tools;

/// What the passive slot of a machine that was updated before holds.
pub(super) const BEFORE: &str = "0.0.9";
/// The image under test is 0.1.0 or later; these come after it.
pub(in crate::scenario) const GOOD: &str = "90.1.0";
pub(in crate::scenario) const BROKEN: &str = "90.2.0";
pub(super) const LATER: &str = "90.3.0";
pub(super) const LAST: &str = "90.4.0";

/// Follows every release, in the order of the checks.
pub(super) const STABLE: &str = "stable";
/// Two releases with a barrier between them, and one more.
pub(super) const CHAIN: &str = "chain";
/// Offers the broken release only, so that nothing is left once it is refused.
pub(super) const BREAKING: &str = "breaking";
/// Of the scenario that every run has.
pub(super) const SHORT: &str = "short";
/// Of a cluster that rolls.
pub(in crate::scenario) const ROLLING: &str = "rolling";
const CHANNELS: [&str; 5] = [STABLE, CHAIN, BREAKING, SHORT, ROLLING];

#[derive(Debug)]
pub(crate) struct Releases {
    directory: PathBuf,
    tools: Tools,
    built: RefCell<BTreeMap<String, Built>>,
    published: RefCell<BTreeSet<String>>,
    publisher: RefCell<Publisher>,
}

impl Releases {
    pub(crate) fn new(directory: &Path, tools: &Tools) -> Result<Self> {
        let repository = directory.join("published");
        let mut publisher = Publisher::new(&repository, &tools.strake_release(), &CHANNELS)?;
        publisher.serve()?;
        Ok(Self {
            directory: directory.to_owned(),
            tools: tools.clone(),
            built: RefCell::default(),
            published: RefCell::default(),
            publisher: RefCell::new(publisher),
        })
    }

    pub(in crate::scenario) fn publisher(&self) -> RefMut<'_, Publisher> {
        self.publisher.borrow_mut()
    }

    /// Built when it is asked for the first time.
    pub(super) fn built(&self, version: &str) -> Result<Built> {
        if let Some(built) = self.built.borrow().get(version) {
            return Ok(built.clone());
        }
        let files: &[_] = if version == BROKEN {
            &breaker::FILES
        } else {
            &[]
        };
        let variant = Variant {
            version,
            files,
            ..Variant::default()
        };
        let built = variant
            .build(&self.directory, &self.tools)
            .with_context(|| format!("building release {version}"))?;
        self.built
            .borrow_mut()
            .insert(version.to_owned(), built.clone());
        Ok(built)
    }

    /// Once is enough.
    pub(in crate::scenario) fn publish(
        &self,
        version: &str,
        channel: &str,
        options: &[&str],
    ) -> Result<Built> {
        let built = self.built(version)?;
        if !self
            .published
            .borrow_mut()
            .insert(format!("{version} in {channel}"))
        {
            return Ok(built);
        }
        let publisher = self.publisher.borrow();
        publisher
            .publish(&built, channel, options)
            .with_context(|| format!("publishing release {version}"))?;
        Ok(built)
    }
}
