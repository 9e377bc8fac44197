//! The last stage: the disk image in its forms and everything that is published beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};

use super::release::{Artifact, Kind, Release};
use super::stages::{Modules, Usr};
use super::{Format, Order, Site, download, sbom};
use crate::BadInput;
use crate::cache::Entry;
use crate::digest::{Digest, Inputs};
use crate::disk;
use crate::layout::Layout;

const RELEASE: &str = "release.json";
/// Says which inputs an output directory was made from.
const STAMP: &str = ".inputs";

#[derive(Debug)]
pub(super) struct Parts {
    pub modules: Modules,
    pub usr: Usr,
    pub boot: Entry,
    pub filesystems: Entry,
}

pub(super) fn write(site: &Site<'_>, order: &Order, parts: &Parts) -> Result<Release> {
    let version = order.version.as_str();
    let out = match &order.out {
        Some(out) => std::path::absolute(out).context("finding the output directory")?,
        None => site.workspace.images().join(version),
    };
    let mut inputs = Inputs::new("image 1");
    inputs
        .add(parts.usr.entry.key())
        .add(parts.boot.key())
        .add(parts.filesystems.key());
    order.formats.iter().for_each(|format| {
        inputs.add(format!("{format:?}"));
    });
    let key = inputs.digest();
    let stage = site.progress.stage("image");
    if let Some(release) = finished(&out, &key) {
        stage.cached();
        return Ok(release);
    }
    let partial = prepare(&out)?;
    let release = fill(site, order, parts, &partial)?;
    fs::write(partial.join(RELEASE), release.to_json()?).context("writing release.json")?;
    fs::write(partial.join(STAMP), key.to_string()).context("marking the image as complete")?;
    publish(&partial, &out)?;
    if order.out.is_none() {
        point_latest(&site.workspace.images(), version)?;
    }
    stage.done();
    Ok(release)
}

/// The release in `out`, if it was made from the same inputs and nothing is missing.
fn finished(out: &Path, key: &Digest) -> Option<Release> {
    let stamp = fs::read_to_string(out.join(STAMP)).ok()?;
    if stamp != key.to_string() {
        return None;
    }
    let release: Release = serde_json::from_slice(&fs::read(out.join(RELEASE)).ok()?).ok()?;
    let whole = |artifact: &Artifact| {
        fs::metadata(out.join(&artifact.name)).is_ok_and(|meta| meta.len() == artifact.size)
    };
    release.artifacts.iter().all(whole).then_some(release)
}

/// An empty directory beside `out`, which must be new, empty or the output of an earlier build.
fn prepare(out: &Path) -> Result<PathBuf> {
    let foreign = out.exists()
        && !out.join(STAMP).exists()
        && fs::read_dir(out).map_or(true, |mut entries| entries.next().is_some());
    if foreign {
        let text = format!(
            "--out {}: has other files; give a new directory",
            out.display()
        );
        return Err(BadInput(text).into());
    }
    let partial = beside(out, "partial");
    remove(&partial)?;
    fs::create_dir_all(&partial).with_context(|| format!("making {}", partial.display()))?;
    Ok(partial)
}

fn publish(partial: &Path, out: &Path) -> Result<()> {
    let old = beside(out, "old");
    remove(&old)?;
    if out.exists() {
        fs::rename(out, &old).with_context(|| format!("replacing {}", out.display()))?;
    }
    fs::rename(partial, out).with_context(|| format!("making {}", out.display()))?;
    remove(&old)
}

fn beside(out: &Path, what: &str) -> PathBuf {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    out.with_file_name(format!(".{name}.{what}"))
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", directory.display()))
        }
        _ => Ok(()),
    }
}

fn point_latest(images: &Path, version: &str) -> Result<()> {
    let (link, new) = (images.join("latest"), images.join(".latest.new"));
    let _ = fs::remove_file(&new);
    std::os::unix::fs::symlink(version, &new)
        .and_then(|()| fs::rename(&new, &link))
        .with_context(|| format!("pointing {} to this version", link.display()))
}

