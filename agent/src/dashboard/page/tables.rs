//! Machines and units, some rows at a time.

use super::{Html, Machine, Names, Place, Presence, ROWS, Unit, name_of};
use crate::systemd::Active;

pub(super) fn machines(machines: &[Machine], place: Place) -> Html {
    let mut html = Html::default();
    html.raw("<h2>Machines</h2>");
    if machines.is_empty() {
        html.raw("<p class=\"soft\">No machine is registered.</p>");
        return html;
    }
    html.raw(
        "<table><thead><tr><th>Machine</th><th>State</th><th>Release</th><th>Slot</th>\
         <th>Units up</th><th>Address</th><th>Subnet</th><th>Zone</th><th>Doing</th></tr></thead><tbody>",
    );
    for machine in page(machines, place.machines) {
        html.add(machine_row(machine));
    }
    html.raw("</tbody></table>");
    let to = |machines| Place { machines, ..place };
    html.add(turn(machines.len(), place.machines, to));
    html
}

fn page<T>(all: &[T], number: usize) -> &[T] {
    let from = (number - 1).saturating_mul(ROWS).min(all.len());
    &all[from..(from + ROWS).min(all.len())]
}

fn machine_row(machine: &Machine) -> Html {
    let mut html = Html::default();
    html.raw("<tr><td><strong>")
        .text(machine.name())
        .raw("</strong>");
    if machine.hostname.is_some() {
        let short = machine.id.get(..8).unwrap_or(&machine.id);
        html.raw(" <code class=\"soft\">")
            .text(short)
            .raw("</code>");
    }
    html.raw("</td><td class=\"wide\">");
    match (machine.presence, machine.health.as_deref()) {
        (Presence::Away, _) => html.raw("<span class=\"bad\">away</span>"),
        (Presence::Live, Some("healthy")) => html.raw("<span class=\"good\">healthy</span>"),
        (Presence::Live, Some("unhealthy")) => html.raw("<span class=\"bad\">unhealthy</span>"),
        (Presence::Live, Some(other)) => {
            html.raw("<span class=\"warn\">").text(other).raw("</span>")
        }
        (Presence::Live, None) => html.raw("live"),
    };
    html.raw("</td>");
    let units = match machine.units {
        0 => None,
        all => Some(format!("{} of {all}", machine.up)),
    };
    let cell = |html: &mut Html, label: &'static str, value: Option<&str>| {
        html.raw("<td data-l=\"")
            .raw(label)
            .raw("\">")
            .text(value.unwrap_or_default())
            .raw("</td>");
    };
    cell(&mut html, "Release", machine.release.as_deref());
    cell(&mut html, "Slot", machine.slot.as_deref());
    cell(&mut html, "Units", units.as_deref());
    let address = Some(machine.address.as_str()).filter(|address| !address.is_empty());
    cell(&mut html, "Address", address);
    cell(&mut html, "Subnet", machine.subnet.as_deref());
    cell(&mut html, "Zone", machine.zone.as_deref());
    html.raw("<td class=\"wide\">");
    if let Some(doing) = &machine.doing {
        html.raw("<span class=\"work\">").text(doing).raw("</span>");
    }
    if let Some(next) = &machine.next_release {
        html.raw(if machine.doing.is_some() { ", " } else { "" })
            .text(next)
            .raw(" is ready");
    }
    html.raw("</td></tr>");
    html
}

pub(super) fn units(units: &[Unit], names: &Names<'_>, place: Place) -> Html {
    let mut html = Html::default();
    html.raw("<h2>Units</h2>");
    if units.is_empty() {
        html.raw("<p class=\"soft\">No unit is known to the cluster.</p>");
        return html;
    }
    html.raw("<table><thead><tr><th>Unit</th><th>Wanted</th><th>Reached</th><th>Machines</th></tr></thead><tbody>");
    for unit in page(units, place.units) {
        html.raw("<tr><td><strong>")
            .text(&unit.name)
            .raw("</strong></td><td data-l=\"Wanted\">");
        html.text(unit.wanted.map_or("-", |wanted| wanted.word()))
            .raw("</td>");
        let class = if unit.is_well() { "good" } else { "warn" };
        html.raw("<td data-l=\"Reached\"><span class=\"")
            .raw(class)
            .raw("\">");
        html.text(unit.reached.word())
            .raw("</span></td><td class=\"wide\">");
        html.add(instances(unit, names)).raw("</td></tr>");
    }
    html.raw("</tbody></table>");
    html.add(turn(units.len(), place.units, |units| Place {
        units,
        ..place
    }));
    html
}

const NAMED: usize = 12;

fn instances(unit: &Unit, names: &Names<'_>) -> Html {
    let mut html = Html::default();
    let mut ordered: Vec<_> = unit.instances.iter().collect();
    ordered.sort_by_key(|one| one.active.is_some_and(Active::is_up) && one.problem.is_none());
    for (number, one) in ordered.iter().take(NAMED).enumerate() {
        html.raw(if number > 0 { ", " } else { "" })
            .text(name_of(names, &one.machine))
            .raw(" ");
        let (class, word) = match one.active {
            Some(active) if active.is_up() => ("good", active.word()),
            Some(Active::Failed) => ("bad", Active::Failed.word()),
            Some(other) => ("warn", other.word()),
            None => ("warn", "not told yet"),
        };
        html.raw("<span class=\"")
            .raw(class)
            .raw("\">")
            .raw(word)
            .raw("</span>");
        if let Some(problem) = &one.problem {
            html.raw(" (").text(problem).raw(")");
        }
    }
    if ordered.len() > NAMED {
        html.raw(" and ").text(ordered.len() - NAMED).raw(" more");
    }
    html
}

/// To the page before and after.
fn turn(rows: usize, number: usize, to: impl Fn(usize) -> Place) -> Html {
    let mut html = Html::default();
    let last = rows.div_ceil(ROWS).max(1);
    if last == 1 {
        return html;
    }
    html.raw("<p class=\"small\">Page ")
        .text(number)
        .raw(" of ")
        .text(last);
    let mut link = |page, word| {
        html.raw(" \u{b7} <a href=\"/")
            .text(to(page).query())
            .raw("\">")
            .raw(word)
            .raw("</a>");
    };
    if number > 1 {
        link((number - 1).min(last), "back");
    }
    if number < last {
        link(number + 1, "on");
    }
    html.raw("</p>");
    html
}
