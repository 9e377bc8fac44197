//! The page of one release in one channel: its waves, what became of it, and why it failed.

use std::collections::BTreeMap;

use anyhow::Context as _;
use strake_updates::offer::Offer;
use strake_updates::report::Kind;
use strake_updates::rollout::{Place, Wave};
use strake_updates::time::Timestamp;

use super::chart::Counts;
use super::database::Attempt;
use super::judge::{Finding, Rule};
use super::page::{escape, frame, state};
use super::warden::Warden;

/// Causes shown.
const CAUSES: usize = 20;

/// None when `CHANNEL/VERSION` names nothing.
pub(super) fn html(warden: &Warden, name: &str) -> anyhow::Result<Option<String>> {
    let Some((channel, version)) = name.split_once('/') else {
        return Ok(None);
    };
    let (Ok(channel), Ok(version)) = (channel.parse(), version.parse()) else {
        return Ok(None);
    };
    let Some(offer) = warden.offered().offer(&channel, version) else {
        return Ok(None);
    };
    let now = Warden::now();
    let attempts = warden.database.attempts(&channel, version);
    let attempts = attempts.context("reading the reports")?;
    let finding = warden.find(&channel, version)?;
    let stopped = offer.held.is_some() || offer.retracted.is_some();
    let class = if stopped { "note alarm" } else { "card" };
    let mut body = format!("<p class=\"{class}\">{}</p>\n", state(offer, now));
    if let Some(hold) = &offer.held {
        body += &format!(
            "<p class=\"soft small\">Nobody new takes it. When it is mended: <code>strake-release hold \
             {version} --channel {} --lift</code></p>\n",
            escape(&hold.channel)
        );
    }
    body += &waves(offer, &attempts, now);
    body += &last(&finding, warden.rule());
    body += &failures(&attempts);
    body += "<p><a href=\"/\">All releases</a></p>\n";
    let title = format!("{version} in {channel}");
    Ok(Some(frame(&title, warden, &body)))
}

/// Machines by the wave they belong to; those without a place come last.
fn waves(offer: &Offer, attempts: &[Attempt], now: Timestamp) -> String {
    let rollout = &offer.rollout;
    let mut waves: Vec<Wave> = rollout.waves.clone().into();
    waves.retain(|wave| wave.after < rollout.deadline && wave.percent < 100);
    let mut counts = vec![Counts::default(); waves.len() + 1];
    let mut unplaced = Counts::default();
    for attempt in attempts {
        let of = attempt.place.map(|place| {
            let share = Place(place).percent();
            waves.partition_point(|wave| f64::from(wave.percent) <= share)
        });
        match of {
            Some(wave) => counts[wave].add(attempt.kind),
            None => unplaced.add(attempt.kind),
        }
    }
    let mut html = "<h2>Progress by wave</h2>\n".to_owned();
    let mut before = 0;
    let ends = waves.iter().map(|wave| (wave.percent, wave.after));
    let ends = ends.chain([(100, rollout.deadline)]);
    for ((percent, after), counts) in ends.zip(&counts) {
        let opens = rollout.start.after(after);
        let when = match opens <= now {
            true => format!("open since {opens}"),
            false => format!("opens {opens}"),
        };
        html += &format!(
            "<div class=\"card\"><div class=\"row\"><strong>{before} to {percent} %</strong>\
             <span class=\"soft small\">{when}</span></div>\n{}</div>\n",
            counts.html()
        );
        before = percent;
    }
    if unplaced.total() > 0 {
        html += &format!(
            "<div class=\"card\"><div class=\"row\"><strong>place not told</strong></div>\n{}</div>\n",
            unplaced.html()
        );
    }
    html
}

/// The machines that decide whether the rollout goes on.
fn last(finding: &Finding, rule: Rule) -> String {
    let Rule { share, last, .. } = rule;
    let mut html = format!("<h2>The last {last} machines that tried it</h2>\n");
    let dots = finding.window.iter().map(|fell_back| match fell_back {
        true => "<span class=\"dot fell_back\" title=\"fell back\">×</span>",
        false => "<span class=\"dot blessed\" title=\"healthy\">✓</span>",
    });
    let dots: String = dots.collect();
    let failed = finding.fell_back();
    html += &format!(
        "<div class=\"dots\">{dots}</div>\n<p class=\"small\">{failed} fell back; more than {share} % of \
         {last} hold the rollout.</p>\n"
    );
    if finding.left_out > 0 {
        html += &format!(
            "<p class=\"soft small\">{} more do not count: others of the same address do \
             (--pause-per-address).</p>\n",
            finding.left_out
        );
    }
    html
}

/// What machines said when it went wrong, most frequent first.
fn failures(attempts: &[Attempt]) -> String {
    let mut causes: BTreeMap<(bool, &str), Vec<&Attempt>> = BTreeMap::new();
    for attempt in attempts {
        if let Some(cause) = &attempt.cause {
            let fell_back = attempt.kind == Kind::FellBack;
            causes.entry((fell_back, cause)).or_default().push(attempt);
        }
    }
    let mut causes: Vec<_> = causes.into_iter().collect();
    causes.sort_by_key(|((fell_back, _), machines)| {
        (
            std::cmp::Reverse(*fell_back),
            std::cmp::Reverse(machines.len()),
        )
    });
    let mut html = "<h2>Failures</h2>\n".to_owned();
    if causes.is_empty() {
        return html + "<p class=\"soft\">none reported</p>\n";
    }
    let more = causes.len().saturating_sub(CAUSES);
    for ((fell_back, cause), machines) in causes.into_iter().take(CAUSES) {
        let what = match fell_back {
            true => "fell back",
            false => "could not install it yet",
        };
        let newest = machines.iter().map(|attempt| attempt.changed).max();
        let newest = newest.map_or_else(String::new, |time| time.to_string());
        let names = machines
            .iter()
            .take(4)
            .filter_map(|attempt| attempt.machine.get(..8));
        let names = names.map(|name| format!("<code>{}</code>", escape(name)));
        let names = names.collect::<Vec<_>>().join(" ");
        html += &format!(
            "<div class=\"card\"><div class=\"row\"><strong>{} {what}</strong>\
             <span class=\"soft small\">last {newest}</span></div>\n<p class=\"cause\">{}</p>\n\
             <p class=\"soft small\">{names}</p></div>\n",
            machines.len(),
            escape(cause)
        );
    }
    if more > 0 {
        html += &format!("<p class=\"soft small\">and {more} other causes</p>\n");
    }
    html
}