fn fill(site: &Site<'_>, order: &Order, parts: &Parts, out: &Path) -> Result<Release> {
    let version = order.version.as_str();
    let facts = &parts.usr.facts;
    let raw = out.join(format!("strake_{version}.raw"));
    if !order.formats.is_empty() {
        write_disk(&raw, parts)?;
    }
    let mut kinds = copy_parts(version, parts, out)?;
    kinds.push((write_sbom(version, parts, out)?, Kind::Sbom));
    let mut artifacts = thread::scope(|scope| -> Result<Vec<Artifact>> {
        let form = |format: &Format| {
            let format = *format;
            scope.spawn(move || write_form(site, format, version, out))
        };
        let forms: Vec<_> = order.formats.iter().map(form).collect();
        let of = |(name, kind)| Artifact::of(out, name, kind);
        let mut artifacts = kinds.into_iter().map(of).collect::<Result<Vec<_>>>()?;
        for form in forms {
            artifacts.push(form.join().expect("forms are made without panic")?);
        }
        Ok(artifacts)
    })?;
    if !order.formats.is_empty() && !order.formats.contains(&Format::Raw) {
        fs::remove_file(&raw).context("removing the raw image")?;
    }
    artifacts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Release {
        name: "strake".into(),
        version: version.to_owned(),
        architecture: "x86-64".into(),
        root_hash: facts.root_hash,
        salt: facts.salt,
        verity_uuid: facts.verity_uuid.clone(),
        kernel: parts.modules.kernel.clone(),
        usr_size: facts.size,
        data_blocks: facts.data_blocks,
        artifacts,
    })
}

fn write_disk(raw: &Path, parts: &Parts) -> Result<()> {
    let (usr, filesystems) = (&parts.usr.entry, &parts.filesystems);
    let contents = [
        ("EFI-SYSTEM", parts.boot.path("esp")),
        ("USR-A", usr.path("usr.erofs")),
        ("USR-A-VERITY", usr.path("usr.verity")),
        ("OEM", filesystems.path("OEM")),
        ("CONFIG", filesystems.path("CONFIG")),
        ("STATE", filesystems.path("STATE")),
        ("DATA", filesystems.path("DATA")),
    ];
    disk::write(raw, &Layout::of(&parts.usr.facts.root_hash), &contents)
}

/// What is published as it lies in the cache.
fn copy_parts(version: &str, parts: &Parts, out: &Path) -> Result<Vec<(String, Kind)>> {
    let usr = &parts.usr.entry;
    let copy = |source: PathBuf, name: &str, kind| -> Result<(String, Kind)> {
        fs::copy(source, out.join(name)).with_context(|| format!("writing {name}"))?;
        Ok((name.to_owned(), kind))
    };
    Ok(vec![
        copy(usr.path("usr.erofs"), "usr.erofs", Kind::Usr)?,
        copy(usr.path("usr.verity"), "usr.verity", Kind::UsrVerity)?,
        copy(usr.path("packages.json"), "packages.json", Kind::Packages)?,
        copy(
            parts.boot.path("uki"),
            &format!("strake_{version}.efi"),
            Kind::Uki,
        )?,
    ])
}

fn write_sbom(version: &str, parts: &Parts, out: &Path) -> Result<String> {
    let namespace = parts.usr.facts.root_hash.to_string();
    let document = sbom::document(version, &namespace, &parts.usr.controls()?);
    let text = serde_json::to_string_pretty(&document).context("writing the SBOM")? + "\n";
    let name = "sbom.spdx.json";
    fs::write(out.join(name), text).context("writing the SBOM")?;
    Ok(name.to_owned())
}

/// The raw image is there already; the others are made from it.
fn write_form(site: &Site<'_>, format: Format, version: &str, out: &Path) -> Result<Artifact> {
    let raw = format!("strake_{version}.raw");
    let source = out.join(&raw);
    let (name, kind) = match format {
        Format::Raw => (raw, Kind::DiskRaw),
        Format::Qcow2 => (format!("strake_{version}.qcow2"), Kind::DiskQcow2),
        Format::Zst => (format!("{raw}.zst"), Kind::DiskZst),
    };
    let target = out.join(&name);
    match format {
        Format::Raw => {}
        Format::Qcow2 => {
            let stage = site.progress.stage("qcow2");
            download::qcow2(site.tools, &source, &target)?;
            stage.done();
        }
        Format::Zst => {
            let stage = site.progress.stage("raw.zst");
            download::zst(&source, &target)?;
            stage.done();
        }
    }
    Artifact::of(out, name, kind)
}
