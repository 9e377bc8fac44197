//! Runs the decision: listens to systemd, keeps the time, asks the probes.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::decision::{Effect, Event, OnFailure, State, step};
use super::settings::Settings;
use super::{probes, units};
use crate::root::Root;
use crate::systemd::{Error, Units};

// A booting systemd sends hundreds of signals a second; one look at the state answers them all.
const CALM: Duration = Duration::from_millis(300);
const RECONNECT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Healthy,
    Unhealthy { reason: String, then: OnFailure },
}

/// Waits until the boot is known to be healthy or not. The settings are read again with each
/// event: on a cloud's first boot the user's arrive while this waits.
pub async fn verdict(
    root: &Root,
    systemd: &impl Units,
    mut settings: Settings,
    on_failure: OnFailure,
) -> Result<Verdict, Error> {
    let start = Instant::now();
    let mut changes = systemd.changes().await?;
    let mut state = State::default();
    let mut event = look(systemd, &settings.require).await;
    let mut probing: Option<Pin<Box<dyn Future<Output = Vec<String>> + '_>>> = None;
    let mut wake = start;
    let mut calm = start;
    loop {
        let limits = settings.limits(on_failure);
        let (next, effects) = step(state, event, start.elapsed(), &limits);
        state = next;
        if state != State::Probing {
            probing = None;
        }
        for effect in effects {
            match effect {
                Effect::WakeAt(at) => wake = start + at,
                Effect::Probe => probing = Some(Box::pin(probes::reasons(root, systemd))),
                Effect::Pass => return Ok(Verdict::Healthy),
                Effect::Fail { reason, then } => return Ok(Verdict::Unhealthy { reason, then }),
            }
        }
        event = tokio::select! {
            changed = async { sleep_until(calm).await; changes.changed().await } => {
                calm = Instant::now() + CALM;
                // Without a connection the deadline still holds.
                if changed.is_err() {
                    calm = Instant::now() + RECONNECT;
                    if let Ok(anew) = systemd.changes().await {
                        changes = anew;
                    }
                }
                read_again(root, &mut settings);
                look(systemd, &settings.require).await
            }
            reasons = probe(&mut probing), if probing.is_some() => {
                probing = None;
                Event::Probed(reasons)
            }
            () = sleep_until(wake) => {
                read_again(root, &mut settings);
                Event::Time
            }
        };
    }
}

/// What cannot be read leaves the earlier ones in force, and the deadline with them.
fn read_again(root: &Root, settings: &mut Settings) {
    if let Ok(now) = Settings::read(root)
        && now != *settings
    {
        eprintln!("strake: health: the config in force has other settings, they count from now");
        *settings = now;
    }
}

async fn look(systemd: &impl Units, require: &[String]) -> Event {
    let reasons = units::reasons(systemd, require).await;
    Event::Units(reasons.unwrap_or_else(|error| vec![error.to_string()]))
}

async fn probe(
    probing: &mut Option<Pin<Box<dyn Future<Output = Vec<String>> + '_>>>,
) -> Vec<String> {
    match probing {
        Some(probing) => probing.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systemd::fake::{Fake, of_image};
    use crate::systemd::{Active, BootTimes};

    fn settings(settle: u64) -> Settings {
        Settings {
            settle: Duration::from_secs(settle),
            ..Settings::default()
        }
    }

    fn machine() -> (tempfile::TempDir, Root, Fake) {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Root::new(dir.path());
        let fake = Fake::new(BootTimes::new());
        fake.set(of_image("local-fs.target", Active::Active));
        (dir, root, fake)
    }

    #[tokio::test(start_paused = true)]
    async fn a_boot_that_settles_is_healthy() {
        let (_dir, root, fake) = machine();
        let start = Instant::now();
        let booting = async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            fake.set(of_image("multi-user.target", Active::Active));
        };
        let judging = verdict(&root, &fake, settings(30), OnFailure::Stay);
        let (verdict, ()) = tokio::join!(judging, booting);
        assert_eq!(verdict.expect("answered"), Verdict::Healthy);
        assert!(
            (50..52).contains(&start.elapsed().as_secs()),
            "{:?}",
            start.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_unit_that_fails_late_is_the_reason_at_the_deadline() {
        let (_dir, root, fake) = machine();
        fake.set(of_image("multi-user.target", Active::Active));
        let start = Instant::now();
        let failing = async {
            tokio::time::sleep(Duration::from_secs(25)).await;
            fake.set(of_image("docker.service", Active::Failed));
        };
        let judging = verdict(&root, &fake, settings(30), OnFailure::Stay);
        let (verdict, ()) = tokio::join!(judging, failing);
        let reason = "docker.service: failed".to_string();
        let expected = Verdict::Unhealthy {
            reason,
            then: OnFailure::Stay,
        };
        assert_eq!(verdict.expect("answered"), expected);
        assert_eq!(start.elapsed().as_secs(), 600);
    }

    #[tokio::test(start_paused = true)]
    async fn settings_that_arrive_with_the_network_count_on_this_boot() {
        let cases = [
            (r#"{"require":["web.service"],"deadline":"2m"}"#, 120),
            (r#"{"require":["web.service"],"deadline":"20m"}"#, 1200),
            // Not to be read: the earlier ones hold, and they ask for nothing more.
            (r#"{"deadline":"#, 35),
        ];
        for (text, ends) in cases {
            let (dir, root, fake) = machine();
            let start = Instant::now();
            let arriving = async {
                tokio::time::sleep(Duration::from_secs(5)).await;
                let path = dir.path().join("etc/strake/health.json");
                std::fs::create_dir_all(path.parent().expect("parent")).expect("dir");
                std::fs::write(path, text).expect("settings");
                fake.set(of_image("multi-user.target", Active::Active));
            };
            let judging = verdict(&root, &fake, settings(30), OnFailure::Stay);
            let (verdict, ()) = tokio::join!(judging, arriving);
            let asks_for_more = matches!(verdict.expect("answered"), Verdict::Unhealthy { reason, .. }
                if reason.starts_with("web.service"));
            assert_eq!(asks_for_more, ends != 35, "{text}");
            let lasted = start.elapsed().as_secs();
            assert!((ends..ends + 2).contains(&lasted), "{text}: {lasted}");
        }
    }
}
