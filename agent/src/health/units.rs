//! What is wrong with the units of this boot.
//!
//! The rule: `local-fs.target` and `multi-user.target` are reached and the network phase of the
//! configuration is over; every unit in `strake.health.require` is up; and no unit of the image
//! that the boot pulls in has failed. A unit the user brings counts only when it is required: an
//! own service that fails on every release must not throw the machine back to an older one.

use crate::systemd::{Active, Error, Unit, Units};

const TARGETS: [&str; 2] = ["multi-user.target", "local-fs.target"];
const NETWORK_PHASE: &str = "strake-config.service";

/// One line for each thing that is wrong.
pub async fn reasons(units: &impl Units, require: &[String]) -> Result<Vec<String>, Error> {
    let mut reasons = Vec::new();
    // While the boot goes on everything changes all the time, and each question slows it: one small
    // one is enough then.
    for target in TARGETS {
        if !units.active(target).await?.is_up() {
            return Ok(vec![format!("{target}: not reached")]);
        }
    }
    // It starts the units that wait for an address, after multi-user.target.
    if units.unit(NETWORK_PHASE).await?.active == Active::Activating {
        return Ok(vec![format!("{NETWORK_PHASE}: not over")]);
    }
    for name in require {
        reasons.extend(complaint(&units.unit(name).await?));
    }
    let failed = units.failed().await?;
    let counts =
        |unit: &&Unit| is_of_image(unit) && is_pulled_in(unit) && !require.contains(&unit.name);
    reasons.extend(failed.iter().filter(counts).filter_map(complaint));
    Ok(reasons)
}

fn complaint(unit: &Unit) -> Option<String> {
    let name = &unit.name;
    match unit.active {
        active if active.is_up() => None,
        _ if !unit.loaded => Some(format!("{name}: there is no such unit")),
        Active::Failed => Some(format!("{name}: failed")),
        active => Some(format!("{name}: {} ({})", active.word(), unit.sub)),
    }
}

fn is_of_image(unit: &Unit) -> bool {
    ["/usr/", "/run/systemd/generator"]
        .iter()
        .any(|dir| unit.fragment.starts_with(dir))
}

/// By the boot: not by a login session or another service that was started later.
fn is_pulled_in(unit: &Unit) -> bool {
    unit.pulled_by.iter().any(|name| name.ends_with(".target"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systemd::BootTimes;
    use crate::systemd::fake::{Fake, of_image};

    fn booted() -> Fake {
        let fake = Fake::new(BootTimes::new());
        for target in TARGETS {
            fake.set(of_image(target, Active::Active));
        }
        fake
    }

    async fn check(fake: &Fake, require: &[&str], expected: &[&str]) {
        let require: Vec<String> = require.iter().map(ToString::to_string).collect();
        assert_eq!(reasons(fake, &require).await.expect("answers"), expected);
    }

    #[tokio::test]
    async fn a_boot_that_is_not_over_is_one_reason() {
        let fake = booted();
        fake.set(of_image("multi-user.target", Active::Inactive));
        fake.set(of_image("docker.service", Active::Failed));
        check(&fake, &["app.service"], &["multi-user.target: not reached"]).await;
    }

    #[tokio::test]
    async fn units_of_the_image_count_when_the_boot_pulls_them_in() {
        let fake = booted();
        check(&fake, &[], &[]).await;
        fake.set(of_image("docker.service", Active::Failed));
        let session = vec!["session-1.scope".to_string()];
        fake.set(Unit {
            pulled_by: session,
            ..of_image("user@500.service", Active::Failed)
        });
        let own = Unit {
            fragment: "/etc/systemd/system/app.service".to_string(),
            ..of_image("app.service", Active::Failed)
        };
        fake.set(own);
        check(&fake, &[], &["docker.service: failed"]).await;
        check(
            &fake,
            &["app.service"],
            &["app.service: failed", "docker.service: failed"],
        )
        .await;
    }

    #[tokio::test]
    async fn required_units_have_to_be_up() {
        let fake = booted();
        fake.set(of_image("a.service", Active::Activating));
        fake.set(of_image("b.service", Active::Reloading));
        let expected = [
            "a.service: activating (activating)",
            "c.service: there is no such unit",
        ];
        check(&fake, &["a.service", "b.service", "c.service"], &expected).await;
    }
}
