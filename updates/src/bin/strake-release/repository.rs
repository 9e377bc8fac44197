//! The publisher's directory: `metadata/` and `targets/` are published, `draft/` is what `sign`
//! will publish next, `publisher.json` how long signatures last.
//!
//! Published files never change, except `timestamp.json`; each appears whole under its name.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use strake_updates::time::Span;
use strake_updates::tuf::envelope::Envelope;
use strake_updates::tuf::key::KeyId;
use strake_updates::tuf::role::{Body, Head, Root, Snapshot, Targets, Timestamp};
use strake_updates::tuf::{ROOT_LIMIT, SNAPSHOT_LIMIT, TARGETS_LIMIT, TIMESTAMP_LIMIT};

/// The directory.
pub(crate) struct Repository {
    base: PathBuf,
}

/// How long signatures last.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) offline_expiry: Span,
    pub(crate) online_expiry: Span,
}

/// What is published at present, by its own timestamp.
pub(crate) struct Published {
    pub(crate) root: Envelope<Root>,
    pub(crate) timestamp: Envelope<Timestamp>,
    pub(crate) snapshot: Envelope<Snapshot>,
}

impl Repository {
    pub(crate) fn new(base: PathBuf) -> Self {
        Self { base }
    }

    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    pub(crate) fn metadata(&self) -> PathBuf {
        self.base.join("metadata")
    }

    pub(crate) fn targets(&self) -> PathBuf {
        self.base.join("targets")
    }

    pub(crate) fn drafts(&self) -> PathBuf {
        self.base.join("draft")
    }

    /// Where `serve` keeps what machines reported.
    pub(crate) fn events(&self) -> PathBuf {
        self.base.join("events.sqlite")
    }

    fn settings_path(&self) -> PathBuf {
        self.base.join("publisher.json")
    }

