//! The stages up to `/usr` and the initrd, each cached by its inputs.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{Order, Site};
use crate::cache::Entry;
use crate::digest::{Digest, Inputs};
use crate::identity::Uuid;
use crate::mirror::{Mirror, Suite};
use crate::packages::{self, Control, Lock, Request};
use crate::recipe::Recipe;
use crate::tree::{Content, Node, Tree, read_archive, read_directory, write_archive};
use crate::verity::Verity;
use crate::{erofs, initrd, kernel, root};

/// Where a machine finds what it trusts when its config brings nothing else.
const UPDATE_ROOT: &str = "usr/share/strake/update/root.json";

#[derive(Debug)]
pub(super) struct Packages {
    entry: Entry,
    pub lock: Lock,
}

impl Packages {
    fn tree(&self) -> Result<Tree> {
        read_archive(&self.entry.path("root.tar"))
    }

    fn controls(&self) -> Result<Vec<Control>> {
        read_json(&self.entry.path("controls.json"))
    }
}

pub(super) fn packages(
    site: &Site<'_>,
    recipe: &Recipe,
    request: &Request,
    suite: Suite,
    mirror: impl FnOnce() -> Result<Mirror>,
) -> Result<Packages> {
    let locked = recipe.lock.as_ref().map(Lock::to_text).unwrap_or_default();
    let mut inputs = Inputs::new("packages 1")
        .with(request.digest())
        .with(locked);
    if suite != Suite::default() {
        inputs.add(format!("{suite:?}"));
    }
    let entry = site
        .cache
        .stage(site.progress, "packages", &inputs, |directory| {
            let cache = site.workspace.packages();
            let archives = packages::resolve(request, recipe.lock.as_ref(), suite, mirror, &cache)?;
            let scratch = scratch(directory)?;
            let (tree, controls) = packages::unpack(site.tools, &archives, &scratch)?;
            write_tree(&tree, &directory.join("root.tar"))?;
            write_json(&controls, &directory.join("controls.json"))?;
            let found = archives
                .into_iter()
                .map(|archive| archive.package)
                .collect();
            fs::write(directory.join("lock"), Lock::new(request, found).to_text())
                .context("writing what was resolved")?;
            remove_scratch(&scratch)
        })?;
    let lock = fs::read_to_string(entry.path("lock")).context("reading what was resolved")?;
    Ok(Packages {
        entry,
        lock: Lock::parse(&lock)?,
    })
}

#[derive(Debug)]
pub(super) struct Modules {
    pub entry: Entry,
    pub kernel: String,
}

impl Modules {
    fn tree(&self) -> Result<Tree> {
        read_archive(&self.entry.path("modules.tar"))
    }

    pub(super) fn image(&self) -> PathBuf {
        self.entry.path("vmlinuz")
    }
}

pub(super) fn modules(site: &Site<'_>, recipe: &Recipe, packages: &Packages) -> Result<Modules> {
    let mut inputs = Inputs::new("modules 1").with(packages.entry.key());
    inputs.add(recipe.modules_drop.source());
    let entry = site
        .cache
        .stage(site.progress, "modules", &inputs, |directory| {
            let tree = packages.tree()?;
            let (version, image) = kernel::image(&tree)?;
            let scratch = scratch(directory)?;
            let dropped = &recipe.modules_drop;
            let modules = kernel::plain_modules(site.tools, &tree, &version, dropped, &scratch)?;
            write_tree(&modules, &directory.join("modules.tar"))?;
            let image = tree.read(&image).context("reading the kernel")?;
            fs::write(directory.join("vmlinuz"), image).context("keeping the kernel")?;
            fs::write(directory.join("version"), version)
                .context("keeping the kernel's version")?;
            remove_scratch(&scratch)
        })?;
    let kernel = fs::read_to_string(entry.path("version")).context("reading the version")?;
    Ok(Modules { entry, kernel })
}

/// Facts of a finished `/usr`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct UsrFacts {
    pub root_hash: Digest,
    pub salt: Digest,
    pub verity_uuid: String,
    pub size: u64,
    pub data_blocks: u64,
}

#[derive(Debug)]
pub(super) struct Usr {
    pub entry: Entry,
    pub facts: UsrFacts,
}

impl Usr {
    /// The packages of which something is in the image.
    pub(super) fn controls(&self) -> Result<Vec<Control>> {
        read_json(&self.entry.path("controls.json"))
    }
}

