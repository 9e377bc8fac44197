//! The tools tree: a Debian root with every program that the builder and the lab run.
//!
//! The host gives mmdebstrap and apt only, so results do not depend on what else it has. The tree
//! is named by the digest of its package list and made once.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::unistd::Uid;

use crate::digest::Inputs;
use crate::mirror::{Mirror, Suite};
use crate::progress::Progress;
use crate::workspace::Workspace;
use crate::{EPOCH, SUITE, cache};

/// One line a purpose: image formats, boot, virtual machines, images of containers, the peers
/// that the benches compare with, and what scripts of tests call.
const PACKAGES: [&str; 41] = [
    "erofs-utils",
    "cryptsetup-bin",
    "mtools",
    "dosfstools",
    "xorriso",
    "gdisk",
    "e2fsprogs",
    "cpio",
    "systemd",
    "systemd-ukify",
    "systemd-boot-efi",
    "systemd-repart",
    "sbsigntool",
    "kmod",
    "openssl",
    "libcap2-bin",
    "attr",
    "xz-utils",
    "zstd",
    "jq",
    "qemu-system-x86",
    "qemu-utils",
    "ovmf",
    "swtpm",
    "swtpm-tools",
    "openssh-client",
    "skopeo",
    "umoci",
    "docker-registry",
    "etcd-server",
    "etcd-client",
    "iproute2",
    "iputils-ping",
    "socat",
    "ca-certificates",
    "curl",
    "procps",
    "mkosi",
    "debian-archive-keyring",
    "dracut",
    "systemd-container",
];

/// What a test of pages needs and nothing else does; a tree of its own, made when it is asked for.
const BROWSER: [&str; 2] = ["chromium-headless-shell", "fonts-dejavu-core"];

/// Which tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kit {
    #[default]
    Build,
    Browser,
}

impl Kit {
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Build => &PACKAGES,
            Self::Browser => &BROWSER,
        }
    }

    fn parent(self, workspace: &Workspace) -> PathBuf {
        match self {
            Self::Build => workspace.tools(),
            Self::Browser => workspace.root().join("browser"),
        }
    }
}

/// Trees kept: this one and the one before it, which a running cluster may still use.
const KEPT: usize = 2;

#[derive(Debug, Clone)]
pub struct Tools {
    tree: PathBuf,
    workspace: Workspace,
    program: PathBuf,
}

impl Tools {
    /// Finds the tree, or makes it.
    pub fn prepare(
        workspace: &Workspace,
        kit: Kit,
        mirror: impl FnOnce() -> Result<Mirror>,
        progress: &Progress,
    ) -> Result<Self> {
        let inputs = kit
            .packages()
            .iter()
            .fold(Inputs::new("tools 1"), Inputs::with);
        let tree = kit.parent(workspace).join(inputs.digest().short());
        if !tree.is_dir() {
            let _lock = cache::lock(&kit.parent(workspace), progress)?;
            if !tree.is_dir() {
                make(&tree, workspace, kit, &mirror()?, progress)?;
            }
        }
        let program = std::env::current_exe().context("finding this program")?;
        Ok(Self {
            tree,
            workspace: workspace.clone(),
            program,
        })
    }

    pub fn tree(&self) -> &Path {
        &self.tree
    }

    /// A command that runs `program` of the tools tree, by way of `strake-image tool`.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--dir")
            .arg(self.workspace.root())
            .args(["tool", "--", program]);
        command.env("SOURCE_DATE_EPOCH", EPOCH.to_string());
        command
    }
}

