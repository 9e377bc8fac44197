//! The network phase: sources in the network are asked, addresses are known, and what the boot
//! could not do before PID 1 is done.
//!
//! In this order: the config as the sources have it now, else the one in force. A source that does
//! not answer leaves its last answer in force; a config that cannot be used leaves the one in
//! force, and is not kept for the next boot. Both are told in the record.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use strake_cloud_config::{Config, Plan};
use tokio::time::Instant;

use super::boot::{self, Attempt, Candidate};
use super::fetched::{self, Fetched};
use super::record::{self, Outcome, Problem, Record};
use super::running::Running;
use super::{Layers, addresses, context, trial};
use crate::apply::Moment;
use crate::apply::jobs::{Occasion, waiting};
use crate::apply::tree::{Node, Tree};
use crate::apply::write::{self, Change};
use crate::fetch::{self, Access, Client, Failure, Policy};
use crate::root::Root;
use crate::source::remote::{self, cache};
use crate::source::{Local, Sources};

#[derive(Debug)]
pub struct Report {
    pub record: Record,
    /// None: nothing could be put in force.
    pub applied: Option<Applied>,
    /// What keeps the machine from being as its sources want it, one line each.
    pub complaints: Vec<Problem>,
    pub contact: Contact,
}

#[derive(Debug)]
pub struct Applied {
    pub plan: Plan,
    pub changes: Vec<Change>,
    pub occasion: Occasion,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// Every source has answered, now or on an earlier boot.
    Made,
    /// One never has, and there is no user's config from elsewhere.
    Missing,
}

impl Applied {
    /// Whether anything but the program's own notes was changed.
    pub fn changes_machine(&self) -> bool {
        let own = |change: &Change| {
            change.path == Path::new(record::RECORD)
                || ["/run/strake/config", "/state/config"]
                    .iter()
                    .any(|dir| change.path.starts_with(dir))
        };
        !self.changes.iter().all(own)
    }
}

/// What the whole phase may take of the time in which the boot has to become healthy.
const SHARE_OF_DEADLINE: u32 = 2;
/// Sources that have answered on an earlier boot have to be quicker: what they said is in force.
const PATIENCE_WITH_KNOWN: Duration = Duration::from_secs(60);
/// As `strake.health.deadline` when it is not set.
const DEADLINE: Duration = Duration::from_secs(600);

pub async fn apply(root: &Root, policy: &Policy) -> Result<Report> {
    let start = Instant::now();
    let running = Running::load(root)?;
    let before = running.check(context(root, Default::default()));
    let waited = before.plan().map(|plan| waiting(&plan)).unwrap_or_default();
    let before = before.config.unwrap_or_default();
    let deadline = before.strake.health.deadline.unwrap_or(DEADLINE);
    let policy = &Policy {
        overall: policy.overall.min(deadline / SHARE_OF_DEADLINE),
        ..*policy
    };
    let access = Access::of(root, &before);
    let mut local = Local::read(root);
    let earlier = local.cache().clone();
    let asked = ask(&mut local, policy, &access).await;
    let sources = local.sources();
    let mut phase = Phase {
        root,
        policy,
        end: start + policy.overall,
        running: &running,
        sources: &sources,
        waited,
        refused: Vec::new(),
        problems: warnings(&sources),
    };
    phase.problems.extend(asked.problems.iter().cloned());
    let mut applied = None;
    for candidate in phase.candidates() {
        if !phase.refused.is_empty() {
            local.cache().take_user_data_back(&earlier);
        }
        let kept = local.cache().node().context("keeping the answers")?;
        match phase.attempt(&candidate, kept).await? {
            Ok(done) => {
                applied = Some(done);
                break;
            }
            Err(refused) => phase.refuse(refused),
        }
    }
    let has_user = running.layers().user.is_some() || sources.user.is_some();
    let contact = match asked.unheard && !has_user {
        true => Contact::Missing,
        false => Contact::Made,
    };
    let mut complaints = asked.problems;
    complaints.extend(phase.refused.iter().cloned());
    let (record, applied) = match applied {
        Some((record, applied)) => (record, Some(applied)),
        None => (phase.only_record()?, None),
    };
    Ok(Report {
        record,
        applied,
        complaints,
        contact,
    })
}

struct Asked {
    problems: Vec<Problem>,
    /// A source has given no answer, not even on an earlier boot.
    unheard: bool,
}

/// Half of the time is left to what the config itself names.
async fn ask(local: &mut Local, policy: &Policy, access: &Access) -> Asked {
    let start = Instant::now();
    let remotes = local.remotes().to_vec();
    let cache = local.cache();
    let all_known = remotes.iter().all(|remote| cache.answer(remote).is_some());
    let patience = match all_known {
        true => PATIENCE_WITH_KNOWN.min(policy.overall / 2),
        false => policy.overall / 2,
    };
    let mut asked = Asked {
        problems: Vec::new(),
        unheard: false,
    };
    for remote in remotes {
        let left = Policy {
            overall: patience.saturating_sub(start.elapsed()),
            ..*policy
        };
        match remote.ask(&left, access).await {
            Ok(answer) => local.cache().keep(answer),
            Err(error) => {
                let is_known = local.cache().answer(&remote).is_some();
                asked.unheard |= !is_known && !is_answer(&error);
                let what_now = match is_known {
                    true => "what it said last stays in force",
                    false => "there is no earlier answer",
                };
                let text = format!("{:#}; {what_now}", anyhow::Error::from(error));
                let name = remote.name();
                asked.problems.push(Problem::whole(&name, "error", &text));
            }
        }
    }
    asked
}