pub(super) fn usr(
    site: &Site<'_>,
    order: &Order,
    packages: &Packages,
    modules: &Modules,
) -> Result<Usr> {
    let mut inputs = Inputs::new("root 1");
    inputs
        .add(packages.entry.key())
        .add(modules.entry.key())
        .add(order.recipe.digest().digest());
    for overlay in &order.overlays {
        inputs.add(directory_digest(overlay)?);
    }
    let compose = || -> Result<Tree> {
        let (packages, modules) = (packages.tree()?, modules.tree()?);
        root::compose(&packages, &modules, &order.recipe, &order.overlays)
    };
    let derived = site
        .cache
        .stage(site.progress, "accounts", &inputs, |directory| {
            let scratch = scratch(directory)?;
            let derived = root::derive(site.tools, &compose()?, &scratch)?;
            write_tree(&derived, &directory.join("derived.tar"))?;
            remove_scratch(&scratch)
        })?;
    let agent = Digest::of_file(&order.agent)
        .with_context(|| format!("reading --agent {}", order.agent.display()))?;
    let mut inputs = Inputs::new("usr 2").with(derived.key()).with(agent);
    inputs.add(order.version.as_str());
    if let Some(root) = &order.update_root {
        inputs.add("update root").add(root);
    }
    let entry = site
        .cache
        .stage(site.progress, "usr", &inputs, |directory| {
            let mut tree = compose()?;
            tree.overlay(&read_archive(&derived.path("derived.tar"))?);
            if let Some(root) = &order.update_root {
                tree.insert(UPDATE_ROOT, Node::file(0o644, root.clone()));
            }
            let controls = root::present(&tree, &packages.controls()?)?;
            let json = root::packages_json(&controls)?;
            let tree = root::finish(tree, program(&order.agent)?, order.version.as_str(), &json)?;
            let image = directory.join("usr.erofs");
            erofs::make(site.tools, &image, &tree)?;
            write_json(&controls, &directory.join("controls.json"))?;
            fs::write(directory.join("packages.json"), json).context("writing packages.json")?;
            let facts = verity(&image, &directory.join("usr.verity"))?;
            write_json(&facts, &directory.join("facts.json"))
        })?;
    let facts = read_json(&entry.path("facts.json"))?;
    Ok(Usr { entry, facts })
}

fn verity(image: &Path, target: &Path) -> Result<UsrFacts> {
    let data = File::open(image).context("opening the erofs file system")?;
    let verity = Verity::of(
        &data,
        Digest::of(b"strake verity salt"),
        Uuid::named("verity"),
    )
    .context("hashing the erofs file system")?;
    let output = File::create_new(target).context("making the hash tree's file")?;
    verity.write(output).context("writing the hash tree")?;
    Ok(UsrFacts {
        root_hash: verity.root,
        salt: verity.salt,
        verity_uuid: verity.uuid.to_string(),
        size: verity.data_blocks * crate::verity::BLOCK as u64,
        data_blocks: verity.data_blocks,
    })
}

pub(super) fn initrd(site: &Site<'_>, order: &Order, modules: &Modules) -> Result<Entry> {
    let init = Digest::of_file(&order.init)
        .with_context(|| format!("reading --init {}", order.init.display()))?;
    let names = &order.recipe.initrd_modules;
    let inputs = Inputs::new("initrd 1").with(modules.entry.key()).with(init);
    let inputs = names.iter().fold(inputs, Inputs::with);
    site.cache
        .stage(site.progress, "initrd", &inputs, |directory| {
            let init = program(&order.init)?;
            let tree = initrd::tree(init, &modules.tree()?, &modules.kernel, names)?;
            let file = File::create_new(directory.join("initrd")).context("making the initrd")?;
            initrd::write(&tree, BufWriter::new(file))
        })
}

/// A program of the host that goes into the image as it is.
fn program(path: &Path) -> Result<Content> {
    let named = || format!("reading {}", path.display());
    let file = File::open(path).with_context(named)?;
    let size = file.metadata().with_context(named)?.len();
    Ok(Content::Part {
        file: Arc::new(file),
        offset: 0,
        size,
    })
}

fn directory_digest(directory: &Path) -> Result<Digest> {
    let tree = read_directory(directory)?;
    let mut bytes = Vec::new();
    write_archive(&tree, &mut bytes)?;
    Ok(Digest::of(&bytes))
}

fn scratch(directory: &Path) -> Result<PathBuf> {
    let scratch = directory.join("scratch");
    fs::create_dir(&scratch).with_context(|| format!("making {}", scratch.display()))?;
    Ok(scratch)
}

fn remove_scratch(scratch: &Path) -> Result<()> {
    fs::remove_dir_all(scratch).with_context(|| format!("removing {}", scratch.display()))
}

fn write_tree(tree: &Tree, path: &Path) -> Result<()> {
    let file = File::create_new(path).with_context(|| format!("making {}", path.display()))?;
    write_archive(tree, BufWriter::with_capacity(1 << 18, file))
}

fn write_json(value: &impl Serialize, path: &Path) -> Result<()> {
    let text = serde_json::to_vec(value).with_context(|| format!("writing {}", path.display()))?;
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T> {
    let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))
}
