//! Is this boot healthy? `strake-health.service` asks, and `boot-complete.target` waits for the
//! answer; systemd blesses the boot entry once it is reached.
//!
//! `decision` decides, `units` and `probes` look, `watch` waits, and what follows is done here.
//! Refuses to judge by anything that a user's own service does unless it is required.

pub mod decision;
pub mod probes;
pub mod settings;
pub mod units;
pub mod watch;

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::apply::tree::Node;
use crate::apply::write::write_one;
use crate::config::trial;
use crate::root::Root;
use crate::systemd::Units;
use decision::OnFailure;
use settings::Settings;
use watch::Verdict;

const RESULT: &str = "/run/strake/health.json";
pub const LAST_FAILURE: &str = "/state/health/last-failure.json";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Checking,
    Healthy,
    Unhealthy,
    Unknown,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            State::Checking => "checking",
            State::Healthy => "healthy",
            State::Unhealthy => "unhealthy",
            State::Unknown => "unknown",
        }
    }
}

/// Content of `/run/strake/health.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub state: State,
    pub reason: Option<String>,
}

impl Health {
    /// What was found on this boot.
    pub fn read(root: &Root) -> Health {
        let text = root.read_text(RESULT).ok();
        text.and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or(Health {
                state: State::Unknown,
                reason: None,
            })
    }

    fn write(&self, root: &Root) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("writing the result as JSON")?;
        write_one(root, RESULT, Node::text(text + "\n")).context("keeping the result")
    }
}

/// Content of `/state/health/last-failure.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub release: String,
    pub entry: Option<String>,
    pub reason: String,
    /// Seconds since 1970; the clock may not be set yet.
    pub time: u64,
}

/// Which boot is judged.
#[derive(Debug, Clone)]
pub struct Boot {
    pub release: String,
    pub entry: Option<String>,
    pub on_failure: OnFailure,
}

/// Judges the boot and does what follows; true when it is healthy.
pub async fn judge(root: &Root, systemd: &impl Units, boot: &Boot) -> Result<Health> {
    let settings = Settings::read(root).context(settings::PATH)?;
    Health {
        state: State::Checking,
        reason: None,
    }
    .write(root)?;
    let verdict = watch::verdict(root, systemd, settings, boot.on_failure).await?;
    let health = match verdict {
        Verdict::Healthy => {
            trial::passed(root)?;
            Health {
                state: State::Healthy,
                reason: None,
            }
        }
        Verdict::Unhealthy { reason, then } => {
            failed(root, systemd, boot, &reason, then).await?;
            Health {
                state: State::Unhealthy,
                reason: Some(reason),
            }
        }
    };
    health.write(root)?;
    Ok(health)
}

async fn failed(
    root: &Root,
    systemd: &impl Units,
    boot: &Boot,
    reason: &str,
    then: OnFailure,
) -> Result<()> {
    eprintln!("strake: health: NOT healthy: {reason}");
    let failure = Failure {
        release: boot.release.clone(),
        entry: boot.entry.clone(),
        reason: reason.to_string(),
        time: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs(),
    };
    let text = serde_json::to_string_pretty(&failure).context("writing the failure as JSON")?;
    let kept = write_one(root, LAST_FAILURE, Node::text(text + "\n"));
    let noted = trial::did_not_pass(root, reason);
    if then == OnFailure::Reboot {
        // Reboots also when the reason cannot be kept: this boot is not to go on.
        eprintln!("strake: health: this release is on trial, rebooting");
        systemd.reboot().await.context("rebooting")?;
    }
    kept.context("keeping the reason")?;
    noted
}

/// Before a release is tried: what is found afterwards is about its boots.
pub fn forget_failure(root: &Root) -> Result<(), crate::apply::write::Error> {
    write_one(root, LAST_FAILURE, Node::Absent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systemd::fake::{Fake, of_image};
    use crate::systemd::{Active, BootTimes};

    fn machine() -> (tempfile::TempDir, Root, Fake) {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Root::new(dir.path());
        let fake = Fake::new(BootTimes::new());
        fake.set(of_image("local-fs.target", Active::Active));
        let state = dir.path().join("state/config");
        std::fs::create_dir_all(&state).expect("dir");
        std::fs::write(state.join("pending"), "#cloud-config\n").expect("pending");
        std::fs::write(state.join("last-good"), "#cloud-config\n# old\n").expect("last-good");
        (dir, root, fake)
    }

    fn boot(on_failure: OnFailure) -> Boot {
        Boot {
            release: "1.0.0".into(),
            entry: Some("strake_1.0.0+2-1.efi".into()),
            on_failure,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_healthy_boot_makes_its_config_the_last_good_one() {
        let (_dir, root, fake) = machine();
        fake.set(of_image("multi-user.target", Active::Active));
        let health = judge(&root, &fake, &boot(OnFailure::Reboot))
            .await
            .expect("judged");
        assert_eq!(
            health,
            Health {
                state: State::Healthy,
                reason: None
            }
        );
        assert_eq!(Health::read(&root), health);
        assert_eq!(
            trial::last_good(&root).as_deref(),
            Some(&b"#cloud-config\n"[..])
        );
        assert_eq!(fake.orders(), Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn an_unhealthy_trial_reboots_and_the_reason_is_kept() {
        for (on_failure, orders) in [
            (OnFailure::Reboot, vec!["reboot".to_string()]),
            (OnFailure::Stay, Vec::new()),
        ] {
            let (_dir, root, fake) = machine();
            let health = judge(&root, &fake, &boot(on_failure))
                .await
                .expect("judged");
            let reason = "multi-user.target: not reached";
            assert_eq!(health.reason.as_deref(), Some(reason));
            let text = root.read_text(LAST_FAILURE).expect("kept");
            let failure: Failure = serde_json::from_str(&text).expect("valid");
            assert_eq!(
                (failure.release.as_str(), failure.reason.as_str()),
                ("1.0.0", reason)
            );
            assert_eq!(trial::failed(&root).expect("noted").reason, reason);
            assert_eq!(fake.orders(), orders);
        }
    }
}
