//! What the server makes of reports: pages, metrics, holds, refusals.

use std::fs;

use roxmltree::{Document, Node, ParsingOptions};
use serde_json::{Value, json};

use crate::serving::{Serving, event, fell_back, shop};

/// The page is also XML, so a strict parser can tell whether it is well formed.
fn parse(html: &str) -> Document<'_> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(html, options).unwrap_or_else(|error| panic!("{error}\n{html}"))
}

fn text(document: &Document<'_>) -> String {
    let body = document
        .descendants()
        .find(|node| node.has_tag_name("body"))
        .unwrap();
    let text: Vec<_> = body.descendants().filter_map(|node| node.text()).collect();
    text.join(" ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// The parts that would make a browser ask another server, or run something.
fn reaches_out(node: &Node<'_, '_>) -> bool {
    let loads = ["script", "img", "link", "iframe", "object"];
    let is_outside = |value: &str| value.contains("//") || value.contains("javascript:");
    loads.contains(&node.tag_name().name())
        || node
            .attributes()
            .any(|a| a.name().starts_with("on") || is_outside(a.value()))
}

#[tokio::test]
async fn what_machines_report_is_on_the_pages_and_in_the_metrics() {
    let workshop = shop();
    let server = Serving::start(&workshop, "");
    server.report((0..4).map(|n| event(n, "blessed"))).await;
    server
        .report((12..14).map(|n| event(n, "downloading")))
        .await;
    server.report((60..63).map(|n| event(n, "checked"))).await;
    server
        .report([fell_back(5, "kernel panic"), fell_back(6, "kernel panic")])
        .await;
    // What it says later of itself changes its row and adds none.
    let mut again = event(0, "checked");
    again["from"] = json!("1.1.0");
    server
        .report([event(12, "installed"), event(5, "checked"), again])
        .await;

    let (status, html) = server.get("/").await;
    let overview = parse(&html);
    assert_eq!(status, 200);
    assert!(!overview.descendants().any(|node| reaches_out(&node)));
    let said = text(&overview);
    for expected in [
        "stable",
        "alpha",
        "open to 0 % of machines",
        "4 run it 1 installed it 1 download it 3 know of it 2 fell back",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }

    let (status, html) = server.get("/rollout/stable/1.1.0").await;
    let rollout = parse(&html);
    assert_eq!(status, 200);
    assert!(!rollout.descendants().any(|node| reaches_out(&node)));
    let said = text(&rollout);
    for expected in [
        "0 to 10 % opens",
        "4 run it 2 fell back",
        "10 to 50 %",
        "1 installed it 1 download it",
        "50 to 100 %",
        "3 know of it",
        "2 fell back; more than 20 % of 20 hold the rollout",
        "2 fell back last",
        "kernel panic",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(server.get("/rollout/stable/9.9.9").await.0, 404);
    assert_eq!(server.get("/rollout/../keys").await.0, 404);

    let (status, metrics) = server.get("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "strake_machines{channel=\"stable\",version=\"1.0.0\"} 7",
        "strake_machines{channel=\"stable\",version=\"1.1.0\"} 4",
        "strake_rollout_machines{channel=\"stable\",release=\"1.1.0\",state=\"fell_back\"} 2",
        "strake_rollout_stopped{channel=\"stable\",release=\"1.1.0\",by=\"hold\"} 0",
        "strake_events_total{kind=\"blessed\"} 4",
        "strake_can_hold 1",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line}\n{metrics}");
    }
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(
            name.starts_with("strake_") && value.parse::<f64>().is_ok(),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_machine_that_cannot_check_is_shown_and_counts_for_no_release() {
    let workshop = shop();
    let server = Serving::start(&workshop, "");
    let mut checked = event(1, "checked");
    checked["from"] = json!("1.1.0");
    checked["cause"] = json!("timestamp.json is refused: expired");
    server.report([checked.clone()]).await;
    let (_, html) = server.get("/").await;
    assert!(text(&parse(&html)).contains("1 cannot check: timestamp.json is refused"));
    checked.as_object_mut().unwrap().remove("cause");
    server.report([checked]).await;
    assert!(!server.get("/").await.1.contains("cannot check"));
}

#[tokio::test]
async fn what_a_machine_says_is_text_and_nothing_else() {
    let workshop = shop();
    let server = Serving::start(&workshop, "");
    let cause = "</p><script>alert(1)</script><img src=x onerror=alert(2)>\" & ' ]]>";
    server.report([fell_back(1, cause)]).await;
    let (_, html) = server.get("/rollout/stable/1.1.0").await;
    let page = parse(&html);
    assert!(!page.descendants().any(|node| reaches_out(&node)));
    assert!(
        page.descendants().any(|node| node.text() == Some(cause)),
        "{html}"
    );
}

#[tokio::test]
async fn bad_reports_are_refused_with_the_reason() {
    let workshop = shop();
    let server = Serving::start(&workshop, "");
    let changed = |field: &str, value: Value| {
        let mut event = event(1, "blessed");
        event[field] = value;
        event.to_string()
    };
    for (body, status, reason) in [
        ("{".to_owned(), 400, "the body is no event: EOF"),
        (
            changed("machine", json!("x")),
            400,
            "machine \"x\" is not 32",
        ),
        (changed("kind", json!("x")), 400, "unknown variant `x`"),
        (
            changed("kind", json!("fell_back")),
            400,
            "kind fell_back needs a cause",
        ),
        (
            changed("channel", json!("beta")),
            400,
            "channel: the repository has no channel beta",
        ),
        (
            changed("release", json!("7.0.0")),
            400,
            "release: channel stable has no release 7.0.0",
        ),
        (
            changed("cause", json!("x".repeat(5000))),
            413,
            "the body is longer than 4096 bytes",
        ),
    ] {
        let answer = server.send(body.clone(), "").await;
        let found = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        assert!(
            found == status && text.contains(reason),
            "{found} {text}\n{body}"
        );
    }
    assert_eq!(server.get("/v1/events").await.0, 405);
    let metrics = server.get("/metrics").await.1;
    assert!(
        metrics.contains("strake_events_refused_total 7\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("strake_events_total{kind=\"blessed\"} 0\n"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_machine_that_reports_too_often_is_told_when_to_come_back() {
    let workshop = shop();
    let server = Serving::start(&workshop, "--events-per-hour 3");
    server.report((0..3).map(|_| event(1, "checked"))).await;
    let refused = server.send(event(1, "checked").to_string(), "").await;
    assert_eq!(refused.status().as_u16(), 429);
    let wait: u64 = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1000..=1201).contains(&wait), "{wait}");
    server.report([event(2, "checked")]).await;
}

#[tokio::test]
async fn with_a_token_only_who_knows_it_reports() {
    let workshop = shop();
    fs::write(workshop.path("token"), "correct-horse-battery\n").unwrap();
    let server = Serving::start(&workshop, "--token-file token");
    let body = event(1, "blessed").to_string();
    for (token, status) in [("", 401), ("wrong", 401), ("correct-horse-battery", 204)] {
        assert_eq!(
            server.send(body.clone(), token).await.status().as_u16(),
            status,
            "{token}"
        );
    }
    fs::write(workshop.path("token"), "short").unwrap();
    let text = workshop.code("serve --listen 127.0.0.1:0 --token-file token", 2);
    assert!(
        text.contains("token: the token is not 16 to 256 visible"),
        "{text}"
    );
}

#[tokio::test]
async fn too_many_machines_that_fell_back_hold_the_rollout_until_it_is_lifted() {
    let workshop = shop();
    let server = Serving::start(&workshop, "--pause-per-address 0");
    let held = async || workshop.view("stable").await.offer("1.1.0").held.clone();
    server.report((0..4).map(|n| fell_back(n, "x"))).await;
    assert_eq!(held().await, None);
    server.report([fell_back(4, "x")]).await;
    let reason = held().await.unwrap().reason;
    assert_eq!(reason, "5 of the last 20 machines that tried it fell back");
    assert!(workshop.view("stable").await.offer("1.0.0").held.is_none());
    let (_, html) = server.get("/rollout/stable/1.1.0").await;
    let said = text(&parse(&html));
    assert!(
        said.contains("held since") && said.contains("--channel stable --lift"),
        "{said}"
    );

    // Who looked at it and lifted it is not overruled by what failed before.
    workshop.ok("hold 1.1.0 --channel stable --lift");
    server.report((0..4).map(|n| fell_back(n, "again"))).await;
    assert_eq!(held().await, None);
    server.report([fell_back(5, "again")]).await;
    assert!(held().await.is_some());
}

#[tokio::test]
async fn one_address_cannot_hold_a_rollout_however_many_machines_it_makes_up() {
    let workshop = shop();
    let server = Serving::start(&workshop, "");
    server.report((0..40).map(|n| fell_back(n, "x"))).await;
    assert_eq!(workshop.view("stable").await.offer("1.1.0").held, None);
    let (_, html) = server.get("/rollout/stable/1.1.0").await;
    assert!(
        text(&parse(&html)).contains("38 more do not count"),
        "{html}"
    );
}

#[tokio::test]
async fn without_the_timestamp_key_the_page_says_that_nothing_is_held() {
    let workshop = shop();
    let server = Serving::start(&workshop, "--pause-per-address 0 --keys nowhere");
    server.report((0..9).map(|n| fell_back(n, "x"))).await;
    assert_eq!(workshop.view("stable").await.offer("1.1.0").held, None);
    let (_, html) = server.get("/").await;
    assert!(text(&parse(&html)).contains("The timestamp's key is not at hand"));
}

#[tokio::test]
async fn reports_survive_a_restart_and_a_static_server_takes_none() {
    let workshop = shop();
    Serving::start(&workshop, "")
        .report([event(1, "blessed")])
        .await;
    let server = Serving::start(&workshop, "");
    let (_, html) = server.get("/").await;
    assert!(text(&parse(&html)).contains("1 run it"));
    let server = Serving::start(&workshop, "--static");
    assert_eq!(server.post(&event(1, "blessed")).await.0, 405);
    assert_eq!(server.get("/").await.0, 404);
    assert_eq!(server.get("/metadata/timestamp.json").await.0, 200);
}
