//! One member's etcd: brought up the right way, and known to have been part of a cluster.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::authority::Authority;
use super::clock::Clock;
use super::environment::{self, Environment, Initial, member_name, peer_url};
use super::founding::{Admission, Data, Listed, Peer, Start, admission, decide};
use super::identity::{Identity, own_file};
use super::join::{Caller, Foreign};
use super::launch::Launch;
use super::place::Place;
use super::revoked;
use super::settings::Settings;
use super::store::Store;
use super::turn;
use crate::apply::write::write_one;
use crate::health::probes::{HEALTH, says_healthy};
use crate::root::Root;

/// Beside the data, so that a lost disk takes both: the member's id, once it had a leader.
pub(super) const FORMED: &str = "/var/lib/etcd/strake.formed";
/// There instead of the id, until etcd tells it, on a member that was restored alone.
pub(super) const RESTORED: &str = "restored\n";
/// What was found here of a member that had been removed.
const ASIDE: &str = "/var/lib/etcd/strake.removed";

#[derive(Debug)]
pub struct Member<'a, L> {
    pub place: &'a Place,
    pub settings: &'a Settings,
    pub own: IpAddr,
    pub launch: &'a L,
    pub identity: watch::Receiver<Identity>,
    pub clock: Clock,
    pub authority: &'a Authority,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It runs and has been part of a cluster with a leader.
    Formed,
    /// The same, and it has to begin anew as soon as it may.
    Turn(String),
    /// It runs, and nothing is known yet.
    Running,
    Started,
    Waiting(String),
}

/// Whether `strake cluster run` has set up an etcd on this boot.
pub fn is_set_up(root: &Root) -> bool {
    root.read_text(environment::PATH).is_ok()
}

pub fn data(root: &Root) -> Data {
    let log = format!("{}/member/wal", environment::DATA);
    let has_log = root
        .list(log)
        .iter()
        .any(|name| name.to_string_lossy().ends_with(".wal"));
    let formed = root.read_text(FORMED).is_ok();
    match (has_log, formed) {
        (false, _) => Data::Empty,
        (true, false) => Data::Founding,
        (true, true) => Data::Formed,
    }
}

/// Whether etcd here has a leader and answers.
pub async fn is_healthy(metrics: SocketAddr) -> bool {
    says_healthy(&metrics.to_string(), HEALTH).await == Ok(())
}

