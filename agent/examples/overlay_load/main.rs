//! What `cargo lab bench overlay` measures: the built `strake overlay run` on machines that are
//! network namespaces with the kernel's own vxlan and a real etcd, and the reconciler alone with a
//! kernel that only remembers. Each command prints a JSON object.

mod join;
mod net;
mod reconcile;
mod throughput;
mod watch;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Leases through the service, without a kernel
    Reconcile {
        #[arg(long)]
        leases: usize,
    },
    /// Machines that join at once, one by one, rest and go
    Join(Site),
    /// iperf3 through the overlay and through a vxlan made by hand
    Throughput(Site),
}

#[derive(Args)]
pub(crate) struct Site {
    /// The program `strake`
    #[arg(long)]
    strake: String,
    /// Machines
    #[arg(long, default_value_t = 2)]
    machines: usize,
    /// Seconds of one iperf3 run
    #[arg(long, default_value_t = 1)]
    seconds: u64,
    /// etcd: the program, and its first arguments
    #[arg(last = true, required = true)]
    etcd: Vec<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let told = match arguments.command {
        Command::Reconcile { leases } => reconcile::run(leases)?,
        Command::Join(site) => join::run(&site)?,
        Command::Throughput(site) => throughput::run(&site)?,
    };
    println!("{told}");
    Ok(())
}

/// Runs on this thread: whoever is in a network namespace stays in it.
pub(crate) fn on_one_thread<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let tasks = tokio::task::LocalSet::new();
    Ok(tasks.block_on(&runtime, future))
}
