//! `strake scheduler ...`

use anyhow::Result;
use clap::Subcommand;

use super::runtime::on_one_thread;
use crate::exit::Exit;
use crate::root::Root;
use crate::scheduler::service::{self, Environment};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Hold this machine's units as the cluster says (run by strake-scheduler.service)
    ///
    /// The store is etcd, found by /etc/strake/etcd.json ({endpoints, ca, cert, key}) or else at
    /// http://127.0.0.1:2379. FLEET_METADATA (key=value,...) and FLEET_PUBLIC_IP are read from the
    /// environment.
    Run,
}

pub(super) fn run(command: Command) -> Result<Exit> {
    match command {
        Command::Run => {
            let root = Root::new("/");
            let tasks = tokio::task::LocalSet::new();
            on_one_thread(tasks.run_until(service::run(&root, &Environment::read())))??;
            Ok(Exit::Done)
        }
    }
}
