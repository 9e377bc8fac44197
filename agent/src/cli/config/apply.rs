//! `strake config apply`: the one command that changes a machine's configuration.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{ArgGroup, Args};
use serde::Serialize;
use strake_cloud_config::report;

use super::{RootArg, make_live, read_input, refuse_other_systems};
use crate::apply::jobs::Occasion;
use crate::apply::tree::{self, Difference};
use crate::apply::written::Leftovers;
use crate::apply::{self, Moment};
use crate::cli::output::{Output, columns, style};
use crate::cli::runtime::on_one_thread;
use crate::config::record::Outcome;
use crate::config::running::Running;
use crate::config::{Layers, addresses, boot, context, fetched};
use crate::exit::Exit;
use crate::fetch::{Access, Client, Policy};
use crate::root::Root;
use crate::source::{self, Sources};
use strake_cloud_config::Plan;
use strake_cloud_config::plan::Body;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["before_boot", "after_var", "file"])))]
pub(in crate::cli) struct Apply {
    /// The machine's own sources, before PID 1 runs; a bad user config gives way to the last good
    #[arg(long)]
    before_boot: bool,
    /// What is in force, the part that had to wait for /var
    #[arg(long)]
    after_var: bool,
    /// This cloud-config instead; `-` is standard input
    file: Option<PathBuf>,
    #[command(flatten)]
    root: RootArg,
    /// Print what would change and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
}

/// One row of the result.
#[derive(Debug, Serialize)]
struct Row {
    path: PathBuf,
    difference: Difference,
}

impl Apply {
    pub(super) fn run(self) -> Result<Exit> {
        let root = self.root.root();
        if let Err(exit) = refuse_other_systems(&root) {
            return Ok(exit);
        }
        match &self.file {
            Some(file) => self.file(&root, file),
            None if self.after_var => self.after_var(&root),
            None => self.before_boot(&root),
        }
    }

    fn before_boot(&self, root: &Root) -> Result<Exit> {
        let sources = source::gather(root);
        if self.dry_run {
            let layers = Layers {
                oem: sources.oem.as_ref(),
                metadata: sources.metadata.as_ref(),
                user: sources.user.as_ref(),
            };
            return self.layers(root, layers, Moment::BeforeBoot);
        }
        put_in_force(root, &sources)
    }

    fn after_var(&self, root: &Root) -> Result<Exit> {
        let running = Running::load(root)?;
        let checked = running.check(context(root, Default::default()));
        let plan = checked
            .plan()
            .context("the config in force is not usable any more")?;
        match finish(root, &plan, &self.doing(Moment::AfterVar))? {
            Ok(rows) => self.print(&rows),
            Err(exit) => Ok(exit),
        }
    }

    fn file(&self, root: &Root, file: &Path) -> Result<Exit> {
        let text = match read_input(file) {
            Ok(text) => text,
            Err(exit) => return Ok(exit),
        };
        let vendor = source::gather(root);
        let layers = Layers {
            oem: vendor.oem.as_ref(),
            metadata: vendor.metadata.as_ref(),
            user: Some(&text),
        };
        let moment = if root.is_machine() {
            Moment::Running
        } else {
            Moment::Offline
        };
        self.layers(root, layers, moment)
    }

    fn layers(&self, root: &Root, layers: Layers, moment: Moment) -> Result<Exit> {
        match bring(root, layers, &self.doing(moment))? {
            Ok(rows) => self.print(&rows),
            Err(exit) => Ok(exit),
        }
    }

    fn doing(&self, moment: Moment) -> Doing {
        Doing {
            moment,
            leftovers: Leftovers::Go,
            wish: match self.dry_run {
                true => Wish::Look,
                false => Wish::Do,
            },
        }
    }

    fn print(&self, rows: &[Row]) -> Result<Exit> {
        let table = || {
            let cells =
                |row: &Row| vec![row.difference.to_string(), row.path.display().to_string()];
            columns(&rows.iter().map(cells).collect::<Vec<_>>())
        };
        self.output.print(&rows, table)?;
        Ok(if rows.is_empty() {
            Exit::NothingToDo
        } else {
            Exit::Done
        })
    }
}

