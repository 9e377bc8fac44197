//! `strake cluster user add|list|remove`: who may use the API over TCP.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::Subcommand;
use serde::Serialize;

use crate::cli::output::{Output, columns};
use crate::cli::store::{connect, settings};
use crate::cluster::clock::{Clock, seconds};
use crate::exit::Exit;
use crate::fleet::users::{self, Error, Name, Role};
use crate::root::Root;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Make a user's key and certificate: NAME.pem, NAME-key.pem and ca.pem
    Add {
        name: Name,
        /// What the user may do
        #[arg(long, value_enum)]
        role: Role,
        /// How long the certificate is good
        #[arg(long, value_name = "DAYS", default_value_t = 365,
              value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: u32,
        /// Where the files go
        #[arg(long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
    },
    /// All users
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Let the user in no more, from now on
    Remove { name: Name },
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    role: Role,
    days_left: u64,
}

pub(super) async fn run(command: Command) -> Result<Exit> {
    match done(command).await {
        Err(error) if error.downcast_ref::<Error>().is_some_and(is_refused) => {
            eprintln!("strake: error: {error:#}");
            Ok(Exit::BadInput)
        }
        other => other,
    }
}

fn is_refused(error: &Error) -> bool {
    matches!(error, Error::Name | Error::Known(_) | Error::Unknown(_))
}

async fn done(command: Command) -> Result<Exit> {
    let store = connect().await?;
    let now = Clock::load(&Root::new("/")).now();
    match command {
        Command::Add {
            name,
            role,
            days,
            out,
        } => {
            let ca = settings()?.ca;
            let ca = ca.context("the store is used without certificates: there is no ca.pem")?;
            let ca = std::fs::read_to_string(&ca).context("reading the cluster's authority")?;
            let files = [
                format!("{name}.pem"),
                format!("{name}-key.pem"),
                "ca.pem".to_string(),
            ];
            let [certificate, key, authority] = files.map(|file| out.join(file));
            // Before the store knows the user: a name taken on disk leaves nothing behind.
            let mut certificate = create(&certificate, 0o644)?;
            let mut key = create(&key, 0o600)?;
            let granted = users::add(&store, &name, role, (now, DAY * days)).await?;
            certificate.write(&granted.certificate)?;
            key.write(&granted.key)?;
            std::fs::write(&authority, ca)
                .with_context(|| format!("writing {}", authority.display()))?;
            println!(
                "{name} is {}: {}, {}, {}",
                role.word(),
                certificate.keep(),
                key.keep(),
                authority.display()
            );
        }
        Command::Remove { name } => {
            users::remove(&store, &name).await?;
            println!("{name} is removed");
        }
        Command::List { output } => {
            let rows: Vec<Row> = users::list(&store)
                .await?
                .into_iter()
                .map(|(name, user)| Row {
                    name: name.to_string(),
                    role: user.role,
                    days_left: days_left(user.not_after, now),
                })
                .collect();
            output.print(&rows, || {
                let head = ["NAME", "ROLE", "DAYS LEFT"].map(str::to_string).to_vec();
                let cells = rows.iter().map(|row| {
                    let role = row.role.word().to_string();
                    vec![row.name.clone(), role, row.days_left.to_string()]
                });
                columns(&[head].into_iter().chain(cells).collect::<Vec<_>>())
            })?;
        }
    }
    Ok(Exit::Done)
}

fn days_left(not_after: u64, now: SystemTime) -> u64 {
    let now = seconds(now.max(UNIX_EPOCH));
    not_after.saturating_sub(now) / DAY.as_secs()
}

/// A new file that is gone again unless it is kept.
struct New {
    path: PathBuf,
    file: std::fs::File,
    kept: bool,
}

fn create(path: &Path, mode: u32) -> Result<New> {
    let mut options = std::fs::OpenOptions::new();
    let options = options.write(true).create_new(true).mode(mode);
    let file = options.open(path);
    Ok(New {
        file: file.with_context(|| format!("making {}", path.display()))?,
        path: path.to_path_buf(),
        kept: false,
    })
}

impl New {
    fn write(&mut self, text: &str) -> Result<()> {
        let written = self.file.write_all(text.as_bytes());
        written.with_context(|| format!("writing {}", self.path.display()))
    }

    fn keep(mut self) -> String {
        self.kept = true;
        self.path.display().to_string()
    }
}

impl Drop for New {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
