//! The peer of the boot bench: the packages of the image's recipe on an ordinary root.
//!
//! Debian's maintainer scripts run, the root is ext4, the initrd is dracut's, the cloud-config is
//! read by Debian's cloud-init, systemd-boot starts the kernel. Same mirror, same tools, same
//! services, same kernel options.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::Site;
use crate::tools::run;

/// What the ordinary way needs besides the recipe's packages.
const ADDED: [&str; 4] = ["cloud-init", "dracut", "netplan.io", "systemd-boot"];
const KERNEL_OPTIONS: &str =
    "root=LABEL=REFERENCE rw console=tty0 console=ttyS0,115200 quiet panic=5";
const ESP_MIB: u64 = 256;
const ROOT_MIB: u64 = 4096;

/// boot-complete.target is reached when the services of the comparison are up and cloud-init is
/// done, as on Strake it is reached when the required units are.
const READY: &str = "\
[Unit]
Description=The services of the comparison are up
After=docker.service containerd.service ssh.service cloud-final.service
Before=boot-complete.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
";

/// Says so on the console, so that nobody has to log in, and thereby slow the boot, to find out.
/// The same unit is in Strake's cloud-config.
const ANNOUNCEMENT: &str = "\
[Unit]
Description=The end of the boot
After=boot-complete.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo boot is complete > /dev/console'
";

/// Runs in the new root's directory, given as `$1`.
const SETTLE: &str = "\
set -e
cd \"$1\"
cp \"$READY\" etc/systemd/system/reference-ready.service
cp \"$ANNOUNCEMENT\" etc/systemd/system/announcement.service
mkdir -p etc/systemd/system/boot-complete.target.wants
ln -s ../announcement.service etc/systemd/system/boot-complete.target.wants/
mkdir -p etc/systemd/system/boot-complete.target.requires etc/systemd/system/cloud-init.target.wants
ln -s ../reference-ready.service etc/systemd/system/boot-complete.target.requires/
ln -s /usr/lib/systemd/system/boot-complete.target etc/systemd/system/cloud-init.target.wants/
echo 'LABEL=REFERENCE / ext4 defaults 0 1' > etc/fstab
echo 'datasource_list: [NoCloud]' > etc/cloud/cloud.cfg.d/90-reference.cfg
chroot . systemctl -q enable systemd-networkd systemd-resolved systemd-timesyncd docker containerd ssh
chroot . systemctl -q disable etcd || true
";

/// The disk image; made once for each list of packages.
pub(super) fn disk(site: &Site<'_>) -> Result<PathBuf> {
    let packages = packages(site)?;
    let digest = Sha256::digest(format!(
        "{packages:?}{READY}{ANNOUNCEMENT}{SETTLE}{KERNEL_OPTIONS}"
    ));
    let name: String = digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let directory = site
        .workspace
        .work()
        .join("bench")
        .join(format!("reference-{name}"));
    let disk = directory.join("reference.raw");
    if !disk.exists() {
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        site.progress
            .stage("reference image", || make(site, &directory, &packages))?;
    }
    Ok(disk)
}

fn packages(site: &Site<'_>) -> Result<Vec<String>> {
    let recipe = site
        .workspace
        .root()
        .join("image-builder/recipe/packages.txt");
    let text =
        fs::read_to_string(&recipe).with_context(|| format!("reading {}", recipe.display()))?;
    let listed = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    let names = listed.filter(|name| !name.is_empty()).chain(ADDED);
    Ok(names.map(str::to_owned).collect())
}

fn make(site: &Site<'_>, directory: &Path, packages: &[String]) -> Result<()> {
    let root = directory.join("root");
    let file = |name: &str| directory.join(name);
    let (ready, announcement, settle) = (
        file("ready.service"),
        file("announcement.service"),
        file("settle"),
    );
    fs::write(&ready, READY)?;
    fs::write(&announcement, ANNOUNCEMENT)?;
    fs::write(&settle, SETTLE)?;
    let mut command = Command::new("mmdebstrap");
    command
        .args([
            "--quiet",
            "--variant=apt",
            "--aptopt=APT::Install-Recommends \"0\"",
        ])
        .arg(format!("--include={}", packages.join(",")))
        .arg(format!("--customize-hook=sh {} \"$1\"", settle.display()))
        .env("READY", &ready)
        .env("ANNOUNCEMENT", &announcement)
        .arg("trixie")
        .arg(&root)
        .args(sources(site)?);
    run(&mut command)?;
    assemble(site, directory, &root)?;
    fs::remove_dir_all(&root).context("removing the reference's root")
}

