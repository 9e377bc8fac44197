//! From packages to a disk image, and the sizes of what comes out.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::Value;

use super::boot::describe;
use super::{Row, Site, Summary};
use crate::image::Image;
use crate::tools::run;

const PEER: &str = "mkosi, disk with verity";

pub fn build(site: &Site<'_>) -> Result<Vec<Row>> {
    let bench = Bench::prepare(site)?;
    let (mut own, mut changed, mut peer) =
        (Summary::default(), Summary::default(), Summary::default());
    for number in 1..=site.runs {
        let timed = |name: &str, summary: &mut Summary, work: &dyn Fn() -> Result<()>| {
            let name = format!("{name} {number} of {}", site.runs);
            site.progress.stage(&name, || {
                let started = Instant::now();
                work()?;
                summary.add(started.elapsed().as_secs_f64());
                Ok(())
            })
        };
        bench.forget_stages()?;
        timed("strake-image", &mut own, &|| bench.strake_image(None))?;
        let agent = bench.changed_agent(number)?;
        timed("strake-image with another agent", &mut changed, &|| {
            bench.strake_image(Some(&agent))
        })?;
        bench.forget_peer()?;
        timed("mkosi", &mut peer, &|| bench.mkosi())?;
    }
    let mut rows = vec![
        Row::machine(&describe()),
        Row::new("packages to disk image, packages cached", own.median(), "s")
            .against(PEER, peer.median())
            .ratio_at_most(0.5),
        Row::new("changed agent to disk image", changed.median(), "s").at_most(20.0),
    ];
    rows.extend(sizes(site)?);
    Ok(rows)
}

fn sizes(site: &Site<'_>) -> Result<Vec<Row>> {
    run(site
        .tools
        .strake_image()
        .args(["build", "--format", "raw,zst"]))?;
    let image = Image::open(&site.workspace.images().join("latest"))?;
    let size = |path: &Path| -> Result<f64> {
        let found = fs::metadata(path).with_context(|| format!("measuring {}", path.display()))?;
        Ok(found.len() as f64 / 1e6)
    };
    let file = |suffix: &str| {
        image
            .directory
            .join(format!("strake_{}{suffix}", image.release.version))
    };
    let uki = file(".efi");
    Ok(vec![
        Row::new("download (raw, zstd)", size(&file(".raw.zst"))?, "MB").at_most(200.0),
        Row::new(
            "slot content",
            size(&image.directory.join("usr.erofs"))?,
            "MB",
        )
        .at_most(700.0),
        Row::new("UKI", size(&uki)?, "MB").at_most(22.0),
        Row::new("initrd", initrd(site, &uki)?, "MB").at_most(4.0),
        Row::new("agent", size(&site.workspace.program("strake"))?, "MB").at_most(15.0),
    ])
}

fn initrd(site: &Site<'_>, uki: &Path) -> Result<f64> {
    let mut inspect = site.tools.command("ukify");
    let told: Value =
        serde_json::from_str(&run(inspect.arg("inspect").arg(uki).arg("--json=short"))?)?;
    let size = told[".initrd"]["size"]
        .as_u64()
        .context("ukify knows no size of .initrd")?;
    Ok(size as f64 / 1e6)
}

/// A place of its own, so that stages can be forgotten; tools and packages are the usual ones.
struct Bench<'a> {
    site: &'a Site<'a>,
    directory: PathBuf,
}

impl<'a> Bench<'a> {
    fn prepare(site: &'a Site<'a>) -> Result<Self> {
        let directory = site.workspace.work().join("bench/build");
        fs::create_dir_all(&directory)?;
        for shared in ["tools", "packages"] {
            let link = directory.join(shared);
            if !link.exists() {
                symlink(site.workspace.work().join(shared), &link)?;
            }
        }
        let bench = Self { site, directory };
        bench.write_mkosi()?;
        // Both caches of packages are filled before anything is measured.
        site.progress
            .stage("filling the package cache of mkosi", || bench.mkosi())?;
        Ok(bench)
    }

    fn forget_stages(&self) -> Result<()> {
        remove(&self.directory.join("cache"))?;
        remove(&self.directory.join("images"))
    }

    fn strake_image(&self, agent: Option<&Path>) -> Result<()> {
        let mut command = self.site.tools.strake_image();
        command
            .env("STRAKE_DIR", &self.directory)
            .args(["build", "--format", "raw"]);
        if let Some(agent) = agent {
            command.arg("--agent").arg(agent);
        }
        run(&mut command)?;
        Ok(())
    }

