//! One build: from a recipe and two programs to the artifacts of a release.

mod artifacts;
mod download;
mod kernel_options;
mod partitions;
mod release;
mod sbom;
mod stages;

use std::path::PathBuf;

use anyhow::Result;

use crate::BadInput;
use crate::cache::Cache;
use crate::mirror::{Mirror, Suite};
use crate::packages::{Lock, Package, Request};
use crate::progress::Progress;
use crate::recipe::Recipe;
use crate::tools::Tools;
use crate::workspace::Workspace;

pub use kernel_options::KernelOptions;
pub use release::{Artifact, Kind, Release};

/// What is to be built.
#[derive(Debug)]
pub struct Order {
    pub recipe: Recipe,
    pub extra_packages: Vec<String>,
    pub suite: Suite,
    pub version: Version,
    pub overlays: Vec<PathBuf>,
    /// Content of the root.json that machines trust first.
    pub update_root: Option<Vec<u8>>,
    pub kernel_options: KernelOptions,
    pub agent: PathBuf,
    pub init: PathBuf,
    /// None is the workspace's directory for this version.
    pub out: Option<PathBuf>,
    /// With none there is no disk image.
    pub formats: Vec<Format>,
    pub lock_policy: LockPolicy,
}

/// What to do when the packages are not those of the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockPolicy {
    Warn,
    Require,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Format {
    Raw,
    Qcow2,
    Zst,
}

/// Names a release; part of file names and of the boot entry, where `_` and `+` mean something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(String);

impl std::str::FromStr for Version {
    type Err = BadInput;

    fn from_str(text: &str) -> Result<Self, BadInput> {
        let plain = |c: char| c.is_ascii_alphanumeric();
        let sound = text.len() <= 64
            && text.starts_with(plain)
            && text.chars().all(|c| plain(c) || ".-~^".contains(c));
        match sound {
            true => Ok(Self(text.to_owned())),
            false => Err(BadInput(format!(
                "{text:?} is no version: 1 to 64 letters, digits and . - ~ ^, a letter or digit first"
            ))),
        }
    }
}

impl Version {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What every stage works with.
#[derive(Debug)]
pub struct Site<'a> {
    pub workspace: &'a Workspace,
    pub tools: &'a Tools,
    pub cache: &'a Cache,
    pub progress: &'a Progress,
}

pub fn build(
    site: &Site<'_>,
    order: &Order,
    mirror: impl FnOnce() -> Result<Mirror>,
) -> Result<Release> {
    let request = Request::new(order.recipe.packages.iter().chain(&order.extra_packages))?;
    if order.recipe.lock.is_none() && order.lock_policy == LockPolicy::Require {
        let text = "--locked: the recipe has no packages.lock; make one with `strake-image lock`";
        return Err(BadInput(text.into()).into());
    }
    let packages = stages::packages(site, &order.recipe, &request, order.suite, mirror)?;
    check_lock(site.progress, order, &packages.lock)?;
    let modules = stages::modules(site, &order.recipe, &packages)?;
    let (usr, initrd, filesystems) = std::thread::scope(|scope| -> Result<_> {
        let small = scope.spawn(|| -> Result<_> {
            let initrd = stages::initrd(site, order, &modules)?;
            Ok((initrd, partitions::filesystems(site)?))
        });
        let usr = stages::usr(site, order, &packages, &modules);
        let (initrd, filesystems) = small.join().expect("stages do not panic")?;
        Ok((usr?, initrd, filesystems))
    })?;
    let boot = partitions::boot(site, order, &modules, &initrd, &usr)?;
    artifacts::write(
        site,
        order,
        &artifacts::Parts {
            modules,
            usr,
            boot,
            filesystems,
        },
    )
}

/// Resolves the recipe's packages anew, with what the mirror has now.
pub fn lock(
    site: &Site<'_>,
    recipe: &Recipe,
    extra_packages: &[String],
    suite: Suite,
    mirror: impl FnOnce() -> Result<Mirror>,
) -> Result<Lock> {
    let request = Request::new(recipe.packages.iter().chain(extra_packages))?;
    let stage = site.progress.stage("lock");
    let archives =
        crate::packages::resolve(&request, None, suite, mirror, &site.workspace.packages())?;
    let packages: Vec<Package> = archives
        .into_iter()
        .map(|archive| archive.package)
        .collect();
    stage.done();
    Ok(Lock::new(&request, packages))
}

fn check_lock(progress: &Progress, order: &Order, found: &Lock) -> Result<()> {
    let Some(lock) = &order.recipe.lock else {
        return Ok(());
    };
    let mut differences = lock.differences(found);
    if order.extra_packages.is_empty() && lock.request != found.request {
        differences.push("packages.txt: changed since it was locked".into());
    }
    match order.lock_policy {
        _ if differences.is_empty() => Ok(()),
        LockPolicy::Warn => {
            progress.warn(&format!(
                "differences from packages.lock (mirrors move on): {}; `strake-image lock` takes \
                 them over, --locked refuses them",
                differences.len()
            ));
            Ok(())
        }
        LockPolicy::Require => anyhow::bail!(
            "the packages are not those of packages.lock:\n  {}\ngive a mirror that has the \
             locked versions with --mirror, or take over what is there now with `strake-image \
             lock`",
            differences.join("\n  ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_break_names_are_refused() {
        for good in ["1", "0.1.0", "2026.01-rc1~2"] {
            assert_eq!(good.parse::<Version>().unwrap().as_str(), good);
        }
        for bad in ["", "1_2", "1+3", "-1", "a b", "../x", &"1".repeat(65)] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }
}