/// `strake config apply --before-boot` on this machine.
pub(in crate::cli) fn before_boot() -> Result<Exit> {
    let root = Root::new("/");
    match refuse_other_systems(&root) {
        Ok(()) => put_in_force(&root, &source::gather(&root)),
        Err(exit) => Ok(exit),
    }
}

fn put_in_force(root: &Root, sources: &Sources) -> Result<Exit> {
    let report = boot::apply(root, sources)?;
    let record = &report.record;
    for problem in record
        .problems
        .iter()
        .filter(|problem| problem.level != "info")
    {
        eprintln!("strake: cloud-config {problem}");
    }
    let user = sources.user.as_ref().map_or("", |text| text.name.as_str());
    let changes = report.changes.len();
    eprintln!(
        "strake: cloud-config: {}",
        match record.outcome {
            Outcome::Default => format!("none given, defaults in force, {changes} changes"),
            Outcome::Applied => format!("{user} in force, {changes} changes"),
            Outcome::LastGood => format!("{user} NOT in force, the last good config is"),
            Outcome::Rejected => format!("{user} NOT in force, and no earlier one is known"),
        }
    );
    Ok(Exit::Done)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Look,
    Do,
}

/// How a config is put in force.
#[derive(Debug)]
struct Doing {
    moment: Moment,
    leftovers: Leftovers,
    wish: Wish,
}

/// For coreos-cloudinit, which only ever added to a machine: what is there stays.
pub(in crate::cli) fn add(root: &Root, layers: Layers) -> Result<Exit> {
    let doing = Doing {
        moment: Moment::Running,
        leftovers: Leftovers::Stay,
        wish: Wish::Do,
    };
    Ok(bring(root, layers, &doing)?.map_or_else(|exit| exit, |_| Exit::Done))
}

/// The changes, or the exit code of a config that cannot be put in force.
fn bring(root: &Root, layers: Layers, doing: &Doing) -> Result<Result<Vec<Row>, Exit>> {
    let moment = doing.moment;
    let addresses = match moment {
        Moment::Running => {
            let wanted = layers.check(Default::default()).config.unwrap_or_default();
            addresses::of(root, &wanted.strake.addresses, layers.metadata)?
        }
        _ => Default::default(),
    };
    let checked = layers.check(context(root, addresses));
    let style = style(&std::io::stderr());
    for (name, problems) in checked.by_source() {
        eprint!("{}", report::human(&problems, name, style));
    }
    let Some(plan) = checked.plan() else {
        return Ok(Err(Exit::BadInput));
    };
    if moment != Moment::Running || doing.wish == Wish::Look {
        let plan = fetched::known(root, plan);
        for file in plan.files.iter().filter(|_| moment == Moment::Running) {
            if let Body::Source(source) = &file.body {
                eprintln!("strake: {} would be fetched: {}", file.path, source.url);
            }
        }
        return finish(root, &plan, doing);
    }
    let access = Access::of(root, &checked.config.unwrap_or_default());
    let client = Client::of_world(Policy::default(), &access)?;
    let fetched = on_one_thread(fetched::fetch(root, plan, &client, "config"))?;
    for problem in &fetched.problems {
        eprintln!("strake: {problem}");
    }
    if !fetched.problems.is_empty() {
        return Ok(Err(Exit::Failed));
    }
    finish(root, &fetched.plan, doing)
}

fn finish(root: &Root, plan: &Plan, doing: &Doing) -> Result<Result<Vec<Row>, Exit>> {
    let prepared = apply::prepare(root, plan, doing.moment, doing.leftovers)?;
    prepared.report();
    if !prepared.refusals.is_empty() {
        return Ok(Err(Exit::BadInput));
    }
    let row = |path: &Path, difference| Row {
        path: path.to_path_buf(),
        difference,
    };
    if doing.wish == Wish::Look {
        let found = tree::differences(root, &prepared.tree).context("comparing")?;
        let rows = found
            .into_iter()
            .map(|(path, _, difference)| row(path, difference));
        return Ok(Ok(rows.collect()));
    }
    let changes = prepared.write(root).context("applying")?;
    if doing.moment == Moment::Running {
        make_live(root, plan, &changes, &Occasion::Now)?;
    }
    let rows = changes
        .into_iter()
        .map(|change| row(&change.path, change.difference));
    Ok(Ok(rows.collect()))
}
