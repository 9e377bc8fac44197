//! All but the tables.

use super::{Frame, Group, Html, Names, Presence, Release, View, name_of};

pub(super) fn head(view: &View, frame: &Frame) -> Html {
    let mut html = Html::default();
    let (live, all) = (view.live(), view.machines.len());
    html.raw("<h1>")
        .text(&frame.name)
        .raw("</h1><p class=\"soft\">");
    html.text(live)
        .raw(if live == 1 { " machine" } else { " machines" });
    if all > live {
        html.raw(", <span class=\"bad\">")
            .text(all - live)
            .raw(" away</span>");
    }
    let sick = view.machines.iter().filter(|machine| !machine.is_well());
    let sick = sick
        .filter(|machine| machine.presence == Presence::Live)
        .count();
    if sick > 0 {
        html.raw(", <span class=\"warn\">")
            .text(sick)
            .raw(" with trouble</span>");
    }
    html.raw(" \u{b7} <span id=\"state\">as of ")
        .text(&frame.at)
        .raw("</span></p>");
    html
}

/// What somebody has to know or to do something about.
pub(super) fn notes(view: &View, frame: &Frame, names: &Names<'_>) -> Html {
    let mut html = Html::default();
    if let Some((since, why)) = &frame.silent {
        html.raw("<p class=\"note alarm\">The store is silent since ")
            .text(since)
            .raw(": ");
        html.text(why)
            .raw(". What follows is what it said last.</p>");
    } else if view.leader.is_none() {
        html.raw("<p class=\"note\">No machine plans: units are not moved.</p>");
    }
    for release in &view.releases {
        if let Some(refused) = &release.refused {
            html.raw("<p class=\"note alarm\">Release ")
                .text(&release.version);
            html.raw(" is refused by the whole cluster since ")
                .text(refused.since)
                .raw(": ");
            html.text(&refused.cause)
                .raw(". <code>strake update retry ")
                .text(&release.version);
            html.raw("</code> lifts it.</p>");
        }
    }
    for group in &view.locks {
        if let Some(why) = &group.corrupt {
            html.raw("<p class=\"note alarm\">The reboot lock")
                .add(of_group(&group.name));
            html.raw(" is corrupt, nobody gets it: ").text(why);
            html.raw(". <code>strake lock reset</code> makes it anew.</p>");
        }
        for twin in &group.twins {
            html.raw("<p class=\"note alarm\">Two machines have the id ")
                .text(&twin.id);
            html.raw(", one of them ").text(name_of(names, &twin.id));
            html.raw(": give one another id.</p>");
        }
    }
    html
}

fn of_group(name: &str) -> Html {
    let mut html = Html::default();
    if !name.is_empty() {
        html.raw(" of group ").text(name);
    }
    html
}

pub(super) fn releases(view: &View, names: &Names<'_>) -> Html {
    let mut html = Html::default();
    html.raw("<h2>Releases</h2>");
    if view.releases.is_empty() {
        html.raw("<p class=\"soft\">No machine has told which release it runs.</p>");
    }
    let all = view.live().max(1);
    for release in &view.releases {
        html.add(one_release(release, all, names));
    }
    html
}

fn one_release(release: &Release, all: usize, names: &Names<'_>) -> Html {
    let mut html = Html::default();
    html.raw("<div class=\"card\"><div class=\"row\"><strong>")
        .text(&release.version);
    html.raw("</strong><span>")
        .text(release.running)
        .raw(" of ")
        .text(all)
        .raw(" run it");
    let more = [
        (release.waiting, " have it ready"),
        (release.trying.len(), " try it now"),
        (release.fallbacks.len(), " fell back"),
    ];
    for (count, what) in more.into_iter().filter(|(count, _)| *count > 0) {
        html.raw(", ").text(count).raw(what);
    }
    html.raw("</span></div>").add(bar(release, all));
    if !release.trying.is_empty() {
        html.raw("<p class=\"small\">Tried by ")
            .add(list(&release.trying, names))
            .raw(".");
        if !release.proven {
            html.raw(" No machine is healthy on it yet.");
        }
        html.raw("</p>");
    }
    for fall_back in &release.fallbacks {
        html.raw("<p class=\"small\"><span class=\"bad\">")
            .text(name_of(names, &fall_back.machine));
        html.raw(" fell back</span> at ")
            .text(fall_back.time)
            .raw(": ")
            .text(&fall_back.cause);
        html.raw("</p>");
        if !fall_back.journal.is_empty() {
            html.raw("<pre>")
                .text(fall_back.journal.join("\n"))
                .raw("</pre>");
        }
    }
    html.raw("</div>");
    html
}

/// In shares of a thousand: the style of a page may not come from its content.
fn bar(release: &Release, all: usize) -> Html {
    let mut html = Html::default();
    html.raw("<div class=\"bar\"><svg viewBox=\"0 0 1000 1\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
    let fell_back = release.fallbacks.len();
    let ready = release.waiting.saturating_sub(release.trying.len());
    let mut from = 0;
    for (class, count) in [
        ("b-good", release.running),
        ("b-work", release.trying.len()),
        ("b-wait", ready),
        ("b-bad", fell_back),
    ] {
        let width = (count * 1000 / all).min(1000 - from);
        if width > 0 {
            html.raw("<rect class=\"")
                .raw(class)
                .raw("\" y=\"0\" height=\"1\" x=\"")
                .text(from);
            html.raw("\" width=\"").text(width).raw("\"/>");
            from += width;
        }
    }
    html.raw("</svg></div>");
    html
}

const NAMED: usize = 20;

fn list(ids: &[String], names: &Names<'_>) -> Html {
    let mut html = Html::default();
    for (number, id) in ids.iter().take(NAMED).enumerate() {
        html.raw(if number > 0 { ", " } else { "" })
            .text(name_of(names, id));
    }
    if ids.len() > NAMED {
        html.raw(" and ").text(ids.len() - NAMED).raw(" more");
    }
    html
}

pub(super) fn locks(locks: &[Group], names: &Names<'_>) -> Html {
    let mut html = Html::default();
    html.raw("<h2>Reboots</h2>");
    if locks.is_empty() {
        html.raw("<p class=\"soft\">No machine has asked for the reboot lock yet.</p>");
    }
    for group in locks.iter().filter(|group| group.corrupt.is_none()) {
        html.raw("<div class=\"card\"><div class=\"row\"><strong>");
        match group.name.as_str() {
            "" => html.raw("The lock"),
            name => html.raw("Group ").text(name),
        };
        html.raw("</strong><span>")
            .text(group.available)
            .raw(" of ")
            .text(group.max);
        html.raw(" free</span></div>");
        for holder in &group.holders {
            html.raw("<p><span class=\"work\">")
                .text(name_of(names, &holder.id))
                .raw("</span>");
            if holder.since.is_empty() {
                html.raw(" holds it, taken by another program or by hand");
            } else {
                html.raw(" holds it since ")
                    .text(&holder.since)
                    .raw(": ")
                    .text(&holder.reason);
            }
            html.raw("</p>");
        }
        if !group.waiting.is_empty() {
            html.raw("<p class=\"small\">Waiting: ")
                .add(list(&group.waiting, names))
                .raw(".</p>");
        }
        for takeover in &group.takeovers {
            html.raw("<p class=\"small\"><span class=\"warn\">Taken over</span> from ");
            html.text(name_of(names, &takeover.id))
                .raw(" by ")
                .text(name_of(names, &takeover.by));
            html.raw(" at ").text(takeover.at).raw(": it was gone for ");
            html.text(takeover.lost_seconds).raw(" s.</p>");
        }
        html.raw("</div>");
    }
    html
}
