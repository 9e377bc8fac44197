//! The files of a machine, and how they are made.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::drive::{Drive, IMAGE, copy_into};
use super::partition;
use super::spec::{Config, Disk, MachineSpec};
use crate::tools::{Tools, run};

#[derive(Debug, Clone)]
pub struct Files {
    pub directory: PathBuf,
    pub disk: PathBuf,
    pub variables: PathBuf,
    pub recording: PathBuf,
    pub console_log: PathBuf,
    pub qemu_log: PathBuf,
    pub state: PathBuf,
    pub sockets: PathBuf,
    pub console_socket: PathBuf,
    pub monitor: PathBuf,
}

impl Files {
    pub fn new(directory: &Path, sockets: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            disk: directory.join("disk.qcow2"),
            variables: directory.join("variables.qcow2"),
            recording: directory.join("writes.log"),
            console_log: directory.join("console.log"),
            qemu_log: directory.join("qemu.log"),
            state: directory.join("machine.json"),
            sockets: sockets.to_owned(),
            console_socket: sockets.join("console"),
            monitor: sockets.join("monitor"),
        }
    }

    pub fn in_directory(directory: &Path) -> Self {
        Self::new(directory, &socket_directory(directory))
    }

    pub fn config_drive(&self, spec: &MachineSpec) -> Option<PathBuf> {
        matches!(spec.config, Config::Drive { .. } | Config::NoCloud { .. })
            .then(|| self.directory.join(IMAGE))
    }

    /// Makes everything QEMU needs, anew.
    pub fn prepare(&self, spec: &MachineSpec, tools: &Tools) -> Result<()> {
        fs::create_dir_all(&self.directory)
            .with_context(|| format!("creating {}", self.directory.display()))?;
        make_private(&self.sockets)?;
        for log in [&self.console_log, &self.qemu_log] {
            fs::write(log, "").with_context(|| format!("creating {}", log.display()))?;
        }
        self.make_disk(spec, tools)
            .context("making the machine's disk")?;
        let variables = ["convert", "-O", "qcow2", "/usr/share/OVMF/OVMF_VARS_4M.fd"];
        tools.run(
            "qemu-img",
            variables
                .map(Path::new)
                .into_iter()
                .chain([&*self.variables]),
        )?;
        self.write_config(spec, tools)
            .context("handing the cloud-config over")
    }

    fn make_disk(&self, spec: &MachineSpec, tools: &Tools) -> Result<()> {
        match spec.disk {
            Disk::Overlay => {
                let mut command = tools.command("qemu-img");
                command.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]);
                command
                    .arg(&spec.image)
                    .arg(&self.disk)
                    .arg(format!("{}G", spec.disk_gib));
                run(&mut command)?;
            }
            Disk::Copy | Disk::Recorded => {
                let mut copy = Command::new("cp");
                copy.args(["--reflink=auto", "--sparse=always"])
                    .arg(&spec.image)
                    .arg(&self.disk);
                run(&mut copy)?;
                let disk = fs::File::options().write(true).open(&self.disk)?;
                disk.set_len(u64::from(spec.disk_gib) << 30)?;
                fs::File::create(&self.recording)?;
            }
        }
        Ok(())
    }

    /// Also replaces the configuration of a machine that is off.
    pub fn write_config(&self, spec: &MachineSpec, tools: &Tools) -> Result<()> {
        match &spec.config {
            Config::None => Ok(()),
            Config::Drive { user_data } => {
                let facts = json!({"uuid": spec.name, "hostname": spec.name}).to_string();
                let mut content = vec![
                    ("openstack/latest/user_data", &**user_data),
                    ("openstack/latest/meta_data.json", &*facts),
                ];
                let network = spec.network.as_deref();
                content.extend(network.map(|text| ("openstack/latest/network_data.json", text)));
                self.drive("config-2", spec).make(&content, tools)
            }
            Config::NoCloud { user_data } => {
                let facts = format!("instance-id: {0}\nlocal-hostname: {0}\n", spec.name);
                let mut content = vec![("user-data", &**user_data), ("meta-data", &*facts)];
                let network = spec.network.as_deref();
                content.extend(network.map(|text| ("network-config", text)));
                self.drive("cidata", spec).make(&content, tools)
            }
            Config::Partition { user_data } => {
                let mut disk = fs::File::open(&self.disk)?;
                let start = partition::find(&mut disk, "CONFIG")?.start;
                let target = format!("{}@@{start}", self.disk.display());
                copy_into(&target, "user_data", user_data, &self.directory, tools)
            }
        }
    }

    fn drive(&self, label: &'static str, spec: &MachineSpec) -> Drive<'_> {
        Drive {
            scratch: &self.directory,
            label,
            filesystem: spec.drive,
        }
    }
}

/// Socket paths are limited to 107 bytes, which a checkout deep in a home directory exceeds.
pub fn socket_directory(owner: &Path) -> PathBuf {
    let digest = Sha256::digest(owner.as_os_str().as_encoded_bytes());
    let name: String = digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Path::new("/tmp").join(format!("strake-{name}"))
}

/// A directory of ours that nobody else may enter; `/tmp` is shared.
pub fn make_private(directory: &Path) -> Result<()> {
    let what = || format!("making {} a directory of ours alone", directory.display());
    if let Err(error) = fs::DirBuilder::new().mode(0o700).create(directory)
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(error).with_context(what);
    }
    let found = fs::symlink_metadata(directory).with_context(what)?;
    let ours = std::os::unix::fs::MetadataExt::uid(&found) == rustix::process::geteuid().as_raw();
    anyhow::ensure!(
        found.is_dir() && ours,
        "{} belongs to someone else",
        directory.display()
    );
    Ok(())
}
