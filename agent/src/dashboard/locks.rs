//! Who may reboot now, who waits, and what was taken over: each group's lock.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::picture::Picture;
use crate::lock::semaphore::Semaphore;
use crate::lock::{Claim, Takeover, Twin, keys};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Empty: the default one.
    pub name: String,
    pub available: i64,
    pub max: i64,
    /// Why the lock cannot be read.
    pub corrupt: Option<String>,
    pub holders: Vec<Holder>,
    /// Machine ids, in their order.
    pub waiting: Vec<String>,
    pub takeovers: Vec<Takeover>,
    pub twins: Vec<Twin>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Holder {
    pub id: String,
    /// Of its claim; all empty where it left none.
    pub release: String,
    pub reason: String,
    pub since: String,
    pub boot: String,
    pub registered: bool,
}

pub(super) fn read(picture: &Picture) -> Vec<Group> {
    let mut groups: Vec<keys::Group> = Vec::new();
    for (key, _) in picture.below(keys::ALL) {
        let group = keys::Group::of_key(key);
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups.sort_by(|a, b| a.name().cmp(b.name()));
    groups.iter().map(|group| one(picture, group)).collect()
}

fn one(picture: &Picture, group: &keys::Group) -> Group {
    let semaphore = match picture.entries.get(&group.semaphore()) {
        Some(entry) => Semaphore::parse(&entry.value),
        None => Ok(Semaphore::default()),
    };
    let corrupt = semaphore.as_ref().err().map(ToString::to_string);
    let semaphore = semaphore.unwrap_or_default();
    let holder = |id: &str| {
        let claim = picture.entries.get(&group.holder(id));
        let claim = claim.and_then(|entry| serde_json::from_slice::<Claim>(&entry.value).ok());
        let bare = Holder {
            id: id.to_string(),
            ..Holder::default()
        };
        claim.map_or(bare, |claim| Holder {
            id: id.to_string(),
            release: claim.release,
            reason: claim.reason,
            since: claim.since.to_string(),
            boot: claim.boot,
            registered: claim.registered,
        })
    };
    let queue = group.queue();
    let mut waiting: Vec<_> = picture.below(&queue).collect();
    waiting.sort_by_key(|(_, entry)| entry.created);
    Group {
        name: group.name().to_string(),
        available: semaphore.free(),
        max: semaphore.max(),
        holders: match corrupt {
            None => semaphore.holders().map(holder).collect(),
            Some(_) => Vec::new(),
        },
        corrupt,
        waiting: waiting.iter().map(|(key, _)| keys::unescape(key)).collect(),
        takeovers: all(picture, &group.takeovers()),
        twins: all(picture, &group.twins()),
    }
}

/// What is not understood was not written by us and tells nothing.
fn all<T: DeserializeOwned>(picture: &Picture, prefix: &str) -> Vec<T> {
    let entries = picture.below(prefix);
    let read = entries.filter_map(|(_, entry)| serde_json::from_slice(&entry.value).ok());
    read.collect()
}
