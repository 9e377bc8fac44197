//! Installs the newest release of a channel into files, as a machine would install it, and says
//! what that took: what an update costs is known before any machine follows.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use strake_updates::channel::Channel;
use strake_updates::digest::hex_bytes;
use strake_updates::fetch::file::Directory;
use strake_updates::fetch::http::{Http, Patience};
use strake_updates::fetch::refresh::{channel, refresh};
use strake_updates::fetch::{FetchError, Request, Sink, Transport};
use strake_updates::install::esp::Entries;
use strake_updates::install::fill::install;
use strake_updates::install::partitions::{Partitions, read_tree};
use strake_updates::install::remote::Remote;
use strake_updates::install::{Active, uki};
use strake_updates::offer::Catalog;
use strake_updates::payload::tree::{Shape, Tree};
use strake_updates::release::{ArtifactKind, Release};
use strake_updates::time::Timestamp;
use strake_updates::tuf::store::Store;
use strake_updates::version::Version;

use crate::Outcome;
use crate::cli::BadInput;
use crate::remote::runtime;

/// Bytes of the slot's partitions on a machine.
const SLOT: (u64, u64) = (2 << 30, 32 << 20);

/// What is rehearsed.
pub(crate) struct Script {
    /// URL or directory.
    pub(crate) from: String,
    pub(crate) channel: Channel,
    /// Output of the image builder: the release that runs.
    pub(crate) running: Option<PathBuf>,
    /// Where slot, boot entries and what is trusted go; what is there is gone on with.
    pub(crate) into: PathBuf,
    pub(crate) root: PathBuf,
}

/// Counts what a server would have to answer and send: requests, and bytes of bodies.
struct Counted<T> {
    inner: T,
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl<T: Transport> Transport for Counted<T> {
    async fn fetch(&self, request: &Request, sink: &mut Sink<'_>) -> Result<(), FetchError> {
        self.requests.fetch_add(1, Relaxed);
        let mut counted = |piece: &[u8]| {
            self.bytes.fetch_add(piece.len() as u64, Relaxed);
            sink(piece)
        };
        self.inner.fetch(request, &mut counted).await
    }
}

impl<T> Counted<T> {
    fn new(inner: T) -> Self {
        Self {
            inner,
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Since it was last asked.
    fn take(&self, started: Instant) -> Value {
        let (requests, bytes) = (self.requests.swap(0, Relaxed), self.bytes.swap(0, Relaxed));
        json!({"requests": requests, "bytes": bytes, "seconds": started.elapsed().as_secs_f64()})
    }
}

pub(crate) fn run(script: &Script, now: Timestamp) -> anyhow::Result<Outcome> {
    let told = if script.from.contains("://") {
        let transport = Counted::new(Http::new(&script.from, Patience::default())?);
        runtime()?.block_on(rehearse(&transport, script, now))?
    } else {
        let transport = Counted::new(Directory::new(&script.from));
        runtime()?.block_on(rehearse(&transport, script, now))?
    };
    println!("{}", serde_json::to_string_pretty(&told)?);
    Ok(Outcome::Done)
}

async fn rehearse<T: Transport>(
    transport: &Counted<T>,
    script: &Script,
    now: Timestamp,
) -> anyhow::Result<Value> {
    let running = script.running.as_deref().map(open_running).transpose()?;
    let root = fs::read(&script.root)
        .map_err(|error| BadInput(format!("--root {}: {error}", script.root.display())))?;
    let efi = script.into.join("efi");
    fs::create_dir_all(&efi).with_context(|| format!("making {}", efi.display()))?;

    let store = Store::new(script.into.join("trust"));
    let looked = Instant::now();
    let verified = refresh(transport, &store, &root, now).await?;
    let targets = channel(transport, &store, &verified, &script.channel).await?;
    let look = transport.take(looked);
    let looked = Instant::now();
    let verified_again = refresh(transport, &store, &root, now).await?;
    channel(transport, &store, &verified_again, &script.channel).await?;
    let current = transport.take(looked);

    let catalog = Catalog::read(&script.channel, &targets);
    let offer = catalog.offers.last();
    let offer = offer.with_context(|| format!("channel {} offers nothing", script.channel))?;
    let passive = Partitions {
        data: blank(&script.into.join("usr"), SLOT.0)?,
        tree: blank(&script.into.join("usr-verity"), SLOT.1)?,
    };
    let remote = Remote {
        transport,
        verified: &verified,
        targets: &targets,
    };
    let entries = Entries::new(&efi);
    let (version, active) = match &running {
        Some((version, active)) => (*version, Some(active)),
        None => (offer.version, None),
    };
    let filled = Instant::now();
    entries.check_space(offer.version, remote.target(&offer.uki)?.length)?;
    entries.retire(version, offer.version)?;
    let report = install(&remote, offer, active, &passive, &mut |_| {}).await?;
    let slot = transport.take(filled);
    let fetched = Instant::now();
    uki::fetch(&remote, offer, active, &entries.part(offer.version)).await?;
    let entry = entries.activate(offer.version)?;
    let boot_entry = transport.take(fetched);
    let given_up: Vec<_> = report.given_up.iter().map(|(_, reason)| reason).collect();
    Ok(json!({
        "version": offer.version,
        "entry": entry.to_string(),
        "look": look,
        "look_when_current": current,
        "slot": slot,
        "boot_entry": boot_entry,
        "blocks": {
            "present": report.present_blocks,
            "copied": report.copied_blocks,
            "fetched": report.fetched_blocks,
        },
        "given_up": given_up,
    }))
}

fn blank(path: &Path, length: u64) -> anyhow::Result<File> {
    let mut options = File::options();
    let options = options.read(true).write(true).create(true).truncate(false);
    let file = options.open(path).and_then(|file| {
        file.set_len(length)?;
        Ok(file)
    });
    file.with_context(|| format!("making {}", path.display()))
}

fn open_running(dir: &Path) -> anyhow::Result<(Version, Active)> {
    let bad = |cause: String| BadInput(format!("--running {}: {cause}", dir.display()));
    let text = fs::read(dir.join("release.json")).map_err(|error| bad(error.to_string()))?;
    let release: Release = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    ensure!(release.name == "strake", bad("no Strake release".into()));
    let open = |kind| -> anyhow::Result<File> {
        let found = release.artifacts.iter().find(|file| file.kind == kind);
        let found = found.ok_or_else(|| bad(format!("release.json lists no {kind:?}")))?;
        let path = dir.join(&found.name);
        File::open(&path).with_context(|| format!("reading {}", path.display()))
    };
    let shape = Shape {
        data_blocks: release.data_blocks,
        salt: hex_bytes(&release.salt).context("reading the salt")?,
        root_hash: release.root_hash.parse()?,
    };
    let bytes = read_tree(&open(ArtifactKind::Verity)?, release.data_blocks)?;
    let active = Active {
        data: open(ArtifactKind::Usr)?,
        tree: Tree::parse(bytes, shape).context("reading the hash tree")?,
        uki: Some(open(ArtifactKind::Uki)?),
    };
    Ok((release.version, active))
}
