//! Reboots, power cuts and snapshots.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Disk, Losses, Machine, launch};
use crate::process::ended_within;
use crate::tools::run;
use crate::wait::Deadline;

/// The part of the disk's device that holds its storage, in QEMU's tree of objects.
const DISK_DEVICE: &str = "/machine/peripheral/disk/virtio-backend";

impl Machine {
    /// An orderly reboot, until sshd answers again.
    pub fn reboot(&mut self, deadline: Deadline) -> Result<()> {
        let before = self.resets();
        // The connection may or may not survive its own command.
        self.ssh("sudo systemctl reboot")?;
        self.wait_for_reset(before, deadline)?;
        self.wait_for_ssh(deadline)
    }

    /// An orderly end. The disk stays; [`Machine::power_on`] starts it again.
    pub fn power_off(&mut self, limit: Duration) -> Result<()> {
        let losses = std::mem::replace(&mut self.losses, Losses::Expected);
        self.ssh("sudo systemctl poweroff")?;
        let ended = ended_within(&self.running.ended, limit)?;
        self.losses = losses;
        if ended {
            self.running.child.wait()?;
        }
        ensure!(
            ended,
            "the machine did not switch itself off in time\n{}",
            self.state()
        );
        self.console.update()?;
        Ok(())
    }

    /// Takes the power away: nothing the guest had not yet written reaches the disk.
    pub fn power_cut(&mut self) -> Result<()> {
        self.running.kill().context("ending QEMU")?;
        self.console.update()?;
        Ok(())
    }

    /// Replaces the cloud-config of a machine that is off.
    pub fn replace_user_data(&mut self, user_data: &str) -> Result<()> {
        use super::Config::{Drive, NoCloud, None, Partition};
        match &mut self.spec.config {
            Drive { user_data: text } | NoCloud { user_data: text } => *text = user_data.into(),
            Partition { user_data: text } => *text = user_data.into(),
            None => anyhow::bail!("the machine was made without a cloud-config"),
        }
        self.files.write_config(&self.spec, &self.tools)
    }

    pub fn power_on(&mut self) -> Result<()> {
        self.checked = self.console.lines().len();
        self.searched = self.checked;
        self.running = launch::launch(&self.spec, &self.files, &self.forwards, &self.tools)?;
        Ok(())
    }

    /// Changes the disk under the running machine, as a failing disk would.
    pub fn write_disk(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let pattern = self.files.directory.join("pattern");
        std::fs::write(&pattern, bytes)?;
        let (file, length) = (pattern.display(), bytes.len());
        let command = format!("qemu-io -d {DISK_DEVICE} \"write -s {file} {offset} {length}\"");
        // What it did goes to QEMU's own output; a device that is not there is told here.
        Ok(self.monitor().human_silent(&command)?)
    }

    /// Keeps disk, firmware variables and memory under `name`, in the machine's own disk.
    pub fn snapshot(&mut self, name: &str) -> Result<()> {
        ensure!(
            self.spec.disk == Disk::Overlay,
            "only an overlay can hold a snapshot"
        );
        Ok(self.monitor().human_silent(&format!("savevm {name}"))?)
    }

    /// Keeps the disk of a machine that is off under `name`.
    pub fn keep_disk(&self, name: &str) -> Result<()> {
        self.snapshot_disk(["-c", name])
    }

    /// The disk becomes what was kept under `name`. The machine must be off.
    pub fn restore_disk(&self, name: &str) -> Result<()> {
        self.snapshot_disk(["-a", name])
    }

    fn snapshot_disk(&self, [action, name]: [&str; 2]) -> Result<()> {
        ensure!(
            self.spec.disk == Disk::Overlay,
            "only an overlay can hold a snapshot"
        );
        let mut command = self.tools.command("qemu-img");
        command
            .args(["snapshot", action, name])
            .arg(&self.files.disk);
        run(&mut command).map(drop)
    }

    /// Fills a part of an overlay with nonsense. The machine must be off.
    pub fn overwrite_disk(&self, offset: u64, length: u64) -> Result<()> {
        let write = format!("write -P 0xa5 {offset} {length}");
        let mut command = self.tools.command("qemu-io");
        command
            .args(["-f", "qcow2", "-c", &write])
            .arg(&self.files.disk);
        run(&mut command).map(drop)
    }

    /// Under emulation the second processor's timer does not survive a later reboot of the same
    /// QEMU; cut the power for that.
    pub fn restore(&mut self, name: &str) -> Result<()> {
        self.monitor().human_silent(&format!("loadvm {name}"))?;
        // A machine saved while running runs on; the console's past stays in its log.
        self.monitor().human_silent("cont")?;
        self.skip_lines()
    }
}
