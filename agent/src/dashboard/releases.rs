//! Releases: how far each has come in the cluster, and what is known against it.

use std::collections::BTreeMap;

use serde::Serialize;
use strake_updates::version::Version;

use super::machines::{Machine, Presence};
use super::picture::Picture;
use crate::reboot::budget::{FallBack, Refused};
use crate::scheduler::keys::ALL;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Release {
    pub version: String,
    /// Live machines that run it.
    pub running: usize,
    /// Machines that have it in the passive slot.
    pub waiting: usize,
    /// Machine ids: from before the reboot into it until it is known how it went.
    pub trying: Vec<String>,
    /// Some machine is healthy on it.
    pub proven: bool,
    pub fallbacks: Vec<FallBack>,
    pub refused: Option<Refused>,
}

pub(super) fn read(picture: &Picture, machines: &[Machine]) -> Vec<Release> {
    let mut known: BTreeMap<Version, Release> = BTreeMap::new();
    let mut of = |text: &str, change: &dyn Fn(&mut Release)| {
        if let Ok(version) = text.parse::<Version>() {
            let release = known.entry(version).or_insert_with(|| Release {
                version: version.to_string(),
                ..Release::default()
            });
            change(release);
        }
    };
    for machine in machines {
        if machine.presence == Presence::Live {
            of(machine.release.as_deref().unwrap_or(""), &|r| {
                r.running += 1
            });
        }
        of(machine.next_release.as_deref().unwrap_or(""), &|r| {
            r.waiting += 1;
        });
    }
    for (key, entry) in picture.below(ALL) {
        let Some((kind, rest)) = key.split_once('/') else {
            continue;
        };
        let (version, id) = rest.split_once('/').unwrap_or((rest, ""));
        match kind {
            "trying" => of(version, &|r| r.trying.push(id.to_string())),
            "proven" => of(version, &|r| r.proven = true),
            "fallbacks" => {
                let fall_back = serde_json::from_slice::<FallBack>(&entry.value).ok();
                of(version, &|r| r.fallbacks.extend(fall_back.clone()));
            }
            "refused" => {
                let refused = serde_json::from_slice::<Refused>(&entry.value).ok();
                of(version, &|r| r.refused = refused.clone());
            }
            _ => {}
        }
    }
    let shown = known.into_values().rev().filter(Release::is_of_interest);
    shown.collect()
}

impl Release {
    /// One that was proven long ago and is nowhere any more is history.
    fn is_of_interest(&self) -> bool {
        let somewhere = self.running + self.waiting + self.trying.len() > 0;
        somewhere || self.refused.is_some() || !self.fallbacks.is_empty()
    }
}