    /// The same program with other bytes at its end.
    fn changed_agent(&self, number: usize) -> Result<PathBuf> {
        let changed = self.directory.join("strake");
        fs::copy(self.site.workspace.program("strake"), &changed)?;
        writeln!(OpenOptions::new().append(true).open(&changed)?, "{number}")?;
        Ok(changed)
    }

    fn forget_peer(&self) -> Result<()> {
        remove(&self.directory.join("mkosi-output"))
    }

    fn write_mkosi(&self) -> Result<()> {
        let project = self.directory.join("mkosi");
        let sources = project.join("mkosi.sandbox/etc/apt/sources.list.d");
        for directory in [&sources, &project.join("mkosi.repart")] {
            fs::create_dir_all(directory)?;
        }
        let list = self.site.tools.run("cat", ["/etc/apt/sources.list"])?;
        fs::write(sources.join("mkosi.sources"), deb822(&list))?;
        let recipe = self
            .site
            .workspace
            .root()
            .join("image-builder/recipe/packages.txt");
        let packages = fs::read_to_string(recipe)?;
        fs::write(
            project.join("mkosi.conf"),
            mkosi_conf(&self.directory, &packages),
        )?;
        for (name, text) in REPART {
            fs::write(project.join("mkosi.repart").join(name), text)?;
        }
        for directory in ["mkosi-cache", "mkosi-work"] {
            fs::create_dir_all(self.directory.join(directory))?;
        }
        Ok(())
    }

    /// mkosi wants `/` to be a mount point, which the root of a chroot is not.
    fn mkosi(&self) -> Result<()> {
        fs::create_dir_all(self.directory.join("mkosi-output"))?;
        let script = "mount --rbind / /mnt && cd / && exec chroot /mnt mkosi \"$@\"";
        let mut command = self.site.tools.command("sh");
        command
            .args(["-c", script, "mkosi", "--directory"])
            .arg(self.directory.join("mkosi"));
        command.args(["--force", "build"]).stdin(Stdio::null());
        run(&mut command)?;
        Ok(())
    }
}

fn remove(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("removing {}", directory.display()))?;
    }
    Ok(())
}

/// The nearest that mkosi has to Strake's disk: one slot of erofs with its hash tree.
const REPART: [(&str, &str); 3] = [
    (
        "00-esp.conf",
        "[Partition]\nType=esp\nFormat=vfat\nCopyFiles=/boot:/\nSizeMinBytes=1G\nSizeMaxBytes=1G\n",
    ),
    (
        "10-usr.conf",
        "[Partition]\nType=usr\nFormat=erofs\nCopyFiles=/usr:/\nVerity=data\nVerityMatchKey=usr\nMinimize=best\n",
    ),
    (
        "20-verity.conf",
        "[Partition]\nType=usr-verity\nVerity=hash\nVerityMatchKey=usr\nMinimize=best\n",
    ),
];

fn mkosi_conf(directory: &Path, packages: &str) -> String {
    let names = packages
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    let listed: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    let path = |name: &str| directory.join(name).display().to_string();
    format!(
        "[Distribution]\nDistribution=debian\nRelease=trixie\n\n\
         [Output]\nFormat=disk\nImageId=peer\nOutputDirectory={}\n\n\
         [Build]\nBuildSources=\nPackageCacheDirectory={}\nWorkspaceDirectory={}\n\n\
         [Content]\nBootable=yes\nBootloader=systemd-boot\nWithDocs=no\nWithRecommends=no\n\
         Packages={}\n",
        path("mkosi-output"),
        path("mkosi-cache"),
        path("mkosi-work"),
        listed.join(",")
    )
}

/// `deb URI SUITE COMPONENT` lines in the form that mkosi replaces its own list with.
fn deb822(list: &str) -> String {
    let entries = list.lines().filter_map(|line| {
        let mut words = line.strip_prefix("deb ")?.split_whitespace();
        let (uri, suite) = (words.next()?, words.next()?);
        let components = words.collect::<Vec<_>>().join(" ");
        Some(format!(
            "Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: {components}\n\
             Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        ))
    });
    entries.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_list_is_that_of_the_recipe() {
        let conf = mkosi_conf(Path::new("/b"), "# Base\nbash\n\ncoreutils # basics\n");
        assert!(conf.ends_with("Packages=bash,coreutils\n"), "{conf}");
        assert!(conf.contains("OutputDirectory=/b/mkosi-output\n"), "{conf}");
    }

    #[test]
    fn sources_are_translated() {
        let expected = "Types: deb\nURIs: http://m/debian\nSuites: trixie\nComponents: main\n\
                        Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";
        assert_eq!(deb822("deb http://m/debian trixie main\n\n"), expected);
    }
}
