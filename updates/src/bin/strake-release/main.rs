//! `strake-release`: makes and keeps a repository of signed releases.
//!
//! Commands change drafts; `sign` signs what is drafted and publishes it when enough keys have
//! signed. What is published is plain files under `metadata/` and `targets/` for any web server.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use clap::Parser as _;
use strake_updates::time::Timestamp;

mod add;
mod bar;
mod cli;
mod edit;
mod gc;
mod hold;
mod init;
mod keys;
mod publish;
mod rehearse;
mod remote;
mod repository;
mod rotate;
mod serve;

/// What a command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    NothingToDo,
}

fn main() -> ExitCode {
    let arguments = match cli::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match run(arguments) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::NothingToDo) => ExitCode::from(3),
        Err(error) => {
            eprintln!("strake-release: {error:#}");
            ExitCode::from(if error.is::<cli::BadInput>() { 2 } else { 1 })
        }
    }
}

fn run(arguments: cli::Arguments) -> anyhow::Result<Outcome> {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("reading the clock")?;
    let now = Timestamp::from_unix(since_1970.as_secs());
    arguments.run(now)
}