    /// Held while a command changes anything; a second one is refused meanwhile.
    pub(crate) fn lock(&self) -> anyhow::Result<File> {
        let path = self.base.join(".lock");
        let doing = || format!("locking {}", path.display());
        fs::create_dir_all(&self.base).with_context(doing)?;
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(doing)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => {
                anyhow::bail!(
                    "another strake-release is at work on {}",
                    self.base.display()
                )
            }
            Err(fs::TryLockError::Error(error)) => Err(error).with_context(doing),
        }
    }

    pub(crate) fn exists(&self) -> bool {
        self.metadata().join("timestamp.json").exists()
    }

    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        let path = self.settings_path();
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))
    }

    pub(crate) fn write_settings(&self, settings: Settings) -> anyhow::Result<()> {
        replace(
            &self.settings_path(),
            &serde_json::to_vec_pretty(&settings)?,
        )
    }

    pub(crate) fn published(&self) -> anyhow::Result<Published> {
        let timestamp = self.read::<Timestamp>("timestamp.json", TIMESTAMP_LIMIT)?;
        let version = timestamp.body().meta.snapshot.version;
        let snapshot = self.read(&format!("{version}.snapshot.json"), SNAPSHOT_LIMIT)?;
        Ok(Published {
            root: self.newest_root()?,
            timestamp,
            snapshot,
        })
    }

    /// The keys that are used unattended.
    pub(crate) fn online_keys(&self) -> anyhow::Result<BTreeSet<KeyId>> {
        let roles = self.published()?.root.into_body().roles;
        let both = [roles.snapshot.keyids, roles.timestamp.keyids];
        Ok(both.into_iter().flatten().collect())
    }

    /// The keys that can sign something of the drafts or publish them.
    pub(crate) fn draft_keys(&self) -> anyhow::Result<BTreeSet<KeyId>> {
        let draft: Option<Envelope<Root>> = self.draft("root")?;
        let drafts_root = draft.is_some();
        let top: Option<Envelope<Targets>> = self.draft("targets")?;
        let drafts_targets = top.is_some();
        let mut roots: Vec<Root> = draft.map(Envelope::into_body).into_iter().collect();
        let mut tops: Vec<Targets> = top.map(Envelope::into_body).into_iter().collect();
        if self.exists() {
            let published = self.published()?;
            let top = self.published_targets(&published, "targets")?;
            tops.extend(top.map(Envelope::into_body));
            roots.push(published.root.into_body());
        }
        let mut keys = BTreeSet::new();
        for Root { roles, .. } in roots {
            keys.extend(
                [roles.snapshot.keyids, roles.timestamp.keyids]
                    .into_iter()
                    .flatten(),
            );
            keys.extend(roles.root.keyids.into_iter().filter(|_| drafts_root));
            keys.extend(roles.targets.keyids.into_iter().filter(|_| drafts_targets));
        }
        let delegations = tops.into_iter().filter_map(|top| top.delegations);
        for delegation in delegations.flat_map(|delegations| delegations.roles) {
            if self
                .drafts()
                .join(format!("{}.json", delegation.name))
                .exists()
            {
                keys.extend(delegation.keys.keyids);
            }
        }
        Ok(keys)
    }

    fn newest_root(&self) -> anyhow::Result<Envelope<Root>> {
        let exists = |version: u64| {
            self.metadata()
                .join(format!("{version}.root.json"))
                .exists()
        };
        let mut version = 1;
        while exists(version + 1) {
            version += 1;
        }
        self.read(&format!("{version}.root.json"), ROOT_LIMIT)
    }

    /// A role's targets as published.
    pub(crate) fn published_targets(
        &self,
        published: &Published,
        role: &str,
    ) -> anyhow::Result<Option<Envelope<Targets>>> {
        let Some(meta) = published.snapshot.body().meta.get(&format!("{role}.json")) else {
            return Ok(None);
        };
        self.read(&format!("{}.{role}.json", meta.version), TARGETS_LIMIT)
            .map(Some)
    }

    fn read<T: Body>(&self, name: &str, limit: u64) -> anyhow::Result<Envelope<T>> {
        read(&self.metadata().join(name), limit)
    }

    /// A role's draft, if it has one.
    pub(crate) fn draft<T: Body>(&self, role: &str) -> anyhow::Result<Option<Envelope<T>>> {
        let path = self.drafts().join(format!("{role}.json"));
        if path.exists() {
            read(&path, TARGETS_LIMIT).map(Some)
        } else {
            Ok(None)
        }
    }

    pub(crate) fn write_draft<T: Body>(
        &self,
        role: &str,
        envelope: &Envelope<T>,
    ) -> anyhow::Result<()> {
        replace(
            &self.drafts().join(format!("{role}.json")),
            &envelope.to_bytes(),
        )
    }

    /// Drafts the change of a role's targets: its draft, else what is published, else nothing yet.
    pub(crate) fn edit_targets(
        &self,
        role: &str,
        now: strake_updates::time::Timestamp,
        change: impl FnOnce(&mut Targets) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let published = self.published_targets(&self.published()?, role)?;
        let version = published
            .as_ref()
            .map_or(0, |envelope| envelope.body().head.version);
        let head = Head::new(
            Targets::TYPE,
            version + 1,
            now.after(self.settings()?.offline_expiry),
        );
        let current = self
            .draft::<Targets>(role)?
            .or(published)
            .map(Envelope::into_body);
        let mut body = current.unwrap_or_else(|| Targets {
            head: head.clone(),
            targets: Default::default(),
            delegations: None,
        });
        change(&mut body)?;
        body.head = head;
        self.write_draft(role, &Envelope::unsigned(body)?)
    }
}

fn read<T: Body>(path: &Path, limit: u64) -> anyhow::Result<Envelope<T>> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Envelope::parse(&bytes, limit).with_context(|| format!("reading {}", path.display()))
}

/// Puts a file in its place as a whole: temporary name, sync, rename, sync of the directory.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let write = || -> io::Result<()> {
        let dir = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir)?;
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(dir)?;
        file.write_all(bytes)?;
        keep(file, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// The same for a file that is already written.
pub(crate) fn keep(file: tempfile::NamedTempFile, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = path.parent().unwrap_or(Path::new("."));
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(dir)?.sync_all()
}
