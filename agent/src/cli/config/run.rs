//! `strake config run`: the network phase. Sources in the network are asked, and everything that
//! waited for them or for an address is applied.

use std::io::Write;

use anyhow::Result;
use clap::Args;

use super::{RootArg, make_live, refuse_other_systems};
use crate::cli::runtime::on_one_thread;
use crate::config::network::{self, Contact};
use crate::exit::Exit;
use crate::fetch::Policy;
use crate::root::Root;

#[derive(Debug, Args)]
pub(in crate::cli) struct Run {
    #[command(flatten)]
    root: RootArg,
}

impl Run {
    pub(super) fn run(self) -> Result<Exit> {
        let root = self.root.root();
        if let Err(exit) = refuse_other_systems(&root) {
            return Ok(exit);
        }
        let report = on_one_thread(network::apply(&root, &Policy::default()))??;
        let problems = report.record.problems.iter();
        for problem in problems.filter(|problem| problem.level != "info") {
            eprintln!("strake: cloud-config {problem}");
        }
        for complaint in &report.complaints {
            say_on_console(&root, &format!("strake: cloud-config {complaint}"));
        }
        let Some(applied) = report.applied else {
            return Ok(Exit::BadInput);
        };
        make_live(&root, &applied.plan, &applied.changes, &applied.occasion)?;
        Ok(match report.contact {
            Contact::Missing => Exit::Failed,
            Contact::Made if applied.changes_machine() => Exit::Done,
            Contact::Made => Exit::NothingToDo,
        })
    }
}

/// For whoever looks at a machine that cannot be reached yet. Best effort: the record has it all.
fn say_on_console(root: &Root, line: &str) {
    let Ok(path) = root.follow("/dev/console".as_ref()) else {
        return;
    };
    if let Ok(mut console) = std::fs::OpenOptions::new().append(true).open(path) {
        let _ = writeln!(console, "{line}");
    }
}
