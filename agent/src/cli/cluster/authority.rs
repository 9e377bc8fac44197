//! `strake cluster authority show|new|use|retire`: a new authority in place of the old one, while
//! everybody goes on talking.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use clap::Subcommand;
use serde::Serialize;

use super::Access;
use crate::cli::output::{Output, columns, print};
use crate::cluster::anchor::Anchor;
use crate::cluster::authority::{Authority, Role};
use crate::cluster::clock::seconds;
use crate::cluster::identity;
use crate::cluster::ledger::{Issued, Said};
use crate::cluster::store::Store;
use crate::cluster::trust::{self, Step, Trust};
use crate::exit::Exit;
use crate::root::Root;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Which authorities count, which one signs, and who is behind
    Show {
        #[command(flatten)]
        output: Output,
    },
    /// On a member: the part of the cloud-config to be changed, with the key sealed under this
    /// machine's join secret
    Config,
    /// On a member: make a new one, which is trusted beside the old one from then on
    New,
    /// Let the new one sign: all certificates are made anew. Exit code 1: somebody does not trust
    /// it yet
    Use {
        /// Also when somebody is left out by it
        #[arg(long)]
        force: bool,
    },
    /// Trust the old one no more. Exit code 1: somebody still shows its certificate
    Retire {
        /// Also when somebody is left out by it
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Serialize)]
struct Shown {
    version: u64,
    step: Step,
    authorities: Vec<Row>,
    behind: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    key_id: String,
    signs: bool,
    age_days: u64,
    days_left: u64,
    certificate: String,
}

pub(super) async fn run(root: &Root, command: Command) -> Result<Exit> {
    let access = Access::load(root)?;
    if let (Command::New | Command::Config, Role::Machine) = (&command, access.identity.leaf.role) {
        eprintln!("strake: error: only members have the authority's key: do this on one of them");
        return Ok(Exit::BadInput);
    }
    let mut store = access.store().await?;
    let (written, since) = store.trust().await?;
    let trust = written.unwrap_or_else(|| access.settings.trust.clone());
    let now = access.clock.now();
    let (next, force) = match command {
        Command::Show { output } => {
            let shown = Shown {
                version: trust.version,
                step: trust.step,
                authorities: rows(&trust, now)?,
                behind: look(&mut store, &trust, now).await?,
            };
            output.print(&shown, || table(&shown))?;
            return Ok(Exit::Done);
        }
        Command::Config => {
            print(&part(root, &access, &trust)?);
            return Ok(Exit::Done);
        }
        Command::New => {
            let (certificate, key) = Authority::create(&access.settings.name, now)?;
            let next = trust.introduce(&certificate);
            if next.is_ok() {
                // Before anybody hears of it: without the key nobody could follow.
                identity::keep_new_key(root, &key)?;
            }
            (next, true)
        }
        Command::Use { force } => (trust.put_to_use(), force),
        Command::Retire { force } => (trust.retire(), force),
    };
    let next = match next {
        Ok(next) => next,
        Err(error) => {
            eprintln!("strake: error: {error}");
            return Ok(Exit::BadInput);
        }
    };
    let behind = match force {
        true => Vec::new(),
        false => look(&mut store, &trust, now).await?,
    };
    if !behind.is_empty() {
        for line in &behind {
            eprintln!("strake: {line}");
        }
        eprintln!("strake: error: they would be left out; --force does it all the same");
        return Ok(Exit::Failed);
    }
    if !store.put_trust(&next, since).await? {
        eprintln!("strake: error: somebody else changed it just now: look and try again");
        return Ok(Exit::Failed);
    }
    println!("{}", told(next.step));
    Ok(Exit::Done)
}

fn told(step: Step) -> &'static str {
    match step {
        Step::Introduced => {
            "a new authority is made; etcd begins anew on one member after the other, and all \
             machines learn to trust it.\nNext, when `strake cluster authority show` tells of \
             nobody behind: `strake cluster authority use`"
        }
        Step::Used => {
            "the new authority signs; all machines get certificates of it.\nPut what `strake \
             cluster authority config` prints into the cloud-config of all machines. Then, when \
             `show` tells of\nnobody behind: `strake cluster authority retire`"
        }
        Step::Settled => {
            "the old authority counts no more; etcd begins anew on one member after the other.\n\
             Put what `strake cluster authority config` prints into the cloud-config of all \
             machines"
        }
    }
}

fn rows(trust: &Trust, now: SystemTime) -> Result<Vec<Row>> {
    let row = |pem: &String| {
        let anchor = Anchor::parse(pem)?;
        let left = anchor.not_after.duration_since(now).unwrap_or_default();
        Ok(Row {
            signs: pem == trust.signer(),
            age_days: anchor.age(now).as_secs() / DAY.as_secs(),
            days_left: left.as_secs() / DAY.as_secs(),
            key_id: anchor.key_id,
            certificate: pem.clone(),
        })
    };
    trust.authorities.iter().map(row).collect()
}

