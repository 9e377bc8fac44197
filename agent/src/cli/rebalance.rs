//! `strake machine rebalance`: units go where they are better off, once or by a policy.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::output::{Output, columns};
use super::unit::machine;
use crate::exit::Exit;
use crate::scheduler::clock;
use crate::scheduler::engine::LEAST_EVERY;
use crate::scheduler::keys::{Move, Policy};
use crate::scheduler::model::{Feed, Model};
use crate::scheduler::name::UnitName;
use crate::scheduler::orders;
use crate::scheduler::plan;
use crate::store::Outcome;
use crate::store::etcd::Etcd;

#[derive(Debug, Args)]
pub(super) struct Rebalance {
    /// Move nothing, only tell
    #[arg(long)]
    dry_run: bool,
    /// How many units to move at most
    #[arg(long, value_name = "NUMBER", default_value_t = 10,
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    moves: u16,
    /// By how much a unit has to cost less on the other machine
    #[arg(long, value_name = "COST", default_value_t = 20,
          value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    gain: i64,
    /// Let the leader do so by itself, so many seconds after the last time
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["dry_run", "never", "no_block"],
          value_parser = clap::value_parser!(u64).range(LEAST_EVERY..=86_400))]
    every: Option<u64>,
    /// The leader does so by itself no more
    #[arg(long, conflicts_with_all = ["dry_run", "no_block"])]
    never: bool,
    /// Do not wait until the units are there
    #[arg(long)]
    no_block: bool,
    /// How many seconds to wait at most
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Better {
    unit: String,
    from: String,
    to: String,
    gain: i64,
}

impl Rebalance {
    pub(super) async fn run(self, store: &Etcd) -> Result<Exit> {
        if self.never || self.every.is_some() {
            return self.policy(store).await;
        }
        let mut feed = Feed::open(store).await?;
        let snapshot = feed.model.snapshot(&BTreeMap::new(), clock::now());
        let moves = plan::rebalance(&snapshot, self.moves.into(), self.gain);
        self.tell(&moves)?;
        if moves.is_empty() {
            return Ok(Exit::NothingToDo);
        }
        if self.dry_run {
            return Ok(Exit::Done);
        }
        let wish = |m: plan::Move| (m.unit, Move::new(m.from, m.to));
        let wishes: Vec<(UnitName, Move)> = moves.into_iter().map(wish).collect();
        orders::ask_to_move(store, &wishes).await?;
        if self.no_block {
            return Ok(Exit::Done);
        }
        let timeout = Duration::from_secs(self.timeout);
        let waited = tokio::time::timeout(timeout, wait(store, feed, &wishes)).await;
        match waited {
            Ok(result) => result.map(|()| Exit::Done),
            Err(_) => {
                eprintln!(
                    "strake: not all units are there after {} s; the leader goes on with it",
                    self.timeout
                );
                Ok(Exit::Failed)
            }
        }
    }

    async fn policy(&self, store: &Etcd) -> Result<Exit> {
        let policy = self.every.map(|every| Policy {
            every,
            moves: self.moves.into(),
            gain: self.gain,
        });
        Ok(match orders::set_policy(store, policy.as_ref()).await? {
            Outcome::Done(_) => Exit::Done,
            Outcome::Refused => Exit::NothingToDo,
        })
    }

    fn tell(&self, moves: &[plan::Move]) -> Result<()> {
        let row = |better: &plan::Move| Better {
            unit: better.unit.to_string(),
            from: better.from.to_string(),
            to: better.to.to_string(),
            gain: better.gain,
        };
        let rows: Vec<Better> = moves.iter().map(row).collect();
        self.output.print(&rows, || {
            let head = ["UNIT", "FROM", "TO", "GAIN"].map(str::to_string);
            let cells = rows.iter().map(|row| {
                let short = |id: &str| format!("{}...", id.get(..8).unwrap_or(id));
                let gain = row.gain.to_string();
                vec![row.unit.clone(), short(&row.from), short(&row.to), gain]
            });
            columns(&[head.to_vec()].into_iter().chain(cells).collect::<Vec<_>>())
        })
    }
}

/// Until the leader has done with all of them, each told once; where a unit has come to is told
/// too, since it may be elsewhere than it was to go.
async fn wait(store: &Etcd, mut feed: Feed, wishes: &[(UnitName, Move)]) -> Result<()> {
    let asked: BTreeSet<&UnitName> = wishes.iter().map(|(name, _)| name).collect();
    let mut seen: BTreeSet<&UnitName> = BTreeSet::new();
    loop {
        let moves = &feed.model.moves;
        seen.extend(asked.iter().filter(|name| moves.contains_key(**name)));
        let done: Vec<&UnitName> = seen.iter().copied().collect();
        if done.len() == asked.len() && !done.iter().any(|name| moves.contains_key(*name)) {
            for name in done {
                eprintln!("strake: {name} is {}", place(&feed.model, name));
            }
            return Ok(());
        }
        if feed.advance().await.is_err() {
            feed = Feed::open(store).await?;
            // What was asked for before this reading may be done already.
            seen.clone_from(&asked);
        }
    }
}

fn place(model: &Model, name: &UnitName) -> String {
    match model.holders(name).first() {
        Some(id) => format!("on {}", machine(model, id)),
        None => "on no machine".to_string(),
    }
}
