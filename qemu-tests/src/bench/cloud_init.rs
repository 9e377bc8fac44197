//! The peer of the config bench: Debian's cloud-init in a root of its own.
//!
//! It believes that it may change the machine it runs on. So it gets namespaces of its own, an
//! empty /sys, no disk in /dev, and the settings that touch disks, network and host keys are off.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use super::Site;
use super::config::count;
use super::reference::sources;
use crate::tools::{Tools, run};

const PACKAGES: &str = "cloud-init";
const SETTINGS: &str = "\
datasource_list: [NoCloud]
network: {config: disabled}
resize_rootfs: false
growpart: {mode: 'off'}
ssh_deletekeys: false
ssh_genkeytypes: []
";
const METADATA: &str = "instance-id: measured\nlocal-hostname: measured\n";

/// Forgets the last run, then runs the stages in the root given as `$1`. Ends with what the
/// shell says its children used.
const RUN: &str = r#"
set -e
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
for memory in sys run dev; do mount -t tmpfs tmpfs $memory; done
for node in null zero full random urandom tty; do
  : > dev/$node
  mount --bind /dev/$node dev/$node
done
rm -rf var/lib/cloud/instance* var/lib/cloud/data var/lib/cloud/sem var/log/cloud-init* etc/files
exec chroot . sh -c '
  for stage in init "modules --mode=config" "modules --mode=final"; do
    cloud-init $stage > /run/said 2>&1 || { cat /run/said >&2; exit 1; }
  done
  times'
"#;

#[derive(Debug)]
pub(super) struct CloudInit<'a> {
    tools: &'a Tools,
    root: PathBuf,
}

impl<'a> CloudInit<'a> {
    /// Makes the root when it is missing, and lays the config into it.
    pub(super) fn prepare(site: &'a Site<'_>, user_data: &str) -> Result<Self> {
        let digest = Sha256::digest(format!("{PACKAGES}{SETTINGS}"));
        let name = format!(
            "cloud-init-{:02x}{:02x}{:02x}",
            digest[0], digest[1], digest[2]
        );
        let root = site.workspace.work().join("bench").join(name);
        if !root.exists() {
            site.progress
                .stage("cloud-init's root", || make(site, &root))?;
        }
        let seed = root.join("var/lib/cloud/seed/nocloud");
        fs::create_dir_all(&seed)?;
        fs::write(seed.join("user-data"), user_data)?;
        fs::write(seed.join("meta-data"), METADATA)?;
        let tools = site.tools;
        Ok(Self { tools, root })
    }

    /// The processor time of one run in milliseconds, which must have made so many files.
    pub(super) fn run(&self, files: usize) -> Result<f64> {
        let mut command = self.tools.command("unshare");
        command.args(["--uts", "--net", "--ipc", "--pid", "--fork"]);
        command
            .args(["sh", "-c", RUN, "cloud-init"])
            .arg(&self.root);
        let said = run(&mut command).context("running cloud-init")?;
        let made = count(&self.root.join("etc/files"));
        ensure!(made == files, "cloud-init made {made} files of {files}");
        let last = said.lines().last().unwrap_or_default();
        milliseconds(last).with_context(|| format!("the shell said of its children {last:?}"))
    }
}

fn make(site: &Site<'_>, root: &Path) -> Result<()> {
    let partial = root.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial)?;
    let mut command = Command::new("mmdebstrap");
    command
        .args(["--quiet", "--variant=apt"])
        .arg("--aptopt=APT::Install-Recommends \"0\"")
        .arg(format!("--include={PACKAGES}"))
        .arg("trixie")
        .arg(&partial)
        .args(sources(site)?);
    run(&mut command)?;
    fs::write(partial.join("etc/cloud/cloud.cfg.d/90-bench.cfg"), SETTINGS)?;
    fs::rename(partial, root).context("putting cloud-init's root in its place")
}

/// `1m2.500000s 0m0.250000s`: what ran in programs, and in the kernel for them.
fn milliseconds(times: &str) -> Result<f64> {
    let parts: Vec<&str> = times.split_whitespace().collect();
    ensure!(parts.len() == 2, "not two times");
    let mut sum = 0.0;
    for part in parts {
        let Some((minutes, seconds)) = part.trim_end_matches('s').split_once('m') else {
            bail!("{part} has no minutes");
        };
        sum += minutes.parse::<f64>()? * 60.0 + seconds.parse::<f64>()?;
    }
    Ok(sum * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_s_times_are_added() {
        assert_eq!(milliseconds("1m2.500000s 0m0.250000s").unwrap(), 62_750.0);
        for wrong in ["", "0m1s", "1s 2s", "0mxs 0m1s"] {
            assert!(milliseconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_that_reaches_the_host_is_left_on() {
        for line in ["resize_rootfs: false", "growpart: {mode: 'off'}"] {
            assert!(SETTINGS.contains(line), "{line}");
        }
        assert!(!RUN.contains("--rbind"), "{RUN}");
    }
}
