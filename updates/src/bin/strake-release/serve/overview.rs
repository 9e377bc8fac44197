//! The first page: each channel's releases, and what its machines ran day by day.

use std::collections::BTreeMap;

use anyhow::Context as _;
use strake_updates::channel::Channel;
use strake_updates::offer::Offer;
use strake_updates::time::Timestamp;

use super::chart::{Counts, bar, legend, version_class};
use super::database::{DAY, Day};
use super::page::{escape, frame, state};
use super::warden::Warden;

/// Releases shown of a channel, newest first.
const RELEASES: usize = 5;
/// Days shown.
const DAYS: u64 = 14;

pub(super) fn html(warden: &Warden) -> anyhow::Result<String> {
    let now = Warden::now();
    let mut body = String::new();
    for (channel, offers) in &warden.offered().channels {
        body += &format!("<h2>{channel}</h2>\n");
        if offers.is_empty() {
            body += "<p class=\"soft\">no release yet</p>\n";
        }
        for offer in offers.iter().rev().take(RELEASES) {
            body += &release(warden, channel, offer, now)?;
        }
        let since = (now.unix() / DAY).saturating_sub(DAYS - 1);
        let days = warden.database.days(channel, since);
        body += &versions(&days.context("reading the reports")?);
        let troubles = warden.database.troubles(channel);
        for (cause, count) in troubles.context("reading the reports")? {
            let cause = escape(&cause);
            body += &format!("<p class=\"note cause\">{count} cannot check: {cause}</p>\n");
        }
    }
    Ok(frame("Releases", warden, &body))
}

fn release(
    warden: &Warden,
    channel: &Channel,
    offer: &Offer,
    now: Timestamp,
) -> anyhow::Result<String> {
    let version = offer.version;
    let attempts = warden.database.attempts(channel, version);
    let mut counts = Counts::default();
    for attempt in attempts.context("reading the reports")? {
        counts.add(attempt.kind);
    }
    let stopped = offer.held.is_some() || offer.retracted.is_some();
    let class = if stopped { "stopped" } else { "soft" };
    Ok(format!(
        "<div class=\"card\"><div class=\"row\"><strong><a href=\"/rollout/{channel}/{version}\">\
         {version}</a></strong><span class=\"{class}\">{}</span></div>\n{}</div>\n",
        state(offer, now),
        counts.html()
    ))
}

/// A bar for each day, in the colours of the newest versions.
fn versions(days: &[Day]) -> String {
    if days.is_empty() {
        return String::new();
    }
    let mut ranked: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (day, versions) in days {
        for (version, count) in versions {
            ranked.insert(version, (*day, *count));
        }
    }
    let mut ranked: Vec<_> = ranked.into_iter().collect();
    ranked.sort_by_key(|(_, last)| std::cmp::Reverse(*last));
    let names: Vec<String> = ranked.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut rows = String::new();
    for (day, versions) in days.iter().rev() {
        let boxes: Vec<_> = names
            .iter()
            .enumerate()
            .filter_map(|(rank, name)| {
                let (_, count) = versions.iter().find(|(version, _)| version == name)?;
                Some((version_class(rank), *count))
            })
            .collect();
        let total: u64 = versions.iter().map(|(_, count)| count).sum();
        let date = Timestamp::from_unix(day * DAY).to_string();
        let date = date.get(5..10).unwrap_or_default();
        let said = versions.iter().take(5);
        let said = said.map(|(version, count)| format!("{}: {count}", escape(version)));
        let said = said.collect::<Vec<_>>().join(", ");
        rows += &format!(
            "<span class=\"soft small\">{date}</span><div title=\"{said}\">{}</div>\
             <span class=\"num small\">{total}</span>\n",
            bar(&boxes)
        );
    }
    let legend = legend(&names);
    format!(
        "<p class=\"soft small\">Machines by the release they run, day by day (UTC)</p>\n\
         <div class=\"days\">{rows}</div>\n{legend}"
    )
}
