//! From unpacked packages to the tree of `/usr`, with the default `/etc` inside.

mod accounts;
mod certificates;
mod units;

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::kernel::MODULES;
use crate::packages::{Control, Package};
use crate::recipe::Recipe;
use crate::tools::Tools;
use crate::tree::{Content, Node, Tree, read_directory};

/// Names that the program answers to as the one it replaces.
const APPLETS: [&str; 4] = [
    "fleetctl",
    "locksmithctl",
    "update_engine_client",
    "coreos-cloudinit",
];
/// Where the overlay on /etc has its lower layer.
const DEFAULT_ETC: &str = "share/strake/etc";

/// Packages, modules, recipe and overlays in one tree, without what the recipe trims.
pub fn compose(
    packages: &Tree,
    modules: &Tree,
    recipe: &Recipe,
    overlays: &[impl AsRef<Path>],
) -> Result<Tree> {
    let mut tree = packages.clone();
    let certificates = certificates::bundle(packages)?;
    tree.remove(MODULES);
    tree.overlay(modules);
    tree.trim(&recipe.trim);
    tree.insert(certificates::BUNDLE, Node::file(0o644, certificates));
    tree.insert(
        "usr/lib/ssl/cert.pem",
        Node::symlink(&format!("/{}", certificates::BUNDLE)),
    );
    for (link, target) in &recipe.symlinks {
        tree.insert(link, Node::symlink(target));
    }
    tree.overlay(&recipe.files);
    for overlay in overlays {
        let overlay = overlay.as_ref();
        let files = read_directory(overlay)
            .with_context(|| format!("reading --overlay-dir {}", overlay.display()))?;
        tree.overlay(&files);
    }
    units::apply(&mut tree, &recipe.units)?;
    Ok(tree)
}

/// Files that programs of the tools tree derive from the composed tree: accounts and the linker's
/// cache.
pub fn derive(tools: &Tools, tree: &Tree, scratch: &Path) -> Result<Tree> {
    let mut derived = accounts::make(tools, tree, &scratch.join("accounts"))?;
    let cache = linker_cache(tools, tree, &scratch.join("libraries"))?;
    derived.insert("etc/ld.so.cache", Node::file(0o644, cache));
    Ok(derived)
}

/// The linker's cache; without it every program start searches directories.
fn linker_cache(tools: &Tools, tree: &Tree, scratch: &Path) -> Result<Vec<u8>> {
    let mut libraries = tree.clone();
    libraries.retain(|path, node| {
        let name = path.rsplit('/').next().unwrap_or(path);
        let library = path.starts_with("usr/lib") && name.contains(".so");
        !node.is_directory() && (library || path.starts_with("etc/ld.so.conf"))
    });
    for (link, target) in [("lib", "usr/lib"), ("lib64", "usr/lib64")] {
        libraries.insert(link, Node::symlink(target));
    }
    std::fs::create_dir(scratch).context("making a directory for the libraries")?;
    crate::tree::write_directory(&libraries, scratch)?;
    let mut command = tools.command("ldconfig");
    command.arg("-X").arg("-r").arg(scratch);
    crate::program::run(&mut command).context("making the linker's cache")?;
    std::fs::read(scratch.join("etc/ld.so.cache")).context("reading the linker's cache")
}

/// What names the release inside the image.
pub fn os_release(version: &str) -> String {
    format!(
        "ID=strake\nID_LIKE=debian\nNAME=Strake\nPRETTY_NAME=\"Strake {version}\"\n\
         VERSION_ID={version}\nIMAGE_ID=strake\nIMAGE_VERSION={version}\n"
    )
}

/// Adds the node's program and the facts of the release, and turns the root into `/usr`.
pub fn finish(mut tree: Tree, agent: Content, version: &str, packages: &[u8]) -> Result<Tree> {
    tree.insert("usr/bin/strake", Node::stored(0o755, agent));
    for applet in APPLETS {
        tree.insert(&format!("usr/bin/{applet}"), Node::symlink("strake"));
    }
    tree.insert(
        "usr/lib/os-release",
        Node::file(0o644, os_release(version).into_bytes()),
    );
    tree.insert(
        "usr/share/strake/packages.json",
        Node::file(0o644, packages),
    );
    accounts::check_owners(&tree)?;
    let mut usr = tree.moved("usr", "");
    usr.overlay(&tree.moved("etc", DEFAULT_ETC));
    Ok(usr)
}

/// The packages that still have a file in the tree.
pub fn present(tree: &Tree, controls: &[Control]) -> Result<Vec<Control>> {
    let has_file = |control: &&Control| control.files.iter().any(|path| tree.contains(path));
    let present: Vec<Control> = controls.iter().filter(has_file).cloned().collect();
    if present.is_empty() {
        bail!("trim.txt leaves no file of any package");
    }
    Ok(present)
}

/// `packages.json`: name, version, architecture, sha256, sorted by name.
pub fn packages_json(controls: &[Control]) -> Result<Vec<u8>> {
    let packages: Vec<&Package> = controls.iter().map(|control| &control.package).collect();
    let mut text = serde_json::to_vec_pretty(&packages).context("writing packages.json")?;
    text.push(b'\n');
    Ok(text)
}
