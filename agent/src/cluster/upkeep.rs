//! Looking after etcd's file: room that deleted revisions left is given back, one member at a
//! time. etcd compacts by itself; a full store is told, never emptied.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};

use super::environment::QUOTA;
use super::identity::Identity;
use super::settings::Settings;
use super::store::{Status, Store, Turn};

/// Below this a file is not worth the pause that rewriting it makes.
const WORTH: u64 = 64 << 20;

/// As the store tells it.
const FULL: &str = "nospace";
/// Seconds a member may take before another may begin.
const TURN: i64 = 900;

/// Pure: at least half of the file is air.
pub fn is_worth(status: &Status) -> bool {
    status.size >= WORTH && status.in_use <= status.size / 2
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    NotWorth,
    /// Another member has its turn.
    NotNow,
    /// Bytes before and after.
    Defragmented(u64, u64),
}

/// What a member does by itself every hour. In a store that is full there are no turns to be had:
/// the first member goes first.
pub async fn look_after(settings: &Settings, own: IpAddr, identity: &Identity) -> Result<Done> {
    let mut store = Store::of(&[own], &settings.ca, identity).await?;
    if !is_worth(&store.status().await?) {
        return Ok(Done::NotWorth);
    }
    if store
        .alarms()
        .await?
        .iter()
        .any(|(_, alarm)| *alarm == FULL)
    {
        for seed in settings.seeds.iter().take_while(|seed| **seed != own) {
            let mut other = Store::of(&[*seed], &settings.ca, identity).await?;
            if is_worth(&other.status().await?) {
                return Ok(Done::NotNow);
            }
        }
    }
    defragment(settings, own, identity).await
}

/// One member, in its turn, while all others answer.
pub async fn defragment(settings: &Settings, at: IpAddr, identity: &Identity) -> Result<Done> {
    for seed in &settings.seeds {
        let asked = async {
            let mut other = Store::of(&[*seed], &settings.ca, identity).await?;
            other.status().await
        };
        let status = asked.await.with_context(|| seed.to_string())?;
        if status.leader == 0 {
            bail!("{seed} has no leader; nothing is defragmented before all members are well");
        }
    }
    // Rewriting gigabytes takes longer than any other request.
    let mut store = Store::connect(&[at], &settings.ca, identity, None).await?;
    let before = store.status().await?.size;
    let turn = store.begin_turn(at, TURN).await?;
    if turn == Turn::Taken {
        return Ok(Done::NotNow);
    }
    let result = store.defragment().await;
    if turn == Turn::Own {
        store.end_turn().await?;
    }
    result?;
    let status = store.status().await?;
    let full = store.alarms().await?;
    let is_own = |alarm: &&(u64, &str)| alarm.0 == status.id && alarm.1 == FULL;
    if full.iter().any(|alarm| is_own(&alarm)) && status.size < QUOTA / 10 * 9 {
        store.disarm_nospace(status.id).await?;
    }
    Ok(Done::Defragmented(before, status.size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_large_file_that_is_half_air_is_worth_a_pause() {
        let mib = 1 << 20;
        let cases = [
            (63 * mib, 0, false),
            (64 * mib, 32 * mib, true),
            (64 * mib, 33 * mib, false),
            (8192 * mib, 4096 * mib, true),
            (8192 * mib, 8000 * mib, false),
        ];
        for (size, in_use, expected) in cases {
            let status = Status {
                id: 1,
                leader: 1,
                applied: 1,
                size,
                in_use,
            };
            assert_eq!(is_worth(&status), expected, "{size} {in_use}");
        }
    }
}
