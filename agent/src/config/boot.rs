//! The phase before PID 1: the best usable configuration is applied, and always one is.
//!
//! In this order: the user's, the last good one, the vendor's alone, none. What is wrong with a
//! configuration that was passed over is in the report and in the record.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use strake_cloud_config::plan::Phase;
use strake_cloud_config::{Addresses, Plan};

use super::record::{self, Outcome, Problem, Record, digest};
use super::{Layers, context, trial};
use crate::apply::tree::{Node, Tree};
use crate::apply::write::Change;
use crate::apply::written::Leftovers;
use crate::apply::{self, Moment};
use crate::root::Root;
use crate::source::{Sources, Text, azure_disc, drive};

const ENVIRONMENT: &str = "/etc/environment";

/// A plan to put in force, with what else is written along with it.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    pub(super) plan: &'a Plan,
    pub(super) moment: Moment,
    pub(super) also: Tree,
}

/// What was put in force.
#[derive(Debug)]
pub struct Report {
    pub record: Record,
    pub changes: Vec<Change>,
}

pub fn apply(root: &Root, sources: &Sources) -> Result<Report> {
    let mut problems: Vec<Problem> = sources
        .warnings
        .iter()
        .map(|text| Problem::whole("sources", "warning", text))
        .collect();
    let last_good = trial::last_good(root).map(|bytes| Text {
        name: "last good config".to_string(),
        bytes,
    });
    let user = sources.user.as_ref().map(|text| &*text.bytes);
    let (boots, tries) = trial::one_more(root, user)?;
    for candidate in candidates(root, sources, last_good.as_ref(), boots, &mut problems) {
        match candidate.attempt(root, sources, &tries, &problems) {
            Ok(report) => return Ok(report),
            Err(refused) => problems.extend(refused),
        }
    }
    for problem in &problems {
        eprintln!("strake: cloud-config {problem}");
    }
    bail!("no configuration could be put in force");
}

/// One way the machine could be configured.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub(super) layers: Layers<'a>,
    pub(super) outcome: Outcome,
}

/// Why this text is not tried once more, when `boots` have begun with it.
pub(super) fn failed_before(root: &Root, user: &Text, boots: u32) -> Option<Problem> {
    trial::last_good(root).filter(|good| *good != user.bytes)?;
    let failed = trial::failed(root).filter(|failed| failed.digest == digest(&user.bytes));
    let text = match failed {
        Some(failed) => format!("the last boot with it was not healthy: {}", failed.reason),
        None if boots > trial::MOST_TRIES => format!(
            "{} boots with it ended before anybody could tell whether they were healthy",
            trial::MOST_TRIES
        ),
        None => return None,
    };
    Some(Problem::whole(&user.name, "error", &text))
}

fn candidates<'a>(
    root: &Root,
    sources: &'a Sources,
    last_good: Option<&'a Text>,
    boots: u32,
    problems: &mut Vec<Problem>,
) -> Vec<Candidate<'a>> {
    let vendor = Layers {
        oem: sources.oem.as_ref(),
        metadata: sources.metadata.as_ref(),
        user: None,
    };
    let mut list = Vec::new();
    let mut fallback = Outcome::Default;
    if let Some(user) = &sources.user {
        fallback = Outcome::Rejected;
        match failed_before(root, user, boots) {
            Some(problem) => problems.push(problem),
            None => list.push(Candidate {
                layers: Layers {
                    user: Some(user),
                    ..vendor
                },
                outcome: Outcome::Applied,
            }),
        }
        list.extend(last_good.map(|good| Candidate {
            layers: Layers {
                user: Some(good),
                ..vendor
            },
            outcome: Outcome::LastGood,
        }));
    }
    list.push(Candidate {
        layers: vendor,
        outcome: fallback,
    });
    list.push(Candidate {
        layers: Layers::default(),
        outcome: fallback,
    });
    list
}

