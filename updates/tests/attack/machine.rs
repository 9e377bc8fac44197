//! A machine with file-backed slots and an ESP's directory, that runs the whole client.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use strake_updates::channel::Channel;
use strake_updates::fetch::backoff::Backoff;
use strake_updates::fetch::http::{Http, Patience};
use strake_updates::fetch::refresh::{channel, refresh};
use strake_updates::install::esp::Entries;
use strake_updates::install::fill::install;
use strake_updates::install::partitions::Partitions;
use strake_updates::install::remote::Remote;
use strake_updates::install::{Active, uki};
use strake_updates::offer::Catalog;
use strake_updates::payload::tree::Tree;
use strake_updates::policy::{Choice, Decision, Machine as Facts, Window, decide};
use strake_updates::time::Timestamp;
use strake_updates::tuf::store::Store;
use strake_updates::version::Version;

use crate::workshop::{Made, blank, files};

pub(crate) struct Machine {
    dir: tempfile::TempDir,
    root: Vec<u8>,
    running: Option<Made>,
    pub(crate) facts: Facts,
    pub(crate) patience: Patience,
}

/// Impatient, so that a test of patience is short. Nothing but the figures differs.
pub(crate) fn impatient() -> Patience {
    Patience {
        connect: Duration::from_secs(5),
        pace: Duration::from_millis(400),
        pace_bytes: 16 << 10,
        tries: 3,
        backoff: Backoff::new(Duration::from_millis(1), Duration::from_millis(20)).unwrap(),
    }
}

impl Machine {
    /// Runs 1.0.0 from slot A; slot B is empty.
    pub(crate) fn new(root: Vec<u8>, running: Made) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("usr-a"), &running.usr).unwrap();
        fs::create_dir(dir.path().join("esp")).unwrap();
        fs::write(dir.path().join("esp/strake_1.0.0.efi"), &running.uki).unwrap();
        let facts = Facts {
            id: "000102030405060708090a0b0c0d0e0f".parse().unwrap(),
            channel: "stable".parse().unwrap(),
            architecture: "x86-64".into(),
            running: version("1.0.0"),
            staged: None,
            pinned: None,
            refused: Default::default(),
            slot_size: 4 << 20,
            window: Window::Open,
        };
        let machine = Self {
            dir,
            root,
            running: Some(running),
            facts,
            patience: impatient(),
        };
        machine.passive();
        machine
    }

    /// The same, but nothing of what runs can be used for the new release.
    pub(crate) fn without_old_blocks(mut self) -> Self {
        self.running = None;
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn store(&self) -> Store {
        Store::new(self.path("trust"))
    }

    pub(crate) fn passive(&self) -> Partitions {
        Partitions {
            data: blank(&self.path("usr-b"), 4 << 20),
            tree: blank(&self.path("tree-b"), 64 << 10),
        }
    }

    fn active(&self) -> Option<Active> {
        let made = self.running.as_ref()?;
        Some(Active {
            data: File::open(self.path("usr-a")).unwrap(),
            tree: made.tree.clone(),
            uki: File::open(self.path("esp/strake_1.0.0.efi")).ok(),
        })
    }

    /// Looks at the repository and decides, as `strake update check` does.
    pub(crate) async fn check(&self, url: &str, now: Timestamp) -> anyhow::Result<Decision> {
        Ok(self.look(url, now).await?.3)
    }

    async fn look(
        &self,
        url: &str,
        now: Timestamp,
    ) -> anyhow::Result<(
        strake_updates::tuf::workflow::Verified,
        strake_updates::tuf::role::Targets,
        Catalog,
        Decision,
    )> {
        let http = Http::new(url, self.patience.clone())?;
        let (store, name): (_, &Channel) = (self.store(), &self.facts.channel);
        let verified = refresh(&http, &store, &self.root, now).await?;
        let targets = channel(&http, &store, &verified, name).await?;
        let mut catalog = Catalog::read(name, &targets);
        let decision = decide(&self.facts, &catalog, verified.now());
        if let Some(invalid) = catalog.invalid.pop() {
            return Err(invalid.into());
        }
        Ok((verified, targets, catalog, decision))
    }

    /// The whole way to an entry that boots, when the decision is to install.
    pub(crate) async fn update(&self, url: &str, now: Timestamp) -> anyhow::Result<Choice> {
        let (verified, targets, catalog, decision) = self.look(url, now).await?;
        let Choice::Install(version) = decision.choice else {
            return Ok(decision.choice);
        };
        let http = Http::new(url, self.patience.clone())?;
        let offer = catalog.offers.iter().find(|o| o.version == version);
        let offer = offer.unwrap();
        let remote = Remote {
            transport: &http,
            verified: &verified,
            targets: &targets,
        };
        let entries = Entries::new(self.path("esp"));
        entries.check_space(version, targets.targets[&offer.uki].length)?;
        entries.retire(self.facts.running, version)?;
        let active = self.active();
        install(
            &remote,
            offer,
            active.as_ref(),
            &self.passive(),
            &mut |_| {},
        )
        .await?;
        uki::fetch(&remote, offer, active.as_ref(), &entries.part(version)).await?;
        entries.activate(version)?;
        Ok(Choice::Install(version))
    }

    /// Everything the boot loader and the boot program look at.
    pub(crate) fn disk(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut disk = files(&self.path("esp"));
        for name in ["usr-a", "usr-b", "tree-b"] {
            disk.insert(self.path(name), fs::read(self.path(name)).unwrap());
        }
        disk
    }

    /// Names of the entries the loader shows.
    pub(crate) fn entries(&self) -> Vec<String> {
        let names = files(&self.path("esp")).into_keys();
        let names = names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
        names.filter(|name| name.ends_with(".efi")).collect()
    }

    /// Whether slot B is a release for the boot program: the tree against the root hash that the
    /// entry names, then every block against the tree.
    pub(crate) fn slot_holds(&self, made: &Made) -> bool {
        let bytes = fs::read(self.path("tree-b")).unwrap();
        let Ok(tree) = Tree::parse(bytes, made.tree.shape().clone()) else {
            return false;
        };
        let usr = fs::read(self.path("usr-b")).unwrap();
        let mut blocks = usr.chunks(4096).zip(0..tree.shape().data_blocks);
        blocks.all(|(content, block)| tree.holds(block, content))
    }

    /// Whether the tree of slot B is one that its own root block accepts, whatever release it is.
    pub(crate) fn slot_is_no_release(&self) -> bool {
        let tree = fs::read(self.path("tree-b")).unwrap();
        tree[4096..8192].iter().all(|byte| *byte == 0)
    }
}

pub(crate) fn version(text: &str) -> Version {
    text.parse().unwrap()
}
