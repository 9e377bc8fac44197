//! `strake lock ...`: the cluster's reboot lock.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use super::output::{Output, columns};
use super::runtime::on_one_thread;
use super::store::connect;
use crate::exit::Exit;
use crate::lock::keys::Group;
use crate::lock::semaphore::{Max, Taken};
use crate::lock::{Claim, Error, Lock, Status, Takeover, Twin, fleetlock};
use crate::metrics::{self, Registry};
use crate::reboot::own;
use crate::reboot::settings::{Environment, Settings};
use crate::root::Root;
use crate::scheduler::service::{until_certified, until_renewed};
use crate::store::etcd::Etcd;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Places, who holds one and for what, who waits, and what was taken over
    Status {
        #[command(flatten)]
        group: GroupArg,
        #[command(flatten)]
        output: Output,
    },
    /// Take a place, for this machine or another one. Exit code 3: it holds one already
    Lock {
        /// Machine id; this machine's when it is left out
        id: Option<String>,
        #[command(flatten)]
        group: GroupArg,
    },
    /// Free a place, whoever holds it. Exit code 3: nobody of that id does
    Unlock {
        /// Machine id; this machine's when it is left out
        id: Option<String>,
        #[command(flatten)]
        group: GroupArg,
    },
    /// How many machines may be away at once: a number from 1, or a share of the live machines
    /// such as 10% (never less than one)
    SetMax {
        #[arg(value_name = "N|P%")]
        max: Max,
        #[command(flatten)]
        group: GroupArg,
    },
    /// Let FleetLock clients take and free places over HTTP (run by strake-fleetlock.service)
    Serve {
        /// Address and port; strake.reboot.fleetlock's when it is left out
        #[arg(long, value_name = "ADDRESS:PORT")]
        listen: Option<SocketAddr>,
    },
    /// Throw away a value that cannot be read: nobody holds the lock then, and max is 1
    Reset {
        #[command(flatten)]
        group: GroupArg,
    },
}

#[derive(Debug, Args)]
pub(super) struct GroupArg {
    /// Machines that share one lock
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        env = "LOCKSMITHD_GROUP"
    )]
    group: String,
}

impl GroupArg {
    async fn lock(&self) -> Result<Lock<Etcd>> {
        Ok(Lock::new(connect().await?, Group::named(&self.group)))
    }
}

pub(super) fn run(command: Command) -> Result<Exit> {
    on_one_thread(LocalSet::new().run_until(async {
        match command {
            Command::Serve { listen } => serve(listen).await,
            Command::Status { group, output } => {
                let status = group.lock().await?.status().await?;
                output.print(&Shown::from(status.clone()), || table(&status))?;
                Ok(Exit::Done)
            }
            Command::Lock { id, group } => {
                let id = own_or(id)?;
                match group.lock().await?.lock_by_hand(&id).await? {
                    Taken::Now => Ok(Exit::Done),
                    Taken::Before => {
                        eprintln!("{id} holds the lock already");
                        Ok(Exit::NothingToDo)
                    }
                }
            }
            Command::Unlock { id, group } => {
                let id = own_or(id)?;
                match group.lock().await?.unlock_by_hand(&id).await? {
                    true => Ok(Exit::Done),
                    false => {
                        eprintln!("{id} does not hold the lock");
                        Ok(Exit::NothingToDo)
                    }
                }
            }
            Command::SetMax { max, group } => {
                let (before, now) = group.lock().await?.set_max(max).await?;
                println!("max was {before}, is {now}");
                Ok(Exit::Done)
            }
            Command::Reset { group } => {
                let lock = group.lock().await?;
                match lock.read().await {
                    Err(Error::Corrupt { .. }) => lock.reset().await?,
                    Err(error) => return Err(error.into()),
                    Ok(_) => {
                        eprintln!("the lock is well: free places with `strake lock unlock`");
                        return Ok(Exit::NothingToDo);
                    }
                }
                Ok(Exit::Done)
            }
        }
    }))?
}

/// Until the machine has another certificate; the next start uses it.
async fn serve(listen: Option<SocketAddr>) -> Result<Exit> {
    let root = Root::new("/");
    until_certified(&root).await;
    let settings = Settings::read(&root, &Environment::read())?;
    let Some(listen) = listen.or(settings.fleetlock) else {
        eprintln!("strake.reboot.fleetlock is not set, and --listen is not given");
        return Ok(Exit::BadInput);
    };
    let listener = TcpListener::bind(listen).await;
    let listener = listener.with_context(|| format!("listening at {listen}"))?;
    let store = connect().await?;
    let figures = Registry::default();
    let renewed = async {
        match &settings.store {
            Some(followed) => until_renewed(&root, followed).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        never = fleetlock::serve(listener, store, figures.clone()) => never,
        never = metrics::offer(&root, "fleetlock", &figures) => never,
        () = renewed => Ok(Exit::Done),
    }
}

pub(super) fn own_or(id: Option<String>) -> Result<String> {
    match id {
        Some(id) => Ok(id),
        None => own::machine_id(&Root::new("/")).context("finding this machine's id"),
    }
}

#[derive(Debug, Serialize)]
struct Shown {
    available: i64,
    max: i64,
    max_wanted: String,
    holders: Vec<Holder>,
    waiting: Vec<Claim>,
    takeovers: Vec<Takeover>,
    twins: Vec<Twin>,
}

#[derive(Debug, Serialize)]
struct Holder {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    claim: Option<Claim>,
}

impl From<Status> for Shown {
    fn from(status: Status) -> Shown {
        let holder = |(id, claim)| Holder { id, claim };
        Shown {
            available: status.semaphore.free(),
            max: status.semaphore.max(),
            max_wanted: status.max.to_string(),
            holders: status.holders.into_iter().map(holder).collect(),
            waiting: status.waiting,
            takeovers: status.takeovers,
            twins: status.twins,
        }
    }
}

fn table(status: &Status) -> String {
    let max = match status.max {
        Max::Machines(max) => max.to_string(),
        share @ Max::Percent(_) => format!("{} ({share} of the machines)", status.semaphore.max()),
    };
    let free = status.semaphore.free();
    let waiting = status.waiting.len();
    let mut text = format!("available  {free}\nmax        {max}\nwaiting    {waiting}\n");
    if !status.holders.is_empty() {
        let mut rows = vec![row(["HOLDER", "RELEASE", "REASON", "SINCE", "BOOT"])];
        rows.extend(status.holders.iter().map(|(id, claim)| match claim {
            Some(claim) => row([
                id,
                &claim.release,
                &claim.reason,
                &claim.since.to_string(),
                claim.boot.get(..8).unwrap_or(&claim.boot),
            ]),
            None => row([id, "-", "taken by another program", "-", "-"]),
        }));
        text += &format!("\n{}", columns(&rows));
    }
    for twin in &status.twins {
        text += &format!(
            "\nALARM: two machines have the id {} (boots {} and {}): give one another id\n",
            twin.id, twin.boots[0], twin.boots[1]
        );
    }
    if !status.takeovers.is_empty() {
        let mut rows = vec![row(["TAKEN OVER FROM", "BY", "AT", "LOST FOR", "REASON"])];
        rows.extend(status.takeovers.iter().map(|takeover| {
            row([
                &takeover.id,
                &takeover.by,
                &takeover.at.to_string(),
                &format!("{} s", takeover.lost_seconds),
                &takeover.claim.reason,
            ])
        }));
        text += &format!("\n{}", columns(&rows));
    }
    text
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_string).to_vec()
}
