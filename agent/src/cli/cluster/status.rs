//! `strake cluster status`

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;

use super::Access;
use super::machines;
use crate::cli::output::{Output, columns};
use crate::cli::store::connect;
use crate::cluster::report::{Member, Report, look};
use crate::cluster::trust::Step;
use crate::dashboard::picture::Watched;
use crate::dashboard::view::View;
use crate::exit::Exit;
use crate::overlay::settings::Settings as Overlay;
use crate::root::Root;

/// For what the machines say, when a majority of the members answers.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    report: &'a Report,
    /// Machines, releases, reboot locks and units.
    view: Option<View>,
    /// Why the view is missing.
    problem: Option<String>,
}

pub(super) async fn run(root: &Root, output: Output) -> Result<Exit> {
    let access = Access::load(root)?;
    let report = look(&access.settings, &access.identity, access.clock).await?;
    let seen = match root.is_machine() {
        true => tokio::time::timeout(PATIENCE, view(&report)).await,
        false => Ok(Err(anyhow!("with --root, only the members are told"))),
    };
    let (view, problem) = match seen.context("the store does not answer in time") {
        Ok(Ok(view)) => (Some(view), None),
        Ok(Err(error)) | Err(error) => (None, Some(format!("{error:#}"))),
    };
    let shown = Shown {
        report: &report,
        view,
        problem,
    };
    output.print(&shown, || {
        let rest = match (&shown.view, &shown.problem) {
            (Some(view), _) => machines::table(view),
            (None, Some(problem)) => format!("machines are not known: {problem}\n"),
            (None, None) => String::new(),
        };
        format!("{}\n{rest}", table(&report))
    })?;
    Ok(match report.quorum {
        true => Exit::Done,
        false => Exit::Failed,
    })
}

async fn view(report: &Report) -> Result<View> {
    if !report.quorum {
        bail!("no majority of the store's members answers");
    }
    let overlay = Overlay::read(&Root::new("/"), |name| std::env::var(name).ok());
    let network = overlay.ok().map(|overlay| overlay.prefix);
    let watched = Watched::open(&connect().await?, network.as_deref()).await?;
    Ok(View::of(&watched.picture))
}

fn table(report: &Report) -> String {
    let head = [
        "MEMBER",
        "ID",
        "STATE",
        "LAG",
        "SIZE",
        "IN USE",
        "CERTIFICATE",
    ];
    let mut rows = vec![head.map(str::to_string).to_vec()];
    rows.extend(report.members.iter().map(row));
    let leader = report.leader.as_deref().unwrap_or("none");
    let quorum = match report.quorum {
        true => "",
        false => "  no majority answers",
    };
    let mut text = format!("cluster {}  leader {leader}{quorum}\n", report.cluster);
    text.push_str(&columns(&rows));
    for alarm in &report.alarms {
        text.push_str(&format!("alarm {} at {}\n", alarm.alarm, alarm.member));
    }
    let own = &report.this_machine;
    let days = own.certificate_days_left;
    let role = own.role.common_name();
    text.push_str(&format!(
        "this machine: {role}, certificate good for {days} days\n"
    ));
    let authority = &report.authority;
    let (age, left) = (authority.age_days, authority.days_left);
    let step = match authority.step {
        Step::Settled => "",
        Step::Introduced | Step::Used => {
            "; it is being replaced, see `strake cluster authority show`"
        }
    };
    text.push_str(&format!(
        "authority: {age} days old, good for {left} days{step}\n"
    ));
    if let Some(warning) = &authority.warning {
        text.push_str(&format!("WARNING: {warning}\n"));
    }
    text
}

fn row(member: &Member) -> Vec<String> {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_string());
    let size = |bytes: Option<u64>| or_dash(bytes.map(mebibytes));
    vec![
        member.name.clone(),
        or_dash(member.id.clone()),
        member.standing.word().to_string(),
        or_dash(member.lag.map(|lag| lag.to_string())),
        size(member.size_bytes),
        size(member.in_use_bytes),
        or_dash(
            member
                .certificate_days_left
                .map(|days| format!("{days} days")),
        ),
    ]
}

/// With one decimal.
fn mebibytes(bytes: u64) -> String {
    let tenths = (bytes * 10).div_ceil(1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::authority::Role;
    use crate::cluster::report::{Alarm, Authority, Standing, ThisMachine};

    #[test]
    fn the_table_tells_all_there_is() {
        let member = |name: &str, standing| Member {
            name: name.to_string(),
            id: Some("1f".to_string()),
            standing,
            lag: Some(3),
            size_bytes: Some(1 << 20),
            in_use_bytes: Some(1),
            certificate_days_left: Some(89),
        };
        let gone = Member {
            id: None,
            lag: None,
            size_bytes: None,
            in_use_bytes: None,
            certificate_days_left: None,
            ..member("10.9.0.12", Standing::Silent)
        };
        let report = Report {
            cluster: "lab".to_string(),
            quorum: true,
            leader: Some("10.9.0.11".to_string()),
            members: vec![member("10.9.0.11", Standing::Leader), gone],
            alarms: vec![Alarm {
                member: "10.9.0.11".to_string(),
                alarm: "nospace",
            }],
            this_machine: ThisMachine {
                role: Role::Member,
                certificate_days_left: 89,
            },
            authority: Authority {
                age_days: 7200,
                days_left: 100,
                step: Step::Introduced,
                warning: Some("it ends".to_string()),
            },
        };
        let expected = "\
cluster lab  leader 10.9.0.11
MEMBER     ID  STATE   LAG  SIZE     IN USE   CERTIFICATE
10.9.0.11  1f  leader  3    1.0 MiB  0.1 MiB  89 days
10.9.0.12  -   silent  -    -        -        -
alarm nospace at 10.9.0.11
this machine: strake-member, certificate good for 89 days
authority: 7200 days old, good for 100 days; it is being replaced, see `strake cluster authority show`
WARNING: it ends
";
        assert_eq!(table(&report), expected);
    }
}
