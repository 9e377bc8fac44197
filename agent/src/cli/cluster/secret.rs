//! `strake cluster secret new|list|revoke`

use anyhow::{Context, Result};
use clap::Subcommand;
use serde::Serialize;

use super::Access;
use crate::cli::output::{Output, columns};
use crate::cluster::secret::JoinSecret;
use crate::cluster::store::Standing;
use crate::exit::Exit;
use crate::root::Root;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Make one more secret and print it for the cloud-config of machines that come later; the
    /// others stay good until they are revoked
    #[command(visible_alias = "renew")]
    New,
    /// All secrets by their ids
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Let nobody in with this secret any more; machines that are in stay in
    Revoke {
        /// As `strake cluster secret list` shows it
        #[arg(value_parser = id)]
        id: String,
    },
}

#[derive(Debug, Serialize)]
struct Row {
    id: String,
    standing: Standing,
    /// The one in this machine's cloud-config.
    own: bool,
}

fn id(text: &str) -> Result<String, String> {
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    match text.len() == 16 && text.chars().all(hex) {
        true => Ok(text.to_string()),
        false => Err("an id has 16 digits of 0-9 and a-f".to_string()),
    }
}

pub(super) async fn run(root: &Root, command: Command) -> Result<Exit> {
    let access = Access::load(root)?;
    let mut store = access.store().await?;
    match command {
        Command::New => {
            let secret = JoinSecret::generate().context("asking the kernel for random bytes")?;
            store.add_secret(&secret.id(), &secret.proof_key()).await?;
            println!("join_secret: {secret}");
            eprintln!("Its id is {}.", secret.id());
        }
        Command::Revoke { id } => {
            store.revoke_secret(&id).await?;
            println!("{id} is revoked");
        }
        Command::List { output } => {
            let own = access.settings.join_secret.id();
            let mut all = store.secrets().await?;
            if all.iter().all(|(id, _)| *id != own) {
                all.push((own.clone(), Standing::Good));
            }
            let rows = all.into_iter().map(|(id, standing)| Row {
                own: id == own,
                id,
                standing,
            });
            let rows: Vec<Row> = rows.collect();
            output.print(&rows, || table(&rows))?;
        }
    }
    Ok(Exit::Done)
}

fn table(rows: &[Row]) -> String {
    let mut lines = vec![["ID", "STATE", ""].map(str::to_string).to_vec()];
    lines.extend(rows.iter().map(|row| {
        let standing = match row.standing {
            Standing::Good => "good",
            Standing::Revoked => "revoked",
        };
        let own = match row.own {
            true => "this machine's",
            false => "",
        };
        vec![row.id.clone(), standing.to_string(), own.to_string()]
    }));
    columns(&lines)
}
