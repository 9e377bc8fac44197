//! Another repository, or one's own as a client sees it: checked whole, copied whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context as _, ensure};
use strake_updates::channel::Channel;
use strake_updates::digest::Digest;
use strake_updates::fetch::file::Directory;
use strake_updates::fetch::http::{Http, Patience};
use strake_updates::fetch::refresh::{self, METADATA};
use strake_updates::fetch::{FetchError, Request, Sink, Transport, bytes};
use strake_updates::install::remote::Remote;
use strake_updates::offer::{Catalog, Offer};
use strake_updates::time::Timestamp as Time;
use strake_updates::tuf::ROOT_LIMIT;
use strake_updates::tuf::role::{Target, Targets};
use strake_updates::tuf::store::Store;
use strake_updates::tuf::workflow::Verified;

use crate::cli::{BadInput, Trust};
use crate::repository::{keep, replace};
use crate::{Outcome, bar};

enum Source {
    Http(Http),
    Directory(Directory),
}

impl Source {
    fn open(url: &str) -> anyhow::Result<Self> {
        if url.starts_with("http://") || url.starts_with("https://") {
            return Ok(Self::Http(Http::new(url, Patience::default())?));
        }
        let path = url.strip_prefix("file://").unwrap_or(url);
        ensure!(
            Path::new(path).is_dir(),
            BadInput(format!("{url} is no URL and no directory"))
        );
        Ok(Self::Directory(Directory::new(path)))
    }
}

/// Keeps the metadata that passed through, as it came.
struct Recorder {
    source: Source,
    metadata: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl Transport for Recorder {
    async fn fetch(&self, request: &Request, sink: &mut Sink<'_>) -> Result<(), FetchError> {
        let Some(name) = request.path.strip_prefix(&format!("{METADATA}/")) else {
            return self.fetch_from_source(request, sink).await;
        };
        let mut file = Vec::new();
        let mut both = |piece: &[u8]| {
            file.extend_from_slice(piece);
            sink(piece)
        };
        self.fetch_from_source(request, &mut both).await?;
        let mut metadata = self
            .metadata
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        metadata.insert(name.to_owned(), file);
        Ok(())
    }
}

impl Recorder {
    async fn fetch_from_source(
        &self,
        request: &Request,
        sink: &mut Sink<'_>,
    ) -> Result<(), FetchError> {
        match &self.source {
            Source::Http(http) => http.fetch(request, sink).await,
            Source::Directory(directory) => directory.fetch(request, sink).await,
        }
    }
}

/// A repository whose metadata is believed.
struct Opened {
    recorder: Recorder,
    verified: Verified,
    channels: Vec<(Channel, Targets)>,
}

pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.context("starting the runtime")
}

async fn open(url: &str, trust: &Trust, now: Time) -> anyhow::Result<Opened> {
    let root = fs::read(&trust.root);
    let root = root.with_context(|| format!("reading {}", trust.root.display()))?;
    let recorder = Recorder {
        source: Source::open(url)?,
        metadata: Mutex::default(),
    };
    let scratch = tempfile::tempdir().context("making a temporary directory")?;
    let store = Store::new(scratch.path());
    let verified = refresh::refresh(&recorder, &store, &root, now).await?;
    let mut channels = Vec::new();
    for delegation in verified.delegations() {
        let channel: Channel = delegation.name.parse()?;
        let targets = refresh::channel(&recorder, &store, &verified, &channel).await?;
        channels.push((channel, targets));
    }
    Ok(Opened {
        recorder,
        verified,
        channels,
    })
}

impl Opened {
    /// Every target once, with the channel that speaks for it.
    fn targets(&self) -> BTreeMap<String, (&str, &Target, &Targets)> {
        let mut all = BTreeMap::new();
        for (_, targets) in &self.channels {
            for (name, target) in &targets.targets {
                let path = self.verified.target_path(name, target);
                all.insert(path, (name.as_str(), target, targets));
            }
        }
        all
    }

    fn remote<'a>(&'a self, targets: &'a Targets) -> Remote<'a, Recorder> {
        Remote {
            transport: &self.recorder,
            verified: &self.verified,
            targets,
        }
    }

    fn total(&self) -> u64 {
        self.targets()
            .values()
            .map(|(_, target, _)| target.length)
            .sum()
    }
}