impl Candidate<'_> {
    fn attempt(
        &self,
        root: &Root,
        sources: &Sources,
        tries: &Node,
        earlier: &[Problem],
    ) -> Result<Report, Vec<Problem>> {
        let checked = self.layers.check(context(root, Addresses::default()));
        let found: Vec<Problem> = checked.findings.iter().map(Problem::from).collect();
        let Some(plan) = checked.plan() else {
            return Err(found);
        };
        let mut later = later(&plan, sources).map_err(|cause| vec![self.error(&cause)])?;
        later.insert(PathBuf::from(trial::TRIES), tries.clone());
        let attempt = Attempt {
            plan: &plan,
            moment: Moment::BeforeBoot,
            also: later,
        };
        self.put(root, attempt, earlier, found)
    }

    /// In force and recorded, or nothing is changed.
    pub(super) fn put(
        &self,
        root: &Root,
        attempt: Attempt<'_>,
        earlier: &[Problem],
        mut found: Vec<Problem>,
    ) -> Result<Report, Vec<Problem>> {
        let problem = |level: &str, text: &str| Problem::whole(self.name(), level, text);
        let mut prepared =
            match apply::prepare(root, attempt.plan, attempt.moment, self.leftovers()) {
                Ok(prepared) => prepared,
                Err(cause) => return Err(vec![self.error(&cause)]),
            };
        let warnings = prepared.warnings.iter();
        found.extend(warnings.map(|text| problem("warning", text)));
        if !prepared.refusals.is_empty() {
            let refusals = prepared.refusals.iter();
            found.extend(refusals.map(|text| problem("error", text)));
            return Err(found);
        }
        let record = self.record([earlier, &found].concat());
        prepared.tree.extend(attempt.also);
        self.add_record(root, &record, &mut prepared.tree)
            .and_then(|()| prepared.write(root).context("writing the configuration"))
            .map(|changes| Report { record, changes })
            .map_err(|cause| vec![self.error(&cause)])
    }

    /// That a source has no user-data now is no reason to take down what runs.
    fn leftovers(&self) -> Leftovers {
        match self.layers.user {
            Some(_) => Leftovers::Go,
            None => Leftovers::Stay,
        }
    }

    pub(super) fn name(&self) -> &str {
        self.layers.user.map_or("config", |text| text.name.as_str())
    }

    fn error(&self, cause: &anyhow::Error) -> Problem {
        Problem::whole(self.name(), "error", &format!("{cause:#}"))
    }

    fn record(&self, problems: Vec<Problem>) -> Record {
        Record {
            source: self.layers.user.map(|text| text.name.clone()),
            digest: self.layers.user.map(|text| digest(&text.bytes)),
            outcome: self.outcome,
            problems,
        }
    }

    fn add_record(&self, root: &Root, record: &Record, tree: &mut Tree) -> Result<()> {
        let json = serde_json::to_string_pretty(record).context("writing the record")?;
        let user = self.layers.user.map(|text| text.bytes.clone());
        let on_trial = user.clone().filter(|bytes| {
            self.outcome == Outcome::Applied && trial::last_good(root).as_ref() != Some(bytes)
        });
        let metadata = kept(self.layers.metadata)?;
        let mut add = |path: &str, node| tree.insert(PathBuf::from(path), node);
        add(record::RECORD, Node::text(json + "\n"));
        add(record::USER_DATA, private(user));
        add(record::METADATA, private(metadata));
        add(trial::PENDING, private(on_trial));
        Ok(())
    }
}

/// What the later phases of this boot need to know.
fn later(plan: &Plan, sources: &Sources) -> Result<Tree> {
    let waits = |phase| plan_waits_for(plan, phase).then(Vec::new);
    let asks = (!sources.remotes.is_empty()).then(Vec::new);
    let network = waits(Phase::Network).or(asks);
    let (held_up, beside) = match network {
        None => (Node::Absent, Node::Absent),
        Some(_) if sources.remotes.is_empty() && waits_for_environment_only(plan) => {
            (Node::Absent, Node::link(record::NETWORK_SERVICE))
        }
        Some(_) => (Node::link(record::NETWORK_SERVICE), Node::Absent),
    };
    let nodes = [
        (drive::KEPT, private(kept(sources.drive.as_ref())?)),
        (record::WAITING_VAR, private(waits(Phase::AfterVar))),
        (record::WAITING_NETWORK, private(network)),
        (record::LINK_THAT_HOLDS_UP, held_up),
        (record::LINK_BESIDE, beside),
    ];
    let mut tree: Tree = nodes.map(|(path, node)| (PathBuf::from(path), node)).into();
    if let Some(disc) = &sources.disc {
        let node = disc.node().context("writing what the disc said")?;
        tree.insert(PathBuf::from(azure_disc::KEPT), node);
    }
    Ok(tree)
}

fn kept(value: Option<&impl Serialize>) -> Result<Option<Vec<u8>>> {
    let json = value.map(serde_json::to_vec).transpose();
    json.context("writing what the sources said")
}

fn private(content: Option<Vec<u8>>) -> Node {
    match content {
        Some(content) => Node::File {
            content,
            mode: 0o600,
            uid: 0,
            gid: 0,
        },
        None => Node::Absent,
    }
}

/// Every machine has its addresses in this file; the boot need not wait for them.
fn waits_for_environment_only(plan: &Plan) -> bool {
    let mut plan = plan.clone();
    plan.files.retain(|file| file.path != ENVIRONMENT);
    !plan_waits_for(&plan, Phase::Network)
}

fn plan_waits_for(plan: &Plan, phase: Phase) -> bool {
    plan.files.iter().any(|file| file.phase == phase)
        || plan.units.iter().any(|unit| unit.phase == phase)
        || plan.scripts.iter().any(|script| script.phase == phase)
        || plan
            .hostname
            .as_ref()
            .is_some_and(|hostname| hostname.phase == phase)
        || (phase == Phase::Network && plan.users.iter().any(|user| !user.key_imports.is_empty()))
}
