//! Figures for Prometheus, in its text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Context as _;
use strake_updates::report::Kind;

use super::database::DAY;
use super::events::Desk;
use super::warden::Warden;

/// One measure with its values.
struct Measure {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    values: Vec<(String, f64)>,
}

/// Label values need no escapes: channels, versions and kinds have none of the characters that do.
pub(super) fn text(warden: &Warden, desk: &Desk) -> anyhow::Result<String> {
    let now = Warden::now();
    let gauge = |name, help| Measure {
        name,
        help,
        kind: "gauge",
        values: Vec::new(),
    };
    let mut machines = gauge(
        "strake_machines",
        "Machines that reported today, by the release they run.",
    );
    let mut attempts = gauge(
        "strake_rollout_machines",
        "Machines by how far they are with a release.",
    );
    let mut percent = gauge(
        "strake_rollout_percent",
        "Share of machines that may have a release.",
    );
    let mut stopped = gauge(
        "strake_rollout_stopped",
        "Whether a rollout is stopped, and by what.",
    );
    let mut window = gauge(
        "strake_rollout_fell_back_of_last",
        "Machines that fell back, of the last that --pause-last counts.",
    );
    for (channel, offers) in &warden.offered().channels {
        let today = warden.database.days(channel, now.unix() / DAY);
        for (_, versions) in today.context("reading the reports")? {
            for (version, count) in versions.into_iter().take(20) {
                let labels = format!("channel=\"{channel}\",version=\"{version}\"");
                machines.values.push((labels, count as f64));
            }
        }
        for offer in offers {
            let labels = format!("channel=\"{channel}\",release=\"{}\"", offer.version);
            let mut counts: BTreeMap<Kind, u32> = Kind::ALL.map(|kind| (kind, 0)).into();
            let found = warden.database.attempts(channel, offer.version);
            for attempt in found.context("reading the reports")? {
                *counts.entry(attempt.kind).or_default() += 1;
            }
            for (kind, count) in counts {
                let labels = format!("{labels},state=\"{kind}\"");
                attempts.values.push((labels, f64::from(count)));
            }
            let reached = offer.rollout.percent_at(now);
            percent.values.push((labels.clone(), f64::from(reached)));
            for (by, is) in [
                ("hold", offer.held.is_some()),
                ("pause", offer.rollout.paused.is_some()),
                ("retraction", offer.retracted.is_some()),
            ] {
                let labels = format!("{labels},by=\"{by}\"");
                stopped.values.push((labels, f64::from(u8::from(is))));
            }
            let finding = warden.find(channel, offer.version)?;
            window.values.push((labels, f64::from(finding.fell_back())));
        }
    }
    let (taken, refused) = desk.counts();
    let counter = |name, help, values| Measure {
        name,
        help,
        kind: "counter",
        values,
    };
    let taken = Kind::ALL.iter().zip(taken);
    let taken = taken.map(|(kind, count)| (format!("kind=\"{kind}\""), count as f64));
    let left = warden.offered().expires.unix() as f64 - now.unix() as f64;
    let mut expiry = gauge(
        "strake_timestamp_expires_seconds",
        "Until machines alarm, unless `refresh` is run.",
    );
    expiry.values.push((String::new(), left));
    let mut can_hold = gauge(
        "strake_can_hold",
        "Whether the timestamp's key is at hand, so that a rollout that fails is held.",
    );
    can_hold
        .values
        .push((String::new(), f64::from(u8::from(warden.can_hold()))));
    let measures = [
        machines,
        attempts,
        percent,
        stopped,
        window,
        counter(
            "strake_events_total",
            "Events taken since the start.",
            taken.collect(),
        ),
        counter(
            "strake_events_refused_total",
            "Events refused since the start.",
            vec![(String::new(), refused as f64)],
        ),
        expiry,
        can_hold,
    ];
    Ok(measures
        .iter()
        .fold(String::new(), |text, measure| text + &measure.to_text()))
}

impl Measure {
    fn to_text(&self) -> String {
        let Self {
            name, help, kind, ..
        } = self;
        let mut text = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in &self.values {
            let labels = match labels.as_str() {
                "" => String::new(),
                labels => format!("{{{labels}}}"),
            };
            let _ = writeln!(text, "{name}{labels} {value}");
        }
        text
    }
}
