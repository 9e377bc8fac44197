//! Telling the running machine what changed.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::homes;
use super::jobs::Orders;
use super::write::Change;
use crate::root::Root;
use crate::systemd::Units;

/// Reloads once, then queues every job; one that is refused does not keep the others back.
pub async fn carry_out(systemd: &impl Units, orders: &Orders) -> Result<()> {
    if orders.reload {
        systemd.reload().await?;
    }
    let mut first_error = None;
    for (job, unit) in &orders.jobs {
        if let Err(error) = systemd.run(*job, unit).await {
            let error = anyhow::Error::from(error);
            eprintln!("strake: error: {error:#}");
            first_error.get_or_insert(error);
        }
    }
    first_error.map_or(Ok(()), Err)
}

/// Homes of users that are new: at boot systemd makes them itself.
pub fn make_homes(changes: &[Change]) -> Result<()> {
    if !changes
        .iter()
        .any(|change| change.path.as_os_str() == homes::TMPFILES)
    {
        return Ok(());
    }
    let made = Command::new("/usr/bin/systemd-tmpfiles")
        .args(["--create", homes::TMPFILES])
        .status()
        .context("running systemd-tmpfiles")?;
    if !made.success() {
        bail!("making the homes of new users: systemd-tmpfiles: {made}");
    }
    Ok(())
}

/// The kernel's host name follows `/etc/hostname`, which systemd reads at its start only.
pub fn set_hostname(root: &Root, changes: &[Change]) -> Result<()> {
    if !changes
        .iter()
        .any(|change| change.path.as_os_str() == "/etc/hostname")
    {
        return Ok(());
    }
    let name = root
        .read_text("/etc/hostname")
        .context("reading the host name")?;
    nix::unistd::sethostname(name.trim()).context("setting the host name")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systemd::fake::Fake;
    use crate::systemd::{BootTimes, Job};

    #[tokio::test]
    async fn unit_files_are_read_before_anything_is_started() {
        let fake = Fake::new(BootTimes::new());
        let jobs = vec![
            (Job::Start, "a.service".into()),
            (Job::TryRestart, "b.service".into()),
        ];
        carry_out(&fake, &Orders { reload: true, jobs })
            .await
            .expect("carried out");
        assert_eq!(
            fake.orders(),
            ["reload", "start a.service", "try-restart b.service"]
        );
    }
}