/// The package sources of the tools tree, so that both images come from one mirror.
pub(super) fn sources(site: &Site<'_>) -> Result<Vec<String>> {
    let list = site.tools.run("cat", ["/etc/apt/sources.list"])?;
    Ok(list
        .lines()
        .filter(|line| line.starts_with("deb "))
        .map(str::to_owned)
        .collect())
}

fn assemble(site: &Site<'_>, directory: &Path, root: &Path) -> Result<()> {
    let path = |name: &str| directory.join(name).display().to_string();
    let (esp, filesystem) = (path("esp"), path("filesystem"));
    let kernel = find(&root.join("boot"), "vmlinuz-")?;
    let initrd = find(&root.join("boot"), "initrd.img-")?;
    let uki = path("reference.efi");
    site.tools.run(
        "ukify",
        [
            "build".to_owned(),
            format!("--linux={}", kernel.display()),
            format!("--initrd={}", initrd.display()),
            format!("--cmdline={KERNEL_OPTIONS}"),
            format!("--output={uki}"),
        ],
    )?;

    File::create(&esp)?.set_len(ESP_MIB << 20)?;
    site.tools
        .run("mkfs.vfat", ["-F", "32", "-n", "ESP", &esp])?;
    site.tools.run(
        "mmd",
        ["-i", &esp, "::EFI", "::EFI/BOOT", "::EFI/Linux", "::loader"],
    )?;
    let loader = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";
    site.tools
        .run("mcopy", ["-i", &esp, loader, "::EFI/BOOT/BOOTX64.EFI"])?;
    site.tools
        .run("mcopy", ["-i", &esp, &uki, "::EFI/Linux/reference.efi"])?;

    File::create(&filesystem)?.set_len(ROOT_MIB << 20)?;
    let source = root.display().to_string();
    site.tools.run(
        "mkfs.ext4",
        ["-q", "-L", "REFERENCE", "-d", &source, &filesystem],
    )?;

    let partial = path("partial");
    let mut disk = File::create(&partial)?;
    disk.set_len((ESP_MIB + ROOT_MIB + 8) << 20)?;
    let first = format!("--new=1:1M:+{ESP_MIB}M");
    let second = format!("--new=2:0:+{ROOT_MIB}M");
    let table = [
        &first,
        "--typecode=1:ef00",
        &second,
        "--typecode=2:8304",
        &partial,
    ];
    site.tools.run("sgdisk", table)?;
    copy_sparse(&esp, &mut disk, 1 << 20)?;
    copy_sparse(&filesystem, &mut disk, (1 + ESP_MIB) << 20)?;
    fs::remove_file(esp)?;
    fs::remove_file(filesystem)?;
    Ok(fs::rename(partial, directory.join("reference.raw"))?)
}

fn find(directory: &Path, prefix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(directory).context("looking for the reference's kernel")?;
    let names = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let starts = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    };
    names
        .into_iter()
        .find(starts)
        .with_context(|| format!("no {prefix} in the reference's root"))
}

/// Copies a file system image to its place on the disk, without its empty blocks.
fn copy_sparse(from: &str, disk: &mut File, offset: u64) -> Result<()> {
    use std::io::{Read, Write};
    const BLOCK: usize = 1 << 20;
    let mut source = File::open(from)?;
    let (mut buffer, mut place) = (vec![0; BLOCK], offset);
    loop {
        let length = read_full(&mut source, &mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        if buffer[..length].iter().any(|byte| *byte != 0) {
            disk.seek(SeekFrom::Start(place))?;
            disk.write_all(&buffer[..length])?;
        }
        place += length as u64;
    }

    fn read_full(source: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match source.read(&mut buffer[filled..])? {
                0 => break,
                length => filled += length,
            }
        }
        Ok(filled)
    }
}
