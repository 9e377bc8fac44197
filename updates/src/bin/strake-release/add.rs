//! Takes the image builder's output into the targets and drafts an offer of it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Seek as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use indicatif::DecimalBytes;
use strake_updates::channel::Channel;
use strake_updates::digest::{Digest, Hasher};
use strake_updates::offer::{Delta, FORMAT, Offer, Part, Patch, Usr};
use strake_updates::payload::tree::{Shape, Tree};
use strake_updates::payload::{BLOCK, encode};
use strake_updates::release::{ArtifactKind, Release};
use strake_updates::rollout::Rollout;
use strake_updates::time::Timestamp as Time;
use strake_updates::tuf::role::{Hashes, Target, Targets};
use strake_updates::version::Version;

use crate::cli::BadInput;
use crate::repository::{Repository, keep, replace};
use crate::{Outcome, bar, edit};

/// What is added, and how.
pub(crate) struct Source {
    pub(crate) dir: PathBuf,
    pub(crate) min_from: Option<Version>,
    pub(crate) deltas: usize,
    pub(crate) level: i32,
}

/// The parts of a release a machine installs.
struct Parts {
    usr: File,
    tree: File,
    uki: File,
}

/// The new targets, by name.
struct Pool<'a> {
    repository: &'a Repository,
    made: Vec<(String, Target)>,
}

pub(crate) fn run(
    repository: &Repository,
    source: &Source,
    channel: &Channel,
    rollout: Rollout,
    now: Time,
) -> anyhow::Result<Outcome> {
    let before = edit::current(repository, channel)?;
    let path = source.dir.join("release.json");
    let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let release: Release =
        serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))?;
    let version = release.version;
    ensure!(
        release.name == "strake",
        BadInput(format!("{} is no Strake release", release.name))
    );
    ensure!(
        edit::find(&before, channel, version).is_err(),
        BadInput(format!("channel {channel} has a release {version} already"))
    );
    let parts = open_parts(&source.dir, &release)?;

    let mut pool = Pool {
        repository,
        made: Vec::new(),
    };
    let name = |kind: &str| format!("strake_{version}.{kind}");
    let size = release.usr_size;
    let (blocks, tree, uki) = (name("usr.zst"), name("tree"), name("efi"));
    let index = pool.make(&blocks, size, |out, progress| {
        encode::frames(&parts.usr, source.level, out, progress)
    })?;
    pool.copy(&tree, &parts.tree)?;
    pool.copy(&uki, &parts.uki)?;
    let mut offer = Offer {
        format: FORMAT,
        version,
        architecture: release.architecture.clone(),
        kernel: release.kernel.clone(),
        min_from: source.min_from,
        floor: None,
        retracted: None,
        rollout,
        usr: Usr {
            size,
            root_hash: release.root_hash.parse().context("reading root_hash")?,
            salt: release.salt.clone(),
            blocks,
            index: part(&index),
            tree,
        },
        uki,
        deltas: Vec::new(),
        held: None,
    };
    for old in newest_before(&before, channel, version, source.deltas) {
        offer.deltas.push(delta(
            &mut pool,
            &before,
            &old,
            &offer,
            &parts,
            source.level,
        )?);
    }

    print_sizes(&offer, &pool.made);
    let sha256 = Digest::of(&bytes);
    let descriptor = Target {
        length: bytes.len() as u64,
        hashes: Hashes { sha256 },
        custom: Some(offer.to_custom()),
    };
    let name = Offer::target_name(channel, version);
    replace(
        &repository.targets().join(format!("{sha256}.{name}")),
        &bytes,
    )?;
    repository.edit_targets(channel.as_str(), now, |targets| {
        targets.targets.extend(pool.made);
        targets.targets.insert(name, descriptor);
        Ok(())
    })?;
    println!("drafted: {version} in {channel}; publish it with `sign`");
    Ok(Outcome::Done)
}

/// What a machine will fetch, at most.
fn print_sizes(offer: &Offer, made: &[(String, Target)]) {
    let size = |name: &str| {
        let target = made.iter().find(|(made, _)| made == name);
        target.map_or(0, |(_, target)| target.length)
    };
    let bytes = |names: [&str; 3]| DecimalBytes(names.into_iter().map(size).sum());
    let full = bytes([&offer.usr.blocks, &offer.usr.tree, &offer.uki]);
    let (version, slot) = (offer.version, DecimalBytes(offer.usr.size));
    println!("{version}: {slot} in the slot; all of it is {full} to fetch");
    for delta in &offer.deltas {
        let patches = bytes([&delta.usr.target, &delta.tree.target, &delta.uki.target]);
        println!("{version}: from {} it is {patches}", delta.from);
    }
}

