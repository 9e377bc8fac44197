//! What `cargo lab bench lock` measures: the real lock with its queue, on a real etcd with as many
//! clients as machines, and in memory with a clock that jumps. Each command prints a JSON object.

mod common;
mod contend;
mod rollout;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Machines that all want the lock at once, each with a connection of its own
    Contend(contend::Contend),
    /// Machines that stand in the queue and get nothing
    Park(contend::Park),
    /// A whole cluster in memory that rolls to a release, or finds out that it is bad
    Rollout(rollout::Rollout),
}

/// The clock moves when nobody has anything to do.
const PAUSED: bool = true;

fn main() -> Result<()> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all();
    let told = match Arguments::parse().command {
        Command::Contend(wanted) => on_threads(builder, contend::contend(wanted)),
        Command::Park(wanted) => on_threads(builder, contend::park(wanted)),
        Command::Rollout(wanted) => {
            builder.start_paused(PAUSED);
            on_threads(builder, rollout::rollout(wanted))
        }
    };
    println!("{}", told?);
    Ok(())
}

fn on_threads<T>(mut builder: Builder, work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = builder.build().context("starting the runtime")?;
    LocalSet::new().block_on(&runtime, work)
}