impl<L: Launch> Member<'_, L> {
    /// Does the next thing that brings this member into the cluster. Safe to be called for ever.
    pub async fn step(&self) -> Result<Step> {
        let mut data = data(&self.place.root);
        if self.launch.is_up().await? {
            return self.watch(data).await;
        }
        let others = self.others().await?;
        if data == Data::Formed && self.was_removed(&others).await? {
            self.set_aside()
                .context("setting the removed member's data aside")?;
            data = Data::Empty;
        }
        match decide(data, &others) {
            Start::Wait(reason) => Ok(Step::Waiting(reason)),
            Start::Again | Start::New => self.start(&Initial::New(self.founders())).await,
            Start::Join => self.join(&serving(&others)).await,
        }
    }

    async fn watch(&self, data: Data) -> Result<Step> {
        if data == Data::Formed && self.own_id()?.is_some() {
            if turn::is_up_to_date(&self.place.root, self.settings) {
                return Ok(Step::Formed);
            }
            return self.begin_anew().await;
        }
        if data == Data::Empty || !is_healthy(self.place.metrics).await {
            return Ok(Step::Running);
        }
        let identity = self.identity.borrow().clone();
        let mut store = Store::of(&[self.own], &self.settings.ca, &identity).await?;
        let id = store.status().await?.id;
        let node = own_file(format!("{id:x}\n"), 0o644);
        write_one(&self.place.root, FORMED, node).context("writing down that the cluster is")?;
        Ok(Step::Formed)
    }

    pub(super) async fn others(&self) -> Result<Vec<(IpAddr, Peer)>> {
        let identity = self.identity.borrow().clone();
        let caller = Caller::new(self.settings, Some(&identity), Some(self.own), self.clock)?;
        let mut asked = JoinSet::new();
        for seed in self.settings.other_seeds(self.own) {
            let caller = caller.clone();
            asked.spawn(async move {
                let peer = match caller.state(seed).await {
                    Ok(state) => Peer::Says {
                        data: state.data,
                        serving: state.serving,
                    },
                    Err(error) if error.is::<Foreign>() => Peer::Foreign,
                    Err(_) => Peer::Silent,
                };
                (seed, peer)
            });
        }
        let mut others = asked.join_all().await;
        others.sort_by_key(|(seed, _)| *seed);
        Ok(others)
    }

    pub(super) fn founders(&self) -> Vec<(String, String)> {
        let seeds = self.settings.seeds.iter();
        seeds
            .map(|seed| (member_name(*seed), peer_url(*seed)))
            .collect()
    }

    pub(super) async fn start(&self, initial: &Initial) -> Result<Step> {
        let root = match self.place.root.is_machine() {
            true => String::new(),
            false => self.path("/")?.display().to_string(),
        };
        let environment = Environment {
            cluster: &self.settings.name,
            own: self.own,
            metrics: self.place.metrics,
            initial,
            root: root.trim_end_matches('/'),
        };
        let node = own_file(environment.text(), 0o644);
        write_one(&self.place.root, environment::PATH, node)
            .context("writing etcd's environment")?;
        revoked::tell_etcd(&self.place.root, self.authority, self.clock)?;
        let wanted = turn::wanted(&self.place.root, self.settings);
        let node = own_file(format!("{wanted}\n"), 0o644);
        write_one(&self.place.root, turn::STARTED, node)
            .context("writing down what etcd is started with")?;
        self.launch.start().await?;
        Ok(Step::Started)
    }

    async fn join(&self, via: &[IpAddr]) -> Result<Step> {
        let identity = self.identity.borrow().clone();
        let mut store = Store::of(via, &self.settings.ca, &identity).await?;
        if store.is_shut_out(self.own).await? {
            let own = self.own;
            return Ok(Step::Waiting(format!(
                "this member was removed; `strake cluster members add {own}` lets it in again"
            )));
        }
        let own_url = peer_url(self.own);
        match admission(&store.members().await?, &own_url) {
            Admission::Founder => return self.start(&Initial::New(self.founders())).await,
            Admission::Added => {}
            Admission::Add => store.add(&own_url).await?,
            Admission::Replace(id) => {
                store.remove(id).await?;
                store.add(&own_url).await?;
            }
        }
        let list = store.members().await?;
        self.start(&Initial::Existing(initial(&list))).await
    }

    async fn was_removed(&self, others: &[(IpAddr, Peer)]) -> Result<bool> {
        let via = serving(others);
        if via.is_empty() {
            return Ok(false);
        }
        let Some(id) = self.own_id()? else {
            return Ok(false);
        };
        let identity = self.identity.borrow().clone();
        let mut store = Store::of(&via, &self.settings.ca, &identity).await?;
        let members = store.members().await?;
        Ok(members.iter().all(|member| member.id != id))
    }

    fn own_id(&self) -> Result<Option<u64>> {
        let text = self.place.root.read_text(FORMED);
        let text = text.context("reading this member's id")?;
        Ok(u64::from_str_radix(text.trim(), 16).ok())
    }

    /// The data first: a marker without data is taken for an empty member.
    fn set_aside(&self) -> io::Result<()> {
        let aside = self.path(ASIDE)?;
        match std::fs::remove_dir_all(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::fs::rename(self.path(environment::DATA)?, aside)?;
        std::fs::remove_file(self.path(FORMED)?)
    }

    fn path(&self, path: &str) -> io::Result<PathBuf> {
        self.place.root.follow(Path::new(path))
    }
}

fn serving(others: &[(IpAddr, Peer)]) -> Vec<IpAddr> {
    let serves = |peer: &Peer| {
        matches!(
            peer,
            Peer::Says {
                data: Data::Formed,
                serving: true
            }
        )
    };
    let found = others.iter().filter(|(_, peer)| serves(peer));
    found.map(|(seed, _)| *seed).collect()
}

/// A member that was added and has not started has no name yet; it will take its address.
fn initial(list: &[Listed]) -> Vec<(String, String)> {
    let pair = |member: &Listed| {
        let url = member.peer_urls.first().cloned().unwrap_or_default();
        let address = url::Url::parse(&url).ok();
        let address = address.and_then(|url| url.host_str().map(str::to_string));
        let address = address.unwrap_or_default().replace(['[', ']'], "");
        let name = match member.name.is_empty() {
            true => address,
            false => member.name.clone(),
        };
        (name, url)
    };
    list.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_disk_tells_how_far_a_member_got() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Root::new(dir.path());
        assert_eq!(data(&root), Data::Empty);
        let write = |path: &str| {
            let path = dir.path().join(&path[1..]);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("dir");
            std::fs::write(path, "1f\n").expect("file");
        };
        write(FORMED);
        assert_eq!(data(&root), Data::Empty, "a marker alone is left over");
        write("/var/lib/etcd/strake/member/wal/0.wal");
        assert_eq!(data(&root), Data::Formed);
        std::fs::remove_file(dir.path().join(&FORMED[1..])).expect("removed");
        assert_eq!(data(&root), Data::Founding);
    }

    #[test]
    fn a_member_without_a_name_is_given_its_address() {
        let member = |name: &str, url: &str| Listed {
            id: 1,
            name: name.to_string(),
            peer_urls: vec![url.to_string()],
            client_urls: Vec::new(),
        };
        let list = [
            member("10.0.0.1", "https://10.0.0.1:2380"),
            member("", "https://[fd00::2]:2380"),
        ];
        let pair = |name: &str, url: &str| (name.to_string(), url.to_string());
        let expected = [
            pair("10.0.0.1", "https://10.0.0.1:2380"),
            pair("fd00::2", "https://[fd00::2]:2380"),
        ];
        assert_eq!(initial(&list), expected);
    }
}