fn table(shown: &Shown) -> String {
    let head = ["AUTHORITY", "SIGNS", "AGE", "DAYS LEFT"];
    let mut lines = vec![head.map(str::to_string).to_vec()];
    lines.extend(shown.authorities.iter().map(|row| {
        let signs = match row.signs {
            true => "yes",
            false => "no",
        };
        vec![
            row.key_id.get(..16).unwrap_or(&row.key_id).to_string(),
            signs.to_string(),
            format!("{} days", row.age_days),
            row.days_left.to_string(),
        ]
    }));
    let behind: String = shown
        .behind
        .iter()
        .map(|line| format!("{line}\n"))
        .collect();
    format!("{}{behind}", columns(&lines))
}

/// What stands in the cloud-config of this cluster from now on.
fn part(root: &Root, access: &Access, trust: &Trust) -> Result<String> {
    let keys = identity::keys(root, &access.settings);
    let key = keys
        .iter()
        .find(|key| Authority::load(trust.signer(), key).is_ok());
    let key = key.context("the key of the authority that signs is not here yet")?;
    let sealed = access.settings.join_secret.seal(key);
    let sealed = sealed.context("sealing the authority's key")?;
    let bundle = trust.bundle();
    let ca: String = bundle
        .lines()
        .map(|line| format!("      {line}\n"))
        .collect();
    Ok(format!(
        "strake:\n  cluster:\n    ca: |\n{ca}    ca_key: {sealed}\n"
    ))
}

async fn look(store: &mut Store, trust: &Trust, now: SystemTime) -> Result<Vec<String>> {
    let members = store.members().await?;
    let members = members.iter().filter_map(|member| member.name.parse().ok());
    let revoked = store.revoked_certificates().await?.into_iter();
    let revoked: BTreeSet<String> = revoked.map(|revoked| revoked.serial).collect();
    let issued = store
        .issued()
        .await?
        .into_iter()
        .filter(|issued| issued.not_after > seconds(now) && !revoked.contains(&issued.serial));
    Ok(behind(
        trust,
        &members.collect::<Vec<IpAddr>>(),
        &issued.collect::<Vec<_>>(),
        (
            &store.said(Said::Runs).await?,
            &store.said(Said::Knows).await?,
        ),
        &trust.signer_id()?,
    ))
}

type Versions = BTreeMap<IpAddr, u64>;

/// Pure.
fn behind(
    trust: &Trust,
    members: &[IpAddr],
    issued: &[Issued],
    (runs, knows): (&Versions, &Versions),
    signer: &str,
) -> Vec<String> {
    if trust == &trust::Trust::of_config(&trust.bundle()) {
        return Vec::new();
    }
    let old = members
        .iter()
        .filter(|member| runs.get(member) != Some(&trust.version));
    let mut lines: Vec<String> = old
        .map(|member| format!("{member}: its etcd has not begun anew yet"))
        .collect();
    let addresses: BTreeSet<IpAddr> = issued.iter().map(|issued| issued.address).collect();
    for address in addresses {
        let mut own = issued.iter().filter(|issued| issued.address == address);
        let is_member = own.clone().any(|issued| issued.role == Role::Member);
        let line = match trust.step {
            Step::Introduced if !is_member && knows.get(&address) < Some(&trust.version) => {
                format!("{address}: does not trust the new authority yet")
            }
            Step::Used if own.all(|issued| issued.authority != signer) => {
                format!("{address}: has no certificate of the new authority yet")
            }
            _ => continue,
        };
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_would_be_left_out_is_told() {
        let made = || {
            Authority::create("a", SystemTime::now())
                .expect("an authority")
                .0
        };
        let address = |last: u8| IpAddr::from([10, 9, 0, last]);
        let issued = |last: u8, role, authority: &str| Issued {
            address: address(last),
            serial: authority.to_string(),
            role,
            not_after: 1,
            authority: authority.to_string(),
        };
        let all = [
            issued(1, Role::Member, "old"),
            issued(1, Role::Member, "new"),
            issued(5, Role::Machine, "old"),
            issued(6, Role::Machine, "old"),
            issued(6, Role::Machine, "new"),
        ];
        let settled = Trust::of_config(&made());
        let introduced = settled.introduce(&made()).expect("introduced");
        let used = introduced.put_to_use().expect("in use");
        let done = used.retire().expect("retired");
        let members = [address(1), address(2)];
        for (trust, expected) in [
            (&settled, &[][..]),
            (
                &introduced,
                &["10.9.0.2: its etcd", "10.9.0.5: does not trust"],
            ),
            (
                &used,
                &["10.9.0.2: its etcd", "10.9.0.5: has no certificate"],
            ),
            (&done, &["10.9.0.2: its etcd"]),
        ] {
            let version = trust.version;
            let runs = Versions::from([
                (address(1), version),
                (address(2), version - 1.min(version)),
            ]);
            let knows = Versions::from([(address(6), version)]);
            let found = behind(trust, &members, &all, (&runs, &knows), "new");
            let same = found.len() == expected.len()
                && found
                    .iter()
                    .zip(expected)
                    .all(|(line, begin)| line.starts_with(begin));
            assert!(same, "{version}: {found:?}");
        }
    }
}
