//! `strake cluster status`: what the members say of themselves and of each other.

use std::net::IpAddr;
use std::time::SystemTime;

use anyhow::Result;
use serde::Serialize;

use super::anchor::Anchor;
use super::clock::{Clock, seconds};
use super::founding::Listed;
use super::identity::Identity;
use super::join::Caller;
use super::settings::Settings;
use super::store::{Status, Store};
use super::sync;
use super::trust::Step;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub cluster: String,
    /// Whether a majority answers.
    pub quorum: bool,
    pub leader: Option<String>,
    pub members: Vec<Member>,
    pub alarms: Vec<Alarm>,
    pub this_machine: ThisMachine,
    pub authority: Authority,
}

/// The one that signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Authority {
    pub age_days: u64,
    pub days_left: u64,
    /// How far its replacement is.
    pub step: Step,
    pub warning: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    Leader,
    Follower,
    NoLeader,
    Silent,
    /// A seed that is not in etcd's list.
    NotAdded,
}

impl Standing {
    pub fn word(self) -> &'static str {
        match self {
            Standing::Leader => "leader",
            Standing::Follower => "follower",
            Standing::NoLeader => "no leader",
            Standing::Silent => "silent",
            Standing::NotAdded => "not added",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    pub name: String,
    /// Hexadecimal, as etcd writes it.
    pub id: Option<String>,
    pub standing: Standing,
    /// Entries behind the member that is furthest.
    pub lag: Option<u64>,
    pub size_bytes: Option<u64>,
    pub in_use_bytes: Option<u64>,
    pub certificate_days_left: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alarm {
    pub member: String,
    pub alarm: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ThisMachine {
    pub role: super::authority::Role,
    pub certificate_days_left: u64,
}

/// One seed, or one member that is no seed, as far as it answers.
struct Seen {
    name: String,
    id: Option<u64>,
    status: Option<Status>,
    days_left: Option<u64>,
}

pub async fn look(settings: &Settings, identity: &Identity, clock: Clock) -> Result<Report> {
    let caller = Caller::new(settings, Some(identity), None, clock)?;
    let mut seen = Vec::new();
    let mut list: Option<Vec<Listed>> = None;
    let mut alarms = None;
    for seed in &settings.seeds {
        let status = one(*seed, settings, identity, &mut list, &mut alarms).await;
        let leaf = caller.certificate(*seed).await.ok();
        seen.push(Seen {
            name: seed.to_string(),
            id: status.map(|status| status.id),
            status,
            days_left: leaf.map(|leaf| days_left(leaf.not_after, clock.now())),
        });
    }
    for member in list.iter().flatten() {
        match seen.iter_mut().find(|seen| seen.name == member.name) {
            Some(known) => known.id = Some(member.id),
            None => seen.push(Seen {
                name: member.name.clone(),
                id: Some(member.id),
                status: None,
                days_left: None,
            }),
        }
    }
    let alarms = named(alarms.unwrap_or_default(), &seen);
    Ok(Report {
        cluster: settings.name.clone(),
        quorum: list.is_some(),
        leader: leader(&seen),
        members: members(&seen),
        alarms,
        this_machine: ThisMachine {
            role: identity.leaf.role,
            certificate_days_left: days_left(identity.leaf.not_after, clock.now()),
        },
        authority: authority(settings, clock)?,
    })
}

fn authority(settings: &Settings, clock: Clock) -> Result<Authority> {
    let anchor = Anchor::parse(settings.trust.signer())?;
    let now = clock.now();
    Ok(Authority {
        age_days: anchor.age(now).as_secs() / (24 * 3600),
        days_left: days_left(anchor.not_after, now),
        step: settings.trust.step,
        warning: sync::warning(settings, clock),
    })
}

/// The list and the alarms are asked of the first member that can tell.
async fn one(
    seed: IpAddr,
    settings: &Settings,
    identity: &Identity,
    list: &mut Option<Vec<Listed>>,
    alarms: &mut Option<Vec<(u64, &'static str)>>,
) -> Option<Status> {
    let mut store = Store::of(&[seed], &settings.ca, identity).await.ok()?;
    let status = store.status().await.ok()?;
    if list.is_none() && status.leader != 0 {
        *list = store.members().await.ok();
        *alarms = store.alarms().await.ok();
    }
    Some(status)
}

fn days_left(until: SystemTime, now: SystemTime) -> u64 {
    seconds(until).saturating_sub(seconds(now)) / (24 * 3600)
}

fn leader(seen: &[Seen]) -> Option<String> {
    let says = seen.iter().filter_map(|seen| seen.status);
    let id = says
        .map(|status| status.leader)
        .find(|leader| *leader != 0)?;
    let member = seen.iter().find(|seen| seen.id == Some(id));
    Some(member.map_or_else(|| format!("{id:x}"), |seen| seen.name.clone()))
}

fn members(seen: &[Seen]) -> Vec<Member> {
    let furthest = seen
        .iter()
        .filter_map(|seen| seen.status)
        .map(|status| status.applied);
    let furthest = furthest.max().unwrap_or(0);
    let member = |seen: &Seen| Member {
        name: seen.name.clone(),
        id: seen.id.map(|id| format!("{id:x}")),
        standing: match (seen.status, seen.id) {
            (Some(status), _) if status.leader == 0 => Standing::NoLeader,
            (Some(status), _) if status.leader == status.id => Standing::Leader,
            (Some(_), _) => Standing::Follower,
            (None, Some(_)) => Standing::Silent,
            (None, None) => Standing::NotAdded,
        },
        lag: seen.status.map(|status| furthest - status.applied),
        size_bytes: seen.status.map(|status| status.size),
        in_use_bytes: seen.status.map(|status| status.in_use),
        certificate_days_left: seen.days_left,
    };
    seen.iter().map(member).collect()
}

fn named(alarms: Vec<(u64, &'static str)>, seen: &[Seen]) -> Vec<Alarm> {
    let name = |id: u64| {
        let member = seen.iter().find(|seen| seen.id == Some(id));
        member.map_or_else(|| format!("{id:x}"), |seen| seen.name.clone())
    };
    let alarm = |(id, alarm)| Alarm {
        member: name(id),
        alarm,
    };
    alarms.into_iter().map(alarm).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(name: &str, id: Option<u64>, says: Option<(u64, u64)>) -> Seen {
        let status = |(leader, applied)| Status {
            id: id.unwrap_or(0),
            leader,
            applied,
            size: 10,
            in_use: 5,
        };
        Seen {
            name: name.to_string(),
            id,
            status: says.map(status),
            days_left: None,
        }
    }

    #[test]
    fn each_member_is_told_with_its_standing_and_its_lag() {
        let all = [
            seen("a", Some(1), Some((1, 100))),
            seen("b", Some(2), Some((1, 93))),
            seen("c", Some(3), None),
            seen("d", None, None),
            seen("e", Some(5), Some((0, 10))),
        ];
        let found = members(&all);
        let told = found
            .iter()
            .map(|member| (member.standing.word(), member.lag));
        let expected = [
            ("leader", Some(0)),
            ("follower", Some(7)),
            ("silent", None),
            ("not added", None),
            ("no leader", Some(90)),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected);
        assert_eq!(leader(&all).as_deref(), Some("a"));
        let alarms = named(vec![(2, "nospace"), (9, "corrupt")], &all);
        let names = alarms.iter().map(|alarm| alarm.member.as_str());
        assert_eq!(names.collect::<Vec<_>>(), ["b", "9"]);
    }
}
