//! What only the machine of a unit knows: systemd's whole word and the journal.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::find;
use crate::cli::output::{Reader, print, write};
use crate::cli::store::settings;
use crate::exit::Exit;
use crate::peer::{Credentials, Error, Local, MAX_LINES, Peers, Reach, Stream, Wanted};
use crate::root::Root;
use crate::scheduler::facts;
use crate::scheduler::name::UnitName;
use crate::store::etcd::Etcd;

/// Between two looks for a unit that has left.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(in crate::cli) struct Journal {
    #[arg(value_name = "UNIT")]
    unit: String,
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
    /// How many lines of the past
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_LINES)))]
    lines: u32,
    /// journalctl's format: short, short-iso, json, cat, ...
    #[arg(short, long, value_name = "FORMAT", default_value = "short")]
    output: String,
    /// Of several machines that hold it, ask this one: its id or the first 8 characters
    #[arg(long, value_name = "ID")]
    machine: Option<String>,
}

impl Journal {
    pub(super) async fn run(self, store: Etcd) -> Result<Exit> {
        let unit = find::known(&self.unit)?;
        let wanted = Wanted {
            lines: self.lines,
            follow: self.follow,
            output: self.output,
        };
        let wanted = match wanted.checked() {
            Ok(wanted) => wanted,
            Err(wrong) => {
                eprintln!("strake: error: {wrong}");
                return Ok(Exit::BadInput);
            }
        };
        let reach = reach(store)?;
        let machine = self.machine.as_deref();
        let mut journal = match reach.journal(&unit, machine, &wanted).await {
            Ok(journal) => journal,
            Err(error) => return told(error),
        };
        loop {
            let ended = copy(&mut journal).await;
            let (true, None, Ok(Reader::There)) = (self.follow, machine, &ended) else {
                return ended.map(|_| Exit::Done).map_err(Into::into);
            };
            eprintln!("strake: {unit} has left its machine: waiting for where it goes");
            journal = match again(&reach, &unit, &wanted).await {
                Ok(journal) => journal,
                Err(error) => return told(error),
            };
        }
    }
}

async fn copy(journal: &mut Stream) -> std::io::Result<Reader> {
    while let Some(part) = journal.next().await {
        if write(&part?) == Reader::Gone {
            return Ok(Reader::Gone);
        }
    }
    Ok(Reader::There)
}

/// Whatever is between two machines is waited for, but not a unit that nobody knows any more.
async fn again(
    reach: &Reach<Etcd>,
    unit: &UnitName,
    wanted: &Wanted,
) -> std::result::Result<Stream, Error> {
    loop {
        match reach.journal(unit, None, wanted).await {
            Ok(journal) => return Ok(journal),
            Err(error @ (Error::NoUnit(_) | Error::Several { .. })) => return Err(error),
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// What is to be changed by the user ends otherwise than what is to be changed in the cluster.
fn told(error: Error) -> Result<Exit> {
    match error {
        Error::NoUnit(_) | Error::NotThere { .. } | Error::Several { .. } => {
            eprintln!("strake: error: {error}");
            Ok(Exit::BadInput)
        }
        error => Err(error.into()),
    }
}

/// Only root reads the machine's key; without it the own units are told.
fn reach(store: Etcd) -> Result<Reach<Etcd>> {
    let root = Root::new("/");
    let credentials = Credentials::read(&root, &settings()?).unwrap_or_else(|error| {
        eprintln!("strake: other machines cannot be asked: {error:#}");
        None
    });
    let peers = credentials.map(|credentials| Peers::new(&root, &credentials));
    Ok(Reach {
        store,
        local: Local::new(root.clone(), facts::machine_id(&root)?),
        peers: peers.transpose()?,
    })
}

/// Behind what the store knows, the machine's own word, where there is one machine to ask.
pub(super) async fn report(store: Etcd, word: &str, machine: Option<&str>) -> Result<()> {
    let unit = find::known(word)?;
    match reach(store)?.status(&unit, machine).await {
        Ok(report) => print(&format!("\n{}", report.text)),
        Err(Error::Nowhere(_)) => {}
        Err(error) => eprintln!("strake: {error:#}"),
    }
    Ok(())
}
