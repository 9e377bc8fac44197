//! The parts that `cargo lab bench scheduler` measures: the real agent, engine, orders, API and
//! store client against a real etcd. Only systemd is left out: units run the moment they are
//! started. Each command is a process of its own, so that what it uses can be told apart.

mod cluster;
mod idle_host;
mod load;
mod seen;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use strake_agent::store::etcd::{Etcd, Settings};
use tokio::task::LocalSet;

#[derive(Parser)]
struct Arguments {
    /// etcd's address, without TLS
    #[arg(long)]
    endpoint: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Leads the scheduler until it is ended
    Engine,
    /// Is some machines until it is ended
    Agents(Agents),
    /// Submits units and tells when all of them run; prints a JSON object
    Load(Load),
    /// Submits units one by one through fleet's API; prints a JSON object
    Api(Api),
    /// Waits until units are given to machines, in any state; prints a JSON object
    Placed(Count),
    /// Waits until machines are registered; prints a JSON object
    Registered(Count),
    /// Waits until units run on other machines than this one; prints a JSON object
    Moved(Moved),
}

#[derive(Args)]
struct Agents {
    #[arg(long)]
    count: usize,
    /// The number of the first one
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// Of the machines' leases, in seconds; renewed three times within it
    #[arg(long, default_value_t = 60)]
    lease: u64,
    /// Where fleet's API is served
    #[arg(long)]
    socket: Option<PathBuf>,
}

#[derive(Args)]
struct Load {
    #[command(flatten)]
    count: Count,
    /// Submitted at the same time
    #[arg(long, default_value_t = 64)]
    at_once: usize,
    #[arg(long, default_value = "load")]
    name: String,
    /// Submitted only: nobody waits for them
    #[arg(long)]
    no_wait: bool,
}

#[derive(Args)]
struct Api {
    #[command(flatten)]
    count: Count,
    #[arg(long)]
    socket: PathBuf,
}

#[derive(Args)]
struct Count {
    #[arg(long)]
    count: usize,
}

#[derive(Args)]
struct Moved {
    /// The number of the machine that is lost
    #[arg(long)]
    from: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let settings = Settings {
        endpoints: vec![arguments.endpoint],
        ca: None,
        cert: None,
        key: None,
    };
    LocalSet::new()
        .run_until(run(&settings, arguments.command))
        .await
}

async fn run(settings: &Settings, command: Command) -> Result<()> {
    let store = Etcd::connect(settings).await?;
    let told = match command {
        Command::Engine => cluster::engine(store).await,
        Command::Agents(wanted) => cluster::agents(settings, &wanted).await,
        Command::Load(wanted) => load::load(&store, &wanted).await,
        Command::Api(wanted) => load::through_api(&store, &wanted).await,
        Command::Placed(wanted) => seen::placed(&store, wanted.count).await,
        Command::Registered(wanted) => seen::registered(&store, wanted.count).await,
        Command::Moved(wanted) => seen::moved(&store, wanted.from).await,
    }?;
    println!("{}", serde_json::to_string(&told).context("as JSON")?);
    Ok(())
}