/// Opens the parts, after every byte was held against release.json and the tree.
fn open_parts(dir: &Path, release: &Release) -> anyhow::Result<Parts> {
    let open = |kind| {
        let artifact = release
            .artifacts
            .iter()
            .find(|artifact| artifact.kind == kind);
        let artifact = artifact.with_context(|| format!("release.json lists no {kind:?}"))?;
        let path = dir.join(&artifact.name);
        let file = File::open(&path).with_context(|| format!("reading {}", path.display()))?;
        let found = digest(&file).with_context(|| format!("reading {}", path.display()))?;
        ensure!(
            found.to_string() == artifact.sha256,
            "{}: sha256 is {found}, release.json says {}",
            path.display(),
            artifact.sha256
        );
        Ok(file)
    };
    let (usr, mut tree, uki) = (
        open(ArtifactKind::Usr)?,
        open(ArtifactKind::Verity)?,
        open(ArtifactKind::Uki)?,
    );
    let shape = Shape {
        data_blocks: release.data_blocks,
        salt: strake_updates::digest::hex_bytes(&release.salt).context("reading salt")?,
        root_hash: release.root_hash.parse().context("reading root_hash")?,
    };
    ensure!(
        release.usr_size == release.data_blocks * BLOCK,
        "usr_size is not data_blocks blocks"
    );
    ensure!(
        usr.metadata()?.len() == release.usr_size,
        "usr_size is not the size of the file"
    );
    let mut bytes = Vec::new();
    tree.rewind()?;
    tree.read_to_end(&mut bytes)
        .context("reading the hash tree")?;
    let parsed = Tree::parse(bytes, shape).context("reading the hash tree")?;
    check_blocks(&usr, &parsed)?;
    Ok(Parts { usr, tree, uki })
}

fn check_blocks(mut usr: &File, tree: &Tree) -> anyhow::Result<()> {
    usr.rewind()?;
    let mut reader = io::BufReader::with_capacity(1 << 20, usr);
    let mut content = [0; BLOCK as usize];
    for block in 0..tree.shape().data_blocks {
        reader
            .read_exact(&mut content)
            .context("reading the slot's content")?;
        ensure!(
            tree.holds(block, &content),
            "block {block} does not match the hash tree"
        );
    }
    Ok(())
}

fn newest_before(
    targets: &Targets,
    channel: &Channel,
    version: Version,
    count: usize,
) -> Vec<Offer> {
    let catalog = strake_updates::offer::Catalog::read(channel, targets);
    let older = catalog.offers.into_iter().rev();
    older
        .filter(|offer| offer.version < version && offer.retracted.is_none())
        .take(count)
        .collect()
}

fn delta(
    pool: &mut Pool<'_>,
    targets: &Targets,
    old: &Offer,
    new: &Offer,
    parts: &Parts,
    level: i32,
) -> anyhow::Result<Delta> {
    let open = |name: &str| {
        let path = pool.path(name, &targets.targets[name]);
        File::open(&path).with_context(|| format!("reading {}", path.display()))
    };
    let mut usr = tempfile::tempfile().context("making a temporary file")?;
    let blocks = zstd::Decoder::new(open(&old.usr.blocks)?)?;
    io::copy(&mut { blocks }, &mut usr).context("unpacking the older release")?;
    let (tree, uki) = (open(&old.usr.tree)?, open(&old.uki)?);
    let mut make = |kind: &str, old_file: &File, new_file: &File| {
        let target = format!("strake_{}_to_{}.{kind}.patch", old.version, new.version);
        let size = new_file.metadata()?.len();
        let table = pool.make(&target, size, |out, progress| {
            encode::patch(old_file, new_file, level, out, progress)
        })?;
        anyhow::Ok(Patch {
            target,
            table: part(&table),
        })
    };
    Ok(Delta {
        from: old.version,
        root_hash: old.usr.root_hash,
        usr: make("usr", &usr, &parts.usr)?,
        tree: make("tree", &tree, &parts.tree)?,
        uki: make("efi", &uki, &parts.uki)?,
    })
}

fn part(bytes: &[u8]) -> Part {
    Part {
        length: bytes.len() as u64,
        sha256: Digest::of(bytes),
    }
}

impl Pool<'_> {
    fn path(&self, name: &str, target: &Target) -> PathBuf {
        self.repository
            .targets()
            .join(format!("{}.{name}", target.hashes.sha256))
    }

    /// Writes a file and gives it the name its content asks for.
    fn make<R>(
        &mut self,
        name: &str,
        work: u64,
        write: impl FnOnce(&mut BufWriter<&File>, &mut dyn FnMut(u64)) -> io::Result<R>,
    ) -> anyhow::Result<R> {
        let doing = || format!("making {name}");
        let dir = self.repository.targets();
        fs::create_dir_all(&dir).with_context(doing)?;
        let file = tempfile::Builder::new()
            .prefix(".new-")
            .tempfile_in(&dir)
            .with_context(doing)?;
        let bar = bar::bytes(work, name);
        let mut out = BufWriter::with_capacity(1 << 20, file.as_file());
        let made = write(&mut out, &mut |done| bar.set_position(done)).with_context(doing)?;
        out.flush().with_context(doing)?;
        drop(out);
        bar.finish_and_clear();
        let sha256 = digest(file.as_file()).with_context(doing)?;
        let length = file.as_file().metadata().with_context(doing)?.len();
        let target = Target {
            length,
            hashes: Hashes { sha256 },
            custom: None,
        };
        keep(file, &self.path(name, &target)).with_context(doing)?;
        self.made.push((name.to_owned(), target));
        Ok(made)
    }

    fn copy(&mut self, name: &str, mut file: &File) -> anyhow::Result<()> {
        file.rewind()?;
        let size = file.metadata()?.len();
        self.make(name, size, |out, _| io::copy(&mut file, out))?;
        Ok(())
    }
}

fn digest(mut file: &File) -> io::Result<Digest> {
    struct Into(Hasher);

    impl Write for Into {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    file.rewind()?;
    let mut hasher = Into(Hasher::default());
    io::copy(
        &mut io::BufReader::with_capacity(1 << 20, file),
        &mut hasher,
    )?;
    Ok(hasher.0.finish())
}