pub(crate) fn verify(url: &str, trust: &Trust, now: Time) -> anyhow::Result<Outcome> {
    runtime()?.block_on(async {
        let opened = open(url, trust, now)
            .await
            .with_context(|| format!("verifying {url}"))?;
        let bar = bar::bytes(opened.total(), "checking targets");
        let all = opened.targets();
        for (name, _, targets) in all.values() {
            let check = opened.remote(targets);
            check.check(name, &mut |length| bar.inc(length)).await?;
        }
        bar.finish_and_clear();
        let mut broken = 0;
        for (channel, targets) in &opened.channels {
            let catalog = Catalog::read(channel, targets);
            for offer in &catalog.offers {
                println!("{channel} {}: {}", offer.version, state(offer, now));
            }
            broken += catalog.invalid.len();
            for invalid in catalog.invalid {
                println!("{channel}: {:#}", anyhow::Error::from(invalid));
            }
        }
        println!(
            "{} targets, {} bytes, all as signed",
            all.len(),
            opened.total()
        );
        ensure!(broken == 0, "{broken} offers cannot be used");
        Ok(Outcome::Done)
    })
}

/// What stands in the way of a release, or how many machines it reaches.
fn state(offer: &Offer, now: Time) -> String {
    if let Some(reason) = &offer.retracted {
        return format!("retracted: {reason}");
    }
    if let Some(hold) = &offer.held {
        return format!("held since {}: {}", hold.since, hold.reason);
    }
    if let Some(since) = offer.rollout.paused {
        return format!("paused since {since}");
    }
    format!("reaches {} % of machines", offer.rollout.percent_at(now))
}

pub(crate) fn mirror(from: &str, dir: &Path, trust: &Trust, now: Time) -> anyhow::Result<Outcome> {
    runtime()?.block_on(async {
        let opened = open(from, trust, now)
            .await
            .with_context(|| format!("mirroring {from}"))?;
        let bar = bar::bytes(opened.total(), "copying targets");
        for (path, (_, target, _)) in opened.targets() {
            let place = dir.join("targets").join(&path);
            if is_complete(&place, target)? {
                bar.inc(target.length);
                continue;
            }
            copy(
                &opened.recorder,
                &format!("targets/{path}"),
                target,
                &place,
                &bar,
            )
            .await?;
        }
        bar.finish_and_clear();
        let newest = opened.verified.anchor().root().head.version;
        for version in 1..=newest {
            let path = format!("{METADATA}/{version}.root.json");
            let request = Request::whole(path, ROOT_LIMIT);
            bytes(&opened.recorder, &request).await?;
        }
        let recorder = opened.recorder;
        let mut metadata = recorder.metadata.into_inner().context("copying metadata")?;
        let timestamp = metadata
            .remove("timestamp.json")
            .context("copying the timestamp")?;
        for (name, file) in &metadata {
            replace(&dir.join(METADATA).join(name), file)?;
        }
        replace(&dir.join(METADATA).join("timestamp.json"), &timestamp)?;
        println!("mirrored to {}", dir.display());
        Ok(Outcome::Done)
    })
}

fn is_complete(place: &Path, target: &Target) -> anyhow::Result<bool> {
    let Ok(metadata) = fs::metadata(place) else {
        return Ok(false);
    };
    if metadata.len() != target.length {
        return Ok(false);
    }
    let mut hasher = strake_updates::digest::Hasher::default();
    let mut file = fs::File::open(place).with_context(|| format!("reading {}", place.display()))?;
    let mut piece = vec![0; 1 << 20];
    loop {
        match std::io::Read::read(&mut file, &mut piece)? {
            0 => return Ok(hasher.finish() == target.hashes.sha256),
            length => hasher.update(&piece[..length]),
        }
    }
}

async fn copy(
    recorder: &Recorder,
    path: &str,
    target: &Target,
    place: &Path,
    bar: &indicatif::ProgressBar,
) -> anyhow::Result<()> {
    use std::io::Write as _;

    let doing = || format!("writing {}", place.display());
    let dir = place.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).with_context(doing)?;
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(dir)
        .with_context(doing)?;
    let mut hasher = strake_updates::digest::Hasher::default();
    let mut sink = |piece: &[u8]| {
        hasher.update(piece);
        bar.inc(piece.len() as u64);
        file.write_all(piece)
    };
    recorder
        .fetch(&Request::whole(path, target.length), &mut sink)
        .await?;
    let found: Digest = hasher.finish();
    let signed = target.hashes.sha256;
    ensure!(
        found == signed,
        "{path}: sha256 is {found}, signed is {signed}"
    );
    keep(file, place).with_context(doing)
}
