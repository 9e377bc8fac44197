//! Whether the cluster can spare this machine now. Asked by the holder of the lock, right before
//! anything is done about users and units.

use std::net::IpAddr;

use super::{replicas, zone};
use crate::cluster::identity::Identity;
use crate::cluster::place::Place;
use crate::cluster::settings::Settings;
use crate::cluster::store::{Status, Store as Etcd};
use crate::lock::{Claimant, Lock};
use crate::root::Root;
use crate::store::Store;
use crate::update::clock;
use crate::update::engine::text;

/// A member of etcd, as it answered just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    id: u64,
    name: String,
    /// Follows a leader.
    well: bool,
}

/// Whether etcd still has a majority while one member, by this id, is away. One or two members
/// never do: there it is enough that all others are well.
pub(super) fn can_spare(members: &[Seen], own: u64) -> Result<(), String> {
    let others: Vec<&Seen> = members.iter().filter(|member| member.id != own).collect();
    let well = others.iter().filter(|member| member.well).count();
    let needed = match members.len() {
        small @ 0..=2 => small.saturating_sub(1),
        more => more / 2 + 1,
    };
    if well >= needed {
        return Ok(());
    }
    let silent = others.iter().filter(|member| !member.well);
    let silent: Vec<&str> = silent.map(|member| member.name.as_str()).collect();
    Err(format!(
        "etcd would be without a majority: {} of {} other members are well, {needed} are needed; \
         not well: {}",
        well,
        others.len(),
        silent.join(", ")
    ))
}

/// Another holder of the lock in this machine's failure domain, or another machine of it that is
/// down.
pub(super) async fn zone<S: Store>(
    lock: &Lock<S>,
    store: &S,
    who: &Claimant,
    zone: &str,
) -> Option<String> {
    if zone.is_empty() {
        return None;
    }
    match zone::down(store, &who.id, zone, clock()).await {
        Ok(None) => {}
        Ok(Some(id)) => return Some(format!("{id} of the same zone {zone} is down")),
        Err(error) => return Some(text(&error)),
    }
    let holders = lock.status().await.ok()?.holders.into_iter();
    let mut others = holders.filter(|(id, _)| *id != who.id);
    let (other, _) = others.find(|(_, claim)| {
        let zone_of = |claim: &crate::lock::Claim| claim.zone == zone;
        claim.as_ref().is_some_and(zone_of)
    })?;
    Some(format!("{other} of the same zone {zone} is away"))
}

/// A template that can spare none of this machine's replicas.
pub(super) async fn replicas(store: &impl Store, who: &Claimant) -> Option<String> {
    let id = who.id.parse().ok()?;
    match replicas::scarce(store, &id).await {
        Ok(why) => why,
        Err(error) => Some(text(&error)),
    }
}

/// What speaks against taking this member of etcd away; nothing on other machines. Leadership goes
/// to another member first, so that the cluster does not wait for an election.
pub(super) async fn etcd(root: &Root) -> Option<String> {
    let settings = Settings::load(root).ok()?;
    let addresses = Place::of_machine().addresses().ok()?;
    let own = settings.own_seed(&addresses)?;
    let identity = Identity::load(root, &settings)?;
    spare(&settings, own, &identity).await.err()
}

async fn spare(settings: &Settings, own: IpAddr, identity: &Identity) -> Result<(), String> {
    let mut statuses: Vec<(IpAddr, Status)> = Vec::new();
    let mut listed = Vec::new();
    for seed in &settings.seeds {
        let Ok(mut store) = Etcd::of(&[*seed], &settings.ca, identity).await else {
            continue;
        };
        let Ok(status) = store.status().await else {
            continue;
        };
        if listed.is_empty() && status.leader != 0 {
            listed = store.members().await.unwrap_or_default();
        }
        statuses.push((*seed, status));
    }
    let is_well = |id: u64| {
        let mut found = statuses.iter().filter(|(_, status)| status.id == id);
        found.any(|(_, status)| status.leader != 0)
    };
    let members: Vec<Seen> = listed
        .into_iter()
        .map(|member| Seen {
            well: is_well(member.id),
            id: member.id,
            name: member.name,
        })
        .collect();
    // Members are named by their seed's address.
    let name = own.to_string();
    let Some(mine) = members.iter().find(|member| member.name == name) else {
        return match members.is_empty() {
            true => Err("no majority of etcd answers".to_string()),
            // Not a member yet, or no longer.
            false => Ok(()),
        };
    };
    can_spare(&members, mine.id)?;
    let leads = statuses
        .iter()
        .any(|(_, status)| status.id == mine.id && status.leader == mine.id);
    let heir = members
        .iter()
        .find(|member| member.id != mine.id && member.well);
    let Some(heir) = heir.filter(|_| leads) else {
        return Ok(());
    };
    let moved = async {
        let mut store = Etcd::of(&[own], &settings.ca, identity).await?;
        store.move_leader(heir.id).await
    };
    moved
        .await
        .map_err(|error: anyhow::Error| format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(well: &[bool], spares: bool) {
        let member = |(index, well): (usize, &bool)| Seen {
            id: index as u64,
            name: format!("m{index}"),
            well: *well,
        };
        let members: Vec<Seen> = well.iter().enumerate().map(member).collect();
        let found = can_spare(&members, 0);
        assert_eq!(found.is_ok(), spares, "{well:?}: {found:?}");
    }

    #[test]
    fn a_member_goes_only_while_a_majority_stays() {
        check(&[true, true, true], true);
        check(&[true, true, false], false);
        check(&[true, false, true, true, true], true);
        check(&[true, false, false, true, true], false);
        check(&[true, true, true, true], true);
        check(&[true, true, true, false], false);
        // It is sick itself: taking it away changes nothing for the others.
        check(&[false, true, true], true);
    }

    #[test]
    fn one_or_two_members_go_when_all_others_are_well() {
        check(&[true], true);
        check(&[true, true], true);
        check(&[true, false], false);
    }

    #[test]
    fn the_reason_names_the_members() {
        let member = |id: u64, well| Seen {
            id,
            name: format!("10.9.0.1{id}"),
            well,
        };
        let members = [member(1, true), member(2, true), member(3, false)];
        let why = can_spare(&members, 1).expect_err("refused");
        assert!(why.contains("1 of 2 other members"), "{why}");
        assert!(why.ends_with("not well: 10.9.0.13"), "{why}");
    }
}
