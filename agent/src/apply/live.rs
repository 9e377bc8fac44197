//! Telling the running machine what changed.

use std::io;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::timeout;

use super::homes;
use super::jobs::Orders;
use super::write::Change;
use crate::root::Root;
use crate::systemd::{Active, Job, Units};

/// How long a unit that has to go may take to stop.
const PATIENCE: Duration = Duration::from_secs(90);

/// Stops what has to go, reloads once, then queues every job; one that is refused does not keep the others back.
pub async fn carry_out(systemd: &impl Units, orders: &Orders) -> Result<()> {
    stop(systemd, &orders.stops).await?;
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

async fn stop(systemd: &impl Units, units: &[String]) -> Result<()> {
    if units.is_empty() {
        return Ok(());
    }
    let mut changes = systemd.changes().await?;
    let mut stopping = Vec::new();
    for unit in units {
        if is_running(systemd, unit).await {
            systemd.run(Job::Stop, unit).await?;
            stopping.push(unit);
        }
    }
    let stopped = async {
        while let Some(unit) = stopping.last() {
            if !is_running(systemd, unit).await {
                stopping.pop();
            } else if changes.changed().await.is_err() {
                break;
            }
        }
    };
    if timeout(PATIENCE, stopped).await.is_err() {
        eprintln!("strake: warning: units that the config does not have any more do not stop");
    }
    Ok(())
}

async fn is_running(systemd: &impl Units, unit: &str) -> bool {
    let active = systemd.active(unit).await;
    !matches!(
        active,
        Ok(Active::Inactive | Active::Failed | Active::Unknown) | Err(_)
    )
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
    let name = match root.read_text("/etc/hostname") {
        Ok(name) => name,
        // The config names none any more; the machine keeps its name until the next boot.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).context("reading the host name"),
    };
    nix::unistd::sethostname(name.trim()).context("setting the host name")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systemd::BootTimes;
    use crate::systemd::fake::{Fake, of_image};

    #[tokio::test]
    async fn unit_files_are_read_before_anything_is_started() {
        let fake = Fake::new(BootTimes::new());
        let jobs = vec![
            (Job::Start, "a.service".into()),
            (Job::TryRestart, "b.service".into()),
        ];
        let orders = Orders {
            reload: true,
            jobs,
            ..Orders::default()
        };
        carry_out(&fake, &orders).await.expect("carried out");
        assert_eq!(
            fake.orders(),
            ["reload", "start a.service", "try-restart b.service"]
        );
    }

    #[tokio::test]
    async fn what_has_no_file_any_more_is_stopped_before_systemd_forgets_it() {
        let fake = Fake::new(BootTimes::new());
        fake.set(of_image("old.service", Active::Active));
        let orders = Orders {
            stops: vec!["old.service".into(), "never-ran.service".into()],
            reload: true,
            jobs: Vec::new(),
        };
        carry_out(&fake, &orders).await.expect("carried out");
        assert_eq!(fake.orders(), ["stop old.service", "reload"]);
    }
}
