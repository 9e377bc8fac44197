//! Releases from the image definition, and a repository with a channel for each kind of update.
//!
//! They are kept under the digest of their package lists, so that figures stay comparable; without
//! the directory `bench/update` the lists are made anew from what the mirror has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

use crate::bench::Site;
use crate::tools::run;

/// From the release `OLD` to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pair {
    /// The same inputs under another version.
    Rebuild,
    /// Security fixes of all packages but the kernel.
    Libraries,
    /// Security fixes of all packages.
    Kernel,
    /// Backports, with another kernel series and more packages.
    Major,
}

impl Pair {
    pub(super) const OLD: &str = "1.0.0";
    pub(super) const ALL: [Self; 4] = [Self::Rebuild, Self::Libraries, Self::Kernel, Self::Major];

    /// Also the name of its channel.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rebuild => "rebuild",
            Self::Libraries => "libraries",
            Self::Kernel => "kernel",
            Self::Major => "major",
        }
    }

    pub(super) fn version(self) -> &'static str {
        match self {
            Self::Rebuild => "1.0.1",
            Self::Libraries => "1.1.0",
            Self::Kernel => "1.2.0",
            Self::Major => "2.0.0",
        }
    }

    /// Megabytes.
    pub(super) fn bar(self) -> Option<f64> {
        match self {
            Self::Rebuild => Some(0.1),
            Self::Libraries => Some(3.0),
            Self::Kernel => Some(20.0),
            Self::Major => None,
        }
    }

    fn list(self) -> &'static str {
        match self {
            Self::Rebuild => "main",
            Self::Libraries => "libraries",
            Self::Kernel => "security",
            Self::Major => "backports",
        }
    }
}

/// What `--suite backports` is built with in addition.
const MORE: &[&str] = &["--suite=backports", "--package=podman"];

#[derive(Debug)]
pub(super) struct Releases {
    /// Of the package lists.
    pub(super) digest: String,
    directory: PathBuf,
}

impl Releases {
    pub(super) fn prepare(site: &Site<'_>, publisher: &Path) -> Result<Self> {
        let bench = site.workspace.work().join("bench/update");
        let lists = bench.join("lists");
        fs::create_dir_all(&lists).with_context(|| format!("making {}", lists.display()))?;
        let mut hash = Sha256::new();
        for (name, list) in package_lists(site, &lists)? {
            hash.update(format!("{name}\n{list}\n"));
        }
        let digest: String = hash.finalize()[..6]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let directory = bench.join(&digest);
        let releases = Self { digest, directory };
        for (version, list) in Pair::ALL
            .iter()
            .map(|pair| (pair.version(), pair.list()))
            .chain([(Pair::OLD, "main")])
        {
            releases.make(site, version, &lists.join(list), list == "backports")?;
        }
        releases.publish(site, publisher)?;
        Ok(releases)
    }

    /// What `strake-image build` wrote.
    pub(super) fn build(&self, version: &str) -> PathBuf {
        self.directory.join(version)
    }

    pub(super) fn repository(&self) -> PathBuf {
        self.directory.join("repository")
    }

    fn make(&self, site: &Site<'_>, version: &str, list: &Path, is_major: bool) -> Result<()> {
        let out = self.build(version);
        if out.join("release.json").exists() {
            return Ok(());
        }
        site.progress.stage(&format!("release {version}"), || {
            let mut command = site.tools.strake_image();
            command.args(["build", "--no-disk", "--version", version]);
            command.arg("--lock").arg(list).arg("--out").arg(&out);
            if is_major {
                command.args(MORE);
            }
            run(&mut command).map(drop)
        })
    }

    fn publish(&self, site: &Site<'_>, publisher: &Path) -> Result<()> {
        let repository = self.repository();
        if repository.exists() {
            return Ok(());
        }
        // Under its own name only when it is complete.
        let draft = self.directory.join("repository.draft");
        if draft.exists() {
            fs::remove_dir_all(&draft).with_context(|| format!("removing {}", draft.display()))?;
        }
        fs::create_dir(&draft).with_context(|| format!("making {}", draft.display()))?;
        let release = |arguments: &[&str]| {
            let mut command = Command::new(publisher);
            command.arg("--repo").arg(&draft);
            command.arg("--keys").arg(self.directory.join("keys"));
            run(command.args(arguments)).map(drop)
        };
        let keys = self.directory.join("keys");
        if keys.exists() {
            fs::remove_dir_all(&keys).with_context(|| format!("removing {}", keys.display()))?;
        }
        let channels = Pair::ALL.map(|pair| format!("--channel={}", pair.name()));
        let mut init = vec!["init", "--online-expiry=365d"];
        init.extend(channels.iter().map(String::as_str));
        release(&init)?;
        let add = |version: &str, channel: &str| {
            let directory = self.build(version);
            let directory = directory.to_str().context("the path is not UTF-8")?;
            site.progress.stage(&format!("publishing {version}"), || {
                release(&["add", directory, "--channel", channel])?;
                release(&["sign"])
            })
        };
        let first = Pair::ALL[0].name();
        add(Pair::OLD, first)?;
        for pair in &Pair::ALL[1..] {
            release(&["promote", Pair::OLD, first, pair.name()])?;
        }
        for pair in Pair::ALL {
            add(pair.version(), pair.name())?;
        }
        fs::rename(&draft, &repository).context("naming the repository")
    }
}

/// The lists by name; those that are missing are made.
fn package_lists(site: &Site<'_>, directory: &Path) -> Result<Vec<(&'static str, String)>> {
    let recipe = site.workspace.root().join("image-builder/recipe");
    for (name, more) in [
        ("main", &["--suite=main"][..]),
        ("security", &["--suite=security"]),
        ("backports", MORE),
    ] {
        let out = directory.join(name);
        if !out.exists() {
            site.progress.stage(&format!("packages of {name}"), || {
                let mut command = site.tools.strake_image();
                command.arg("lock").arg("--recipe").arg(&recipe);
                run(command.arg("--out").arg(&out).args(more)).map(drop)
            })?;
        }
    }
    let read = |name: &'static str| {
        let path = directory.join(name);
        let text = fs::read_to_string(&path);
        Ok((
            name,
            text.with_context(|| format!("reading {}", path.display()))?,
        ))
    };
    let libraries = directory.join("libraries");
    if !libraries.exists() {
        let text = without_kernel(&read("security")?.1, &read("main")?.1);
        fs::write(&libraries, text).context("writing the list without another kernel")?;
    }
    ["main", "libraries", "security", "backports"]
        .into_iter()
        .map(read)
        .collect()
}

/// A list in which the kernel's packages are those of another one.
fn without_kernel(list: &str, kernel: &str) -> String {
    let is_kernel = |line: &&str| line.starts_with("linux-image-");
    let head = list.lines().filter(|line| line.starts_with('#'));
    let packages = list.lines().filter(|line| !line.starts_with('#'));
    let packages = packages.filter(|line| !is_kernel(line));
    let mut packages: Vec<&str> = packages.chain(kernel.lines().filter(is_kernel)).collect();
    packages.sort_unstable();
    head.chain(packages)
        .map(|line| format!("{line}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernel_is_taken_from_the_other_list() {
        let new = "# Head\nbash 2\nlinux-image-2 2\nlinux-image-x 2\nzlib 2\n";
        let old = "# Head\nbash 1\nlinux-image-1 1\nlinux-image-x 1\nzlib 1\n";
        let expected = "# Head\nbash 2\nlinux-image-1 1\nlinux-image-x 1\nzlib 2\n";
        assert_eq!(without_kernel(new, old), expected);
    }
}
