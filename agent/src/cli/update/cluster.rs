//! `strake update status --cluster` and the cluster's part of `strake update retry`.

use anyhow::{Context as _, Result};
use strake_updates::version::Version;

use crate::cli::output::{Output, columns};
use crate::cli::runtime::on_one_thread;
use crate::cli::store::connect;
use crate::exit::Exit;
use crate::reboot::budget::{self, Standing};
use crate::root::Root;
use crate::store::etcd::SETTINGS;

/// Of each machine's journal, in the table; `-o json` has all that was kept.
const LINES: usize = 5;

pub(super) fn status(output: Output) -> Result<Exit> {
    let standings = on_one_thread(async {
        let store = connect().await?;
        let standings = budget::standings(&store).await;
        standings.context("asking the cluster")
    })??;
    output.print(&standings, || table(&standings))?;
    Ok(Exit::Done)
}

fn table(standings: &[Standing]) -> String {
    if standings.is_empty() {
        return "no release fell back in this cluster\n".to_string();
    }
    let mut text = String::new();
    for standing in standings {
        let verdict = match &standing.refused {
            Some(refused) => format!(
                "REFUSED by the cluster since {} (budget {}); `strake update retry {}` lifts it",
                refused.since, refused.budget, standing.version
            ),
            None => "not refused: the budget is not used up".to_string(),
        };
        text += &format!("{}  {verdict}\n", standing.version);
        let rows = standing.fallbacks.iter().map(|fall_back| {
            let boots = format!("{} boots", fall_back.boots);
            vec![
                format!("  {}", fall_back.machine),
                fall_back.time.to_string(),
                boots,
                fall_back.cause.clone(),
            ]
        });
        text += &columns(&rows.collect::<Vec<_>>());
        if let Some(last) = standing.fallbacks.last() {
            let skip = last.journal.len().saturating_sub(LINES);
            for line in &last.journal[skip..] {
                text += &format!("    {line}\n");
            }
        }
    }
    text
}

/// Whether this machine, or who calls, has a way to a cluster.
pub(super) fn is_there(root: &Root) -> bool {
    let is_named = std::env::var("STRAKE_ETCD_ENDPOINTS").is_ok_and(|named| !named.is_empty());
    let path = root.follow(SETTINGS.as_ref());
    is_named || path.is_ok_and(|path| path.exists())
}

/// Whether the cluster held anything against the release.
pub(super) fn lift(version: Version) -> Result<bool> {
    on_one_thread(async {
        let store = connect().await?;
        let lifted = budget::lift(&store, version).await;
        lifted.with_context(|| format!("letting the cluster try {version} again"))
    })?
}

#[cfg(test)]
mod tests {
    use strake_updates::time::Timestamp;

    use super::*;
    use crate::reboot::budget::{FallBack, Refused};

    #[test]
    fn the_table_tells_which_machine_why_and_its_last_lines() {
        let time = Timestamp::from_unix(1_800_000_000);
        let fall_back = FallBack {
            machine: "aaaa".into(),
            cause: "not healthy: web.service: failed".into(),
            boots: 3,
            time,
            journal: (0..9).map(|line| format!("line {line}")).collect(),
        };
        let standing = Standing {
            version: "1.1.0".parse().expect("version"),
            refused: Some(Refused {
                since: time,
                budget: 1,
                cause: fall_back.cause.clone(),
            }),
            fallbacks: vec![fall_back],
        };
        let text = table(&[standing]);
        let parts = [
            "1.1.0  REFUSED by the cluster since 2027-01-15T08:00:00Z (budget 1)",
            "`strake update retry 1.1.0` lifts it",
            "  aaaa  2027-01-15T08:00:00Z  3 boots  not healthy: web.service: failed\n",
            "    line 8\n",
        ];
        for part in parts {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("line 3"), "{text}");
        assert!(table(&[]).contains("no release fell back"));
    }
}