/// To be refused is an answer: asking again at the next boot would bring the same.
fn is_answer(error: &remote::Error) -> bool {
    let remote::Error::Fetch(fetch::Error { failure, .. }) = error else {
        return false;
    };
    matches!(failure, Failure::Status(400..=499))
}

fn warnings(sources: &Sources) -> Vec<Problem> {
    let warnings = sources.warnings.iter();
    warnings
        .map(|text| Problem::whole("sources", "warning", text))
        .collect()
}

struct Phase<'a> {
    root: &'a Root,
    policy: &'a Policy,
    end: Instant,
    running: &'a Running,
    sources: &'a Sources,
    waited: BTreeSet<String>,
    /// Why the config of the sources is not in force.
    refused: Vec<Problem>,
    /// All there is to tell, the refusals included.
    problems: Vec<Problem>,
}

impl<'a> Phase<'a> {
    fn candidates(&mut self) -> Vec<Candidate<'a>> {
        let in_force = self.running.layers();
        let wanted = Layers {
            oem: self.sources.oem.as_ref(),
            metadata: self.sources.metadata.as_ref(),
            user: self.sources.user.as_ref(),
        };
        let mut list = Vec::new();
        match wanted.user.and_then(|user| {
            boot::failed_before(self.root, user, trial::tries(self.root, &user.bytes))
        }) {
            Some(problem) => self.refuse(vec![problem]),
            None => list.push(Candidate {
                layers: wanted,
                outcome: match wanted.user {
                    Some(_) => Outcome::Applied,
                    None => Outcome::Default,
                },
            }),
        }
        let text = |layers: &Layers<'a>| layers.user.map(|user| &user.bytes);
        if list.is_empty() || text(&in_force) != text(&wanted) {
            list.push(Candidate {
                layers: Layers {
                    user: in_force.user,
                    ..wanted
                },
                outcome: self.running.record.outcome,
            });
        }
        list
    }

    fn refuse(&mut self, problems: Vec<Problem>) {
        self.refused.extend(problems.iter().cloned());
        self.problems.extend(problems);
    }

    async fn attempt(
        &self,
        candidate: &Candidate<'_>,
        answers: Node,
    ) -> Result<Result<(Record, Applied), Vec<Problem>>> {
        let checked = candidate
            .layers
            .check(context(self.root, Default::default()));
        let wanted = checked.config.unwrap_or_default();
        let metadata = candidate.layers.metadata;
        let addresses = addresses::of(self.root, &wanted.strake.addresses, metadata)?;
        let checked = candidate.layers.check(context(self.root, addresses));
        let mut found: Vec<Problem> = checked.findings.iter().map(Problem::from).collect();
        let Some(plan) = checked.plan() else {
            return Ok(Err(found));
        };
        let fetched = self.fetch(&wanted, plan, candidate.name()).await?;
        found.extend(fetched.problems.iter().cloned());
        let answers = (PathBuf::from(cache::CACHE), answers);
        let keys = fetched.kept().context("keeping imported keys")?;
        let attempt = Attempt {
            plan: &fetched.plan,
            moment: Moment::Running,
            also: Tree::from([answers, keys]),
        };
        let put = candidate.put(self.root, attempt, &self.problems, found);
        Ok(put.map(|report| {
            let arrived = report.record.digest != self.running.record.digest;
            let occasion = match arrived {
                true => Occasion::Arrived,
                false => Occasion::Boot {
                    waited: self.waited.clone(),
                },
            };
            let applied = Applied {
                plan: fetched.plan,
                changes: report.changes,
                occasion,
            };
            (report.record, applied)
        }))
    }

    async fn fetch(&self, config: &Config, plan: Plan, name: &str) -> Result<Fetched> {
        let access = Access::of(self.root, config);
        // The time that the sources have left, and an earlier candidate.
        let left = Policy {
            overall: self.end.saturating_duration_since(Instant::now()),
            ..*self.policy
        };
        let client = Client::of_world(left, &access).context("setting up the client")?;
        Ok(fetched::fetch(self.root, plan, &client, name).await)
    }

    fn only_record(&self) -> Result<Record> {
        let record = Record {
            problems: self.problems.clone(),
            ..self.running.record.clone()
        };
        let json = serde_json::to_string_pretty(&record).context("writing the record")?;
        write::write_one(self.root, record::RECORD, Node::text(json + "\n"))
            .context("keeping the record")?;
        Ok(record)
    }
}
