use proptest::prelude::*;
use strake_updates::time::Timestamp;

use super::super::view::{Holder, Instance};
use super::*;
use crate::lock::{Claim, Takeover, Twin};
use crate::reboot::budget::{FallBack, Refused};
use crate::scheduler::keys::State;
use crate::systemd::Active;

const FIRST: Place = Place {
    machines: 1,
    units: 1,
};

fn machine(id: &str, text: &str) -> Machine {
    let some = || Some(text.to_string());
    Machine {
        id: id.to_string(),
        hostname: some(),
        presence: Presence::Live,
        address: text.to_string(),
        zone: some(),
        release: some(),
        slot: some(),
        health: some(),
        doing: some(),
        next_release: some(),
        subnet: some(),
        units: 2,
        up: 1,
    }
}

/// Every text there is to show is this one.
fn view(text: &str) -> View {
    let own = || text.to_string();
    let time = Timestamp::from_unix(1_800_000_000);
    let claim = Claim {
        token: own(),
        boot: own(),
        release: own(),
        reason: own(),
        since: time,
        deadline: strake_updates::time::Span(600),
        registered: true,
        zone: own(),
    };
    let group = |corrupt: Option<String>| Group {
        name: own(),
        available: 0,
        max: 1,
        corrupt,
        holders: vec![Holder {
            id: own(),
            release: own(),
            reason: own(),
            since: own(),
            boot: own(),
            registered: true,
        }],
        waiting: vec![own()],
        takeovers: vec![Takeover {
            id: own(),
            claim: claim.clone(),
            by: own(),
            at: time,
            lost_seconds: 700,
        }],
        twins: vec![Twin {
            id: own(),
            boots: [own(), own()],
            at: time,
        }],
    };
    View {
        leader: Some(own()),
        machines: vec![machine(text, text)],
        releases: vec![Release {
            version: own(),
            running: 1,
            waiting: 1,
            trying: vec![own()],
            proven: false,
            fallbacks: vec![FallBack {
                machine: own(),
                cause: own(),
                boots: 3,
                time,
                journal: vec![own(), own()],
            }],
            refused: Some(Refused {
                since: time,
                budget: 1,
                cause: own(),
            }),
        }],
        locks: vec![group(None), group(Some(own()))],
        units: vec![Unit {
            name: own(),
            wanted: Some(State::Launched),
            reached: State::Loaded,
            instances: vec![Instance {
                machine: own(),
                active: Some(Active::Failed),
                problem: Some(own()),
            }],
        }],
    }
}

proptest! {
    #[test]
    fn nothing_from_outside_becomes_a_part_of_the_page(inner in "[<>&\"'a/=;#x! \\x00-\\x1f-]{0,24}") {
        let text = format!("\u{27e6}{inner}\u{27e7}");
        let frame = Frame {
            name: text.clone(),
            at: text.clone(),
            silent: Some((text.clone(), text.clone())),
        };
        let page = page(&view(&text), &frame, FIRST);
        let mut shown = 0;
        for part in page.split('\u{27e6}').skip(1) {
            let Some((inside, _)) = part.split_once('\u{27e7}') else {
                // A name that is cut short: what was cut still has to be text.
                continue;
            };
            shown += 1;
            prop_assert!(!inside.contains(['<', '>', '"', '\'', '\0']), "{inside}");
            for entity in inside.split('&').skip(1) {
                let known = ["amp;", "lt;", "gt;", "quot;", "#39;"];
                prop_assert!(known.iter().any(|end| entity.starts_with(end)), "{inside}");
            }
        }
        prop_assert!(shown > 30, "{shown} texts are shown");
    }
}

#[test]
fn each_part_tells_what_there_is() {
    let mut view = View {
        leader: Some("a".repeat(32)),
        ..View::default()
    };
    let shown = |view: &View| -> BTreeMap<_, _> {
        parts(view, &Frame::default(), FIRST).into_iter().collect()
    };
    let empty = shown(&view);
    assert_eq!(empty["notes"], "");
    assert!(empty["machines"].contains("No machine is registered"));
    let (a, b) = ("a".repeat(32), "b".repeat(32));
    view.machines = vec![machine(&a, "node1"), machine(&b, "node2")];
    view.machines[1].presence = Presence::Away;
    view.releases = vec![Release {
        version: "1.2.0".to_string(),
        running: 1,
        trying: vec![b.clone()],
        ..Release::default()
    }];
    view.locks = vec![Group {
        name: String::new(),
        available: 0,
        max: 1,
        corrupt: None,
        holders: vec![Holder {
            id: b,
            reason: "update to 1.2.0".to_string(),
            since: "today".to_string(),
            ..Holder::default()
        }],
        waiting: vec![a, "c".repeat(32)],
        takeovers: Vec::new(),
        twins: Vec::new(),
    }];
    let parts = shown(&view);
    assert!(
        parts["head"].contains("1 machine, <span class=\"bad\">1 away"),
        "{parts:?}"
    );
    assert!(
        parts["releases"].contains("1 of 1 run it, 1 try it now"),
        "{parts:?}"
    );
    assert!(parts["releases"].contains("Tried by node2."), "{parts:?}");
    assert!(
        parts["lock"].contains("node2</span> holds it since today: update to 1.2.0"),
        "{parts:?}"
    );
    assert!(
        parts["lock"].contains("Waiting: node1, cccccccc."),
        "{parts:?}"
    );
    assert!(
        parts["machines"].contains("<span class=\"bad\">away</span>"),
        "{parts:?}"
    );
}

#[test]
fn many_machines_are_turned_over_page_by_page() {
    let machines = (0..250).map(|number| machine(&format!("{number:032}"), "x"));
    let view = View {
        machines: machines.collect(),
        ..View::default()
    };
    let shown = |query: &str| {
        let parts = parts(&view, &Frame::default(), Place::parse(query));
        let found = parts.into_iter().find(|(id, _)| *id == "machines");
        let html = found.expect("a part").1;
        (html.matches("<tr><td>").count(), html)
    };
    let cases = [
        ("", 100, "Page 1 of 3", "?machines=2&amp;units=1"),
        (
            "machines=3&units=2",
            50,
            "Page 3 of 3",
            "?machines=2&amp;units=2",
        ),
        ("machines=0", 100, "Page 1 of 3", "?machines=2&amp;units=1"),
        (
            "machines=99999999999999999999",
            100,
            "Page 1 of 3",
            "?machines=2",
        ),
        ("machines=9", 0, "Page 9 of 3", "?machines=3"),
    ];
    for (query, rows, words, link) in cases {
        let (found, html) = shown(query);
        assert_eq!(found, rows, "{query}");
        assert!(
            html.contains(words) && html.contains(link),
            "{query}: {html}"
        );
    }
}

#[test]
fn the_page_asks_nobody_else_and_is_made_for_phones() {
    let page = page(&View::default(), &Frame::default(), FIRST);
    assert!(page.contains("width=device-width"));
    assert!(page.contains("<noscript><meta http-equiv=\"refresh\""));
    for outside in ["http:", "https:", "//", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}
