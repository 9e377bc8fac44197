//! What the cluster refuses, this machine does not boot and does not install.

use std::collections::BTreeSet;

use strake_updates::version::Version;
use tokio::sync::watch;

use super::budget::{self, BY_CLUSTER};
use crate::root::Root;
use crate::store::Store;
use crate::update::engine::{self, Engine};
use crate::update::entries::{self, Entries};
use crate::update::history::{self, Event, What};
use crate::update::node::{self, Node, Refusal};
use crate::update::{Unknown, clock, look, running};

const AGAIN: std::time::Duration = std::time::Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Node(#[from] node::Error),
    #[error(transparent)]
    Engine(#[from] engine::Error),
    #[error(transparent)]
    Entries(#[from] entries::Error),
    #[error(transparent)]
    Unknown(#[from] Unknown),
    #[error("writing the history")]
    History(#[from] crate::apply::write::Error),
}

/// The releases that the cluster refuses, as they change. A silent store changes nothing. Runs in
/// a `LocalSet`.
pub fn follow(store: impl Store) -> watch::Receiver<BTreeSet<Version>> {
    let (sender, receiver) = watch::channel(BTreeSet::new());
    tokio::task::spawn_local(async move {
        while !sender.is_closed() {
            // Whatever ends the watch: all is read anew.
            let _ = follow_once(&store, &sender).await;
            tokio::time::sleep(AGAIN).await;
        }
    });
    receiver
}

async fn follow_once(
    store: &impl Store,
    told: &watch::Sender<BTreeSet<Version>>,
) -> Result<(), crate::store::Error> {
    let prefix = budget::refused_prefix();
    let seen = store.list(&prefix, None, None).await?.revision;
    let mut changes = store.watch(&prefix, seen + 1).await?;
    loop {
        let refused = budget::refusals(store).await?;
        told.send_if_modified(|known| {
            let is_other = *known != refused;
            *known = refused;
            is_other
        });
        if changes.next().await.is_err() {
            return Ok(());
        }
    }
}

/// Remembers what is refused, takes it away from the loader, and forgets what no longer is. True
/// when something changed. A release that runs here is left alone: here it is well.
pub fn obey(root: &Root, refused: &BTreeSet<Version>) -> Result<bool, Error> {
    let node = Node::load(root)?;
    let by_cluster = |refusal: &Refusal| refusal.cause.starts_with(BY_CLUSTER);
    if refused.is_empty() && !node.refused.iter().any(by_cluster) {
        return Ok(false);
    }
    let running = running(root)?;
    let (new, lifted) = differences(&node, refused, running);
    if new.is_empty() && lifted.is_empty() {
        return Ok(false);
    }
    let mut nobody = |_: &crate::update::live::Live| {};
    let mut engine = Engine::open(root, &mut nobody)?;
    for version in &new {
        let staged = look::staged(&Node::load(root)?, &Entries::read(root)?, running);
        if staged.is_some_and(|entry| entry.version == *version) {
            engine.discard(*version, "the cluster refuses it")?;
        }
    }
    // Still under the engine's lock.
    let mut node = Node::load(root)?;
    for version in new {
        let cause = format!("{BY_CLUSTER}see `strake update status --cluster`");
        node.refuse(Refusal {
            version,
            time: clock(),
            cause,
            boots: 0,
            journal: Vec::new(),
        });
    }
    for version in &lifted {
        node.forgive(*version);
    }
    node.save(root)?;
    for version in lifted {
        let (what, note) = (What::Retried, "the cluster lifted its refusal".to_string());
        let time = clock();
        history::add(
            root,
            Event {
                time,
                what,
                version,
                note,
            },
        )?;
    }
    Ok(true)
}

/// What is to be refused from now on, and no longer.
fn differences(
    node: &Node,
    refused: &BTreeSet<Version>,
    running: Version,
) -> (Vec<Version>, Vec<Version>) {
    let is_new = |version: &&Version| **version != running && node.refusal(**version).is_none();
    let new = refused.iter().filter(is_new).copied().collect();
    let by_cluster = node.refused.iter();
    let by_cluster = by_cluster.filter(|refusal| refusal.cause.starts_with(BY_CLUSTER));
    let lifted = by_cluster.filter(|refusal| !refused.contains(&refusal.version));
    (new, lifted.map(|refusal| refusal.version).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().expect("version")
    }

    #[test]
    fn a_refused_release_is_taken_away_and_a_lifted_one_may_come_again() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Root::new(dir.path());
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("dir");
            std::fs::write(path, text).expect("file");
        };
        put("usr/lib/os-release", "ID=strake\nIMAGE_VERSION=1.0.0\n");
        put("efi/EFI/Linux/strake_1.0.0.efi", "uki");
        put("efi/EFI/Linux/strake_1.1.0+3.efi", "uki");
        put(
            "state/update/node.json",
            r#"{"attempt":{"version":"1.1.0","from":"1.0.0","channel":"stable","kind":"update",
                "time":"2026-11-21T00:00:00Z","boot_id":"b"}}"#,
        );
        let entries = || {
            let listed = Entries::read(&root).expect("entries").all;
            listed.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(!obey(&root, &BTreeSet::new()).expect("nothing to do"));
        assert_eq!(entries().len(), 2);
        let refused = BTreeSet::from([version("1.1.0"), version("1.0.0")]);
        assert!(obey(&root, &refused).expect("obeyed"));
        assert_eq!(entries(), ["strake_1.0.0.efi"], "the running one stays");
        let node = Node::load(&root).expect("node");
        assert!(node.refusal(version("1.0.0")).is_none() && node.attempt.is_none());
        let refusal = node.refusal(version("1.1.0")).expect("refused");
        assert!(refusal.cause.starts_with(BY_CLUSTER));
        assert!(!obey(&root, &refused).expect("nothing new"));
        assert!(obey(&root, &BTreeSet::new()).expect("lifted"));
        assert_eq!(Node::load(&root).expect("node").refused, Vec::new());
        let told: Vec<&str> = history::read(&root)
            .iter()
            .map(|event| event.what.word())
            .collect();
        assert_eq!(told, ["discarded", "retried"]);
    }

    #[test]
    fn what_fell_back_here_stays_refused_here() {
        let own = Refusal {
            version: version("1.1.0"),
            time: clock(),
            cause: "kernel panic".into(),
            boots: 3,
            journal: Vec::new(),
        };
        let mut node = Node::default();
        node.refuse(own);
        let running = version("1.0.0");
        let refused = BTreeSet::from([version("1.1.0")]);
        assert_eq!(differences(&node, &refused, running), (vec![], vec![]));
        assert_eq!(
            differences(&node, &BTreeSet::new(), running),
            (vec![], vec![])
        );
    }
}