fn make(
    tree: &Path,
    workspace: &Workspace,
    kit: Kit,
    mirror: &Mirror,
    progress: &Progress,
) -> Result<()> {
    let stage = progress.stage("tools");
    let parent = kit.parent(workspace);
    cache::prune(&parent, KEPT - 1);
    let partial = parent.join(format!(".partial-{}", std::process::id()));
    fs::create_dir(&partial).with_context(|| format!("making {}", partial.display()))?;
    let packages = workspace.packages();
    fs::create_dir_all(&packages).with_context(|| format!("making {}", packages.display()))?;
    let mut command = mmdebstrap("apt");
    command
        .args([
            "--format=tar",
            "--skip=download/empty",
            "--skip=essential/unlink",
        ])
        .arg("--setup-hook=mkdir -p \"$1\"/var/cache/apt/archives/")
        .arg(format!(
            "--setup-hook=sync-in {} /var/cache/apt/archives/",
            packages.display()
        ))
        .arg(format!(
            "--customize-hook=sync-out /var/cache/apt/archives {}",
            packages.display()
        ))
        .args(
            ["doc", "man", "locale", "info"]
                .map(|dir| format!("--dpkgopt=path-exclude=/usr/share/{dir}/*")),
        )
        .args([
            "--dpkgopt=force-unsafe-io",
            "--dpkgopt=path-exclude=/etc/kernel/postinst.d/*",
        ])
        .arg(format!("--include={}", kit.packages().join(",")))
        .args([SUITE, "-"])
        .args(mirror.sources(Suite::Security))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(not_installed)?;
    let mut stderr = child.stderr.take().expect("piped above");
    let words = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    });
    let unpacked = unpack(child.stdout.take().expect("piped above"), &partial);
    let status = child.wait().context("waiting for mmdebstrap")?;
    let words = words.join().unwrap_or_default();
    if !status.success() {
        return Err(failed(&words, mirror));
    }
    unpacked?;
    fs::rename(&partial, tree).context("putting the tools tree in its place")?;
    stage.done();
    Ok(())
}

/// The host's mmdebstrap with what all uses share.
pub fn mmdebstrap(variant: &str) -> Command {
    let mut command = Command::new("mmdebstrap");
    command
        .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
        .arg(format!("--variant={variant}"))
        .arg("--aptopt=APT::Install-Recommends \"0\"")
        .arg("--aptopt=Acquire::Retries \"3\"");
    if !Uid::effective().is_root() {
        command.arg("--mode=unshare");
    }
    command
}

pub fn not_installed(source: std::io::Error) -> anyhow::Error {
    anyhow::Error::new(source)
        .context("starting mmdebstrap (install it: apt-get install mmdebstrap)")
}

/// What went wrong in mmdebstrap, and what to do about the usual causes.
pub fn failed(words: &str, mirror: &Mirror) -> anyhow::Error {
    let telling = |line: &&str| {
        line.starts_with("E:") || line.starts_with("Err:") || line.contains("No space left")
    };
    let said: Vec<&str> = words.lines().filter(telling).take(6).collect();
    let said = if said.is_empty() {
        words.lines().rev().take(4).collect()
    } else {
        said
    };
    let url = mirror.url();
    let advice = if words.contains("uidmap") || words.contains("subuid") {
        "without root mmdebstrap needs the package uidmap and lines for this user in /etc/subuid \
         and /etc/subgid"
            .to_owned()
    } else {
        format!("if the mirror {url} does not answer, give another with --mirror URL")
    };
    anyhow::anyhow!(
        "mmdebstrap ended with an error ({advice}):\n  {}",
        said.join("\n  ")
    )
}

fn unpack(tar: impl Read, target: &Path) -> Result<()> {
    let mut archive = tar::Archive::new(tar);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(Uid::effective().is_root());
    archive.set_preserve_mtime(true);
    for entry in archive.entries().context("reading mmdebstrap's output")? {
        let mut entry = entry.context("reading mmdebstrap's output")?;
        let kind = entry.header().entry_type();
        // The host's /dev is bound over the tree's, and only root could make these.
        if kind.is_character_special() || kind.is_block_special() {
            continue;
        }
        entry
            .unpack_in(target)
            .context("unpacking the tools tree")?;
    }
    Ok(())
}
