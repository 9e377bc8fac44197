//! `strake names`

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use super::RootArg;
use super::output::{Output, columns};
use crate::exit::Exit;
use crate::names::status::Status;
use crate::names::zone::names;

/// Exit code 3: the cluster has no names, or the service has not run since the boot.
#[derive(Debug, Args)]
pub(super) struct Names {
    #[command(flatten)]
    root: RootArg,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Shown {
    domain: String,
    /// Without the domain.
    names: BTreeMap<String, BTreeSet<IpAddr>>,
    problems: BTreeMap<String, String>,
}

impl Names {
    pub(super) fn run(self) -> Result<Exit> {
        let status = Status::load(&self.root.root()).context("reading what is known of names")?;
        let Some(status) = status else {
            eprintln!(
                "strake: no names here: strake-scheduler.service has told none since the boot"
            );
            return Ok(Exit::NothingToDo);
        };
        let mut all: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
        for (unit, addresses) in status.machines.values().flat_map(|places| &places.units) {
            for name in names(unit) {
                all.entry(name).or_default().extend(addresses);
            }
        }
        let shown = Shown {
            domain: status.domain,
            names: all,
            problems: status.problems,
        };
        self.output.print(&shown, || table(&shown))?;
        Ok(Exit::Done)
    }
}

fn table(shown: &Shown) -> String {
    let head = ["NAME", "ADDRESSES"].map(str::to_string);
    let mut rows = vec![head.to_vec()];
    rows.extend(shown.names.iter().map(|(name, addresses)| {
        let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        let addresses = match addresses.is_empty() {
            true => "-".to_string(),
            false => addresses.join(", "),
        };
        vec![format!("{name}.{}", shown.domain), addresses]
    }));
    let problems = shown.problems.iter();
    let problems = problems.map(|(subject, problem)| format!("problem: {subject}: {problem}\n"));
    columns(&rows) + &problems.collect::<String>()
}
