//! The whole way of a client: `cargo run -p strake-updates --example install -- REPO CHANNEL DIR
//! [OLD]` installs the newest release of a repository (directory or URL) into files in DIR. OLD is
//! the image builder's output of the release that runs.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use strake_updates::channel::Channel;
use strake_updates::fetch::Transport;
use strake_updates::fetch::file::Directory;
use strake_updates::fetch::http::{Http, Patience};
use strake_updates::fetch::refresh::{channel, refresh};
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

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (repo, name, dir, old) = match arguments.as_slice() {
        [repo, name, dir] => (repo, name, dir, None),
        [repo, name, dir, old] => (repo, name, dir, Some(Path::new(old))),
        _ => anyhow::bail!("usage: install REPO CHANNEL DIR [OLD]"),
    };
    let active = old.map(open_active).transpose()?;
    let (name, dir) = (name.parse()?, Path::new(dir));
    if repo.starts_with("http") {
        let transport = Http::new(repo, Patience::default())?;
        let root = std::fs::read(dir.join("root.json")).context("reading DIR/root.json")?;
        run(&transport, &root, &name, dir, active.as_ref()).await
    } else {
        let root = std::fs::read(Path::new(repo).join("metadata/1.root.json"))?;
        run(&Directory::new(repo), &root, &name, dir, active.as_ref()).await
    }
}

async fn run<T: Transport>(
    transport: &T,
    root: &[u8],
    name: &Channel,
    dir: &Path,
    active: Option<&(Version, Active)>,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let clock = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let store = Store::new(dir.join("trust"));
    let verified = refresh(transport, &store, root, Timestamp::from_unix(clock)).await?;
    let targets = channel(transport, &store, &verified, name).await?;
    let catalog = Catalog::read(name, &targets);
    let offer = catalog
        .offers
        .last()
        .context("the channel offers nothing")?;
    println!("{} after {:?}", offer.version, started.elapsed());

    let open = |name: &str, length| -> anyhow::Result<File> {
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false);
        let file = file.open(dir.join(name))?;
        file.set_len(length)?;
        Ok(file)
    };
    let passive = Partitions {
        data: open("usr-b", 2 << 30)?,
        tree: open("tree-b", 32 << 20)?,
    };
    let efi = dir.join("efi");
    std::fs::create_dir_all(&efi)?;
    let entries = Entries::new(&efi);
    entries.check_space(offer.version, targets.targets[&offer.uki].length)?;
    let running = active.map_or(offer.version, |(version, _)| *version);
    entries.retire(running, offer.version)?;
    let active = active.map(|(_, active)| active);
    let remote = Remote {
        transport,
        verified: &verified,
        targets: &targets,
    };
    let report = install(&remote, offer, active, &passive, &mut |_| {}).await?;
    println!("slot: {report:#?} after {:?}", started.elapsed());
    let fetched = uki::fetch(&remote, offer, active, &entries.part(offer.version)).await?;
    let entry = entries.activate(offer.version)?;
    println!(
        "boot entry {entry}: {fetched} bytes after {:?}",
        started.elapsed()
    );
    Ok(())
}

fn open_active(dir: &Path) -> anyhow::Result<(Version, Active)> {
    let release: Release = serde_json::from_slice(&std::fs::read(dir.join("release.json"))?)?;
    let open = |kind| -> anyhow::Result<File> {
        let file = release
            .artifacts
            .iter()
            .find(|artifact| artifact.kind == kind);
        let path: PathBuf = dir.join(&file.context("release.json lists too little")?.name);
        File::open(&path).with_context(|| format!("reading {}", path.display()))
    };
    let shape = Shape {
        data_blocks: release.data_blocks,
        salt: strake_updates::digest::hex_bytes(&release.salt).context("reading the salt")?,
        root_hash: release.root_hash.parse()?,
    };
    ensure!(release.name == "strake", "{} is no release", dir.display());
    let tree = Tree::parse(
        read_tree(&open(ArtifactKind::Verity)?, release.data_blocks)?,
        shape,
    )?;
    let (data, uki) = (open(ArtifactKind::Usr)?, Some(open(ArtifactKind::Uki)?));
    Ok((release.version, Active { data, tree, uki }))
}
