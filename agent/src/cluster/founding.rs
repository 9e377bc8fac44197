//! Whether a member starts etcd anew, with the data it has, or as one more of a cluster. Pure.
//!
//! A member that lost its disk must not start under its old identity: it would vote as if it had
//! never promised anything, and writes that were acknowledged could be lost. So an empty member
//! founds a cluster only when every other seed says that it has never been part of one; in all
//! other cases it is taken in by those that run, and if too few run, it waits.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What a member has in its data directory, in order of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Data {
    Empty,
    /// Started with others that were empty too; nothing was ever acknowledged.
    Founding,
    /// Was part of a cluster that had a leader.
    Formed,
}

/// What another seed says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Silent,
    /// Is of another authority.
    Foreign,
    Says {
        data: Data,
        serving: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// With the data there is.
    Again,
    /// A new cluster of all seeds.
    New,
    /// Taken in by those that run.
    Join,
    Wait(String),
}

pub fn decide(own: Data, others: &[(IpAddr, Peer)]) -> Start {
    if own != Data::Empty {
        return Start::Again;
    }
    let serves = |peer: &Peer| {
        matches!(
            peer,
            Peer::Says {
                data: Data::Formed,
                serving: true
            }
        )
    };
    if others.iter().any(|(_, peer)| serves(peer)) {
        return Start::Join;
    }
    let names = |wanted: fn(&Peer) -> bool| {
        let found = others.iter().filter(|(_, peer)| wanted(peer));
        let found: Vec<String> = found.map(|(address, _)| address.to_string()).collect();
        found.join(", ")
    };
    let formed = names(|peer| {
        matches!(
            peer,
            Peer::Says {
                data: Data::Formed,
                ..
            }
        )
    });
    if !formed.is_empty() {
        return Start::Wait(format!(
            "{formed} had a cluster that has no leader now; this member has no data and is taken in once it has"
        ));
    }
    let foreign = names(|peer| *peer == Peer::Foreign);
    if !foreign.is_empty() {
        return Start::Wait(format!(
            "{foreign} has certificates of another authority: strake.cluster.ca has to be what \
             `strake cluster authority config` prints there"
        ));
    }
    let silent = names(|peer| *peer == Peer::Silent);
    if !silent.is_empty() {
        return Start::Wait(format!(
            "no answer from {silent}; a cluster is founded once all its seeds are there"
        ));
    }
    Start::New
}

/// One entry of etcd's member list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub id: u64,
    pub name: String,
    pub peer_urls: Vec<String>,
    pub client_urls: Vec<String>,
}

/// What an empty member has to do about the list before it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Not listed: ask to be added.
    Add,
    /// Listed and has run: its data is lost. Remove that entry, then add.
    Replace(u64),
    /// Added before, never started.
    Added,
    /// One of the founders, and never started.
    Founder,
}

pub fn admission(list: &[Listed], own_peer_url: &str) -> Admission {
    let is_own = |member: &&Listed| member.peer_urls.iter().any(|url| url == own_peer_url);
    match list.iter().find(is_own) {
        None => Admission::Add,
        Some(member) if member.name.is_empty() => Admission::Added,
        Some(member) if member.client_urls.is_empty() => Admission::Founder,
        Some(member) => Admission::Replace(member.id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVING: Peer = says(Data::Formed, true);

    const fn says(data: Data, serving: bool) -> Peer {
        Peer::Says { data, serving }
    }

    #[track_caller]
    fn check(own: Data, others: &[Peer], expected: &str) {
        let addresses = (1..).map(|n| IpAddr::from([10, 0, 0, n]));
        let others: Vec<(IpAddr, Peer)> = addresses.zip(others.iter().copied()).collect();
        let found = format!("{:?}", decide(own, &others));
        assert!(found.starts_with(expected), "{own:?} {others:?}: {found}");
    }

    #[test]
    fn a_cluster_is_founded_by_all_seeds_or_not_at_all() {
        use Data::{Empty, Founding};
        check(Empty, &[], "New");
        check(Empty, &[says(Empty, false), says(Empty, false)], "New");
        check(Empty, &[Peer::Foreign, says(Empty, false)], "Wait");
        check(Empty, &[Peer::Foreign, SERVING], "Join");
        check(Empty, &[says(Founding, false), says(Empty, false)], "New");
        check(
            Empty,
            &[says(Empty, false), Peer::Silent],
            "Wait(\"no answer from 10.0.0.2;",
        );
        check(Empty, &[Peer::Silent, Peer::Silent], "Wait");
    }

    #[test]
    fn an_empty_member_never_starts_anew_beside_one_that_had_a_cluster() {
        let formed = says(Data::Formed, false);
        check(Data::Empty, &[SERVING, Peer::Silent], "Join");
        check(Data::Empty, &[says(Data::Empty, false), SERVING], "Join");
        check(
            Data::Empty,
            &[formed, says(Data::Empty, false)],
            "Wait(\"10.0.0.1 had",
        );
        check(Data::Empty, &[formed, Peer::Silent], "Wait");
        check(Data::Empty, &[formed, formed], "Wait");
    }

    #[test]
    fn data_that_is_there_is_used_whatever_the_others_say() {
        for own in [Data::Founding, Data::Formed] {
            check(own, &[], "Again");
            check(own, &[Peer::Silent, SERVING], "Again");
        }
    }

    #[test]
    fn the_list_says_how_an_empty_member_comes_in() {
        let member = |id, name: &str, urls: &[&str]| Listed {
            id,
            name: name.to_string(),
            peer_urls: vec![format!("https://10.0.0.{id}:2380")],
            client_urls: urls.iter().map(ToString::to_string).collect(),
        };
        let other = member(1, "10.0.0.1", &["https://10.0.0.1:2379"]);
        let own = "https://10.0.0.2:2380";
        let cases = [
            (vec![other.clone()], Admission::Add),
            (
                vec![
                    other.clone(),
                    member(2, "10.0.0.2", &["https://10.0.0.2:2379"]),
                ],
                Admission::Replace(2),
            ),
            (vec![member(2, "", &[]), other.clone()], Admission::Added),
            (vec![other, member(2, "10.0.0.2", &[])], Admission::Founder),
        ];
        for (list, expected) in cases {
            assert_eq!(admission(&list, own), expected, "{list:?}");
        }
    }
}
