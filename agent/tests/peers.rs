//! Machines ask each other over TLS: who is let in, what is told, and what is said when nobody can
//! be asked.

mod peer;

use std::time::Duration;

use nix::sys::signal::kill;
use nix::unistd::{Pid, mkfifo};
use peer::{Cluster, Node, desired, put, unit};
use strake_agent::peer::{Credentials, Peers, Reach, Stream, Wanted};
use strake_agent::root::Root;
use strake_agent::scheduler::keys;
use strake_agent::scheduler::machine::{Machine, MachineId};
use strake_agent::store::memory::Memory;

const LIMIT: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(20);

async fn text(mut stream: Stream) -> String {
    let mut text = Vec::new();
    while let Some(part) = stream.next().await {
        text.extend_from_slice(&part.expect("a part"));
    }
    String::from_utf8(text).expect("text")
}

/// The first machine holds web@1.service; questions come from the second.
async fn pair() -> (Cluster, Memory, Node, Node) {
    let (cluster, store) = (Cluster::new(), Memory::default());
    let holder = Node::start('a', cluster.credentials("127.0.0.2")).await;
    let asker = Node::start('b', cluster.credentials("127.0.0.3")).await;
    holder.register(&store, &["web@1.service"]).await;
    asker.register(&store, &[]).await;
    (cluster, store, holder, asker)
}

#[tokio::test]
async fn a_unit_is_told_of_from_any_machine() {
    let (_cluster, store, holder, asker) = pair().await;
    let web = unit("web@1.service");
    for node in [&holder, &asker] {
        let reach = node.reach(&store);
        let report = reach.status(&web, None).await.expect("a report");
        assert_eq!(
            (&report.machine, &report.unit, report.code),
            (&holder.id, &web, 3)
        );
        let expected = "systemctl status --full --no-pager --lines 10 -- web@1.service\n";
        assert_eq!(report.text, expected);
        let wanted = Wanted {
            lines: 7,
            follow: false,
            output: "short-iso".to_string(),
        };
        let journal = reach.journal(&web, None, &wanted).await.expect("a journal");
        assert_eq!(
            text(journal).await,
            "journalctl --no-pager --quiet --all --output short-iso --lines 7 --unit=web@1.service\n"
        );
        let named = reach.status(&web, Some(holder.id.short())).await;
        assert_eq!(named.expect("a report").machine, holder.id);
    }
}

#[tokio::test]
async fn a_followed_journal_goes_on_until_nobody_reads_it() {
    let (_cluster, store, holder, asker) = pair().await;
    let fifo = holder.path("journalctl.fifo");
    mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    let wanted = Wanted {
        follow: true,
        ..Wanted::default()
    };
    let reach = asker.reach(&store);
    let journal = reach.journal(&unit("web@1.service"), None, &wanted).await;
    let mut journal = journal.expect("a journal");
    let story = async {
        let first = journal.next().await.expect("a part").expect("good");
        assert!(first.starts_with(b"journalctl "), "{first:?}");
        let mut feed = tokio::fs::OpenOptions::new();
        let mut feed = feed.write(true).open(&fifo).await.expect("open");
        for line in ["one\n", "two\n"] {
            tokio::io::AsyncWriteExt::write_all(&mut feed, line.as_bytes())
                .await
                .expect("written");
            tokio::io::AsyncWriteExt::flush(&mut feed)
                .await
                .expect("flushed");
            let part = journal.next().await.expect("a part").expect("good");
            assert_eq!(part, line);
        }
        let pid = std::fs::read_to_string(holder.path("journalctl.pid")).expect("a pid");
        let pid = Pid::from_raw(pid.trim().parse().expect("a number"));
        assert!(kill(pid, None).is_ok(), "the program ended too early");
        drop(journal);
        while kill(pid, None).is_ok() {
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::time::timeout(LIMIT, story).await.expect("in time");
}

#[tokio::test]
async fn a_program_that_fails_says_why() {
    let (_cluster, store, holder, asker) = pair().await;
    holder.program("journalctl", "echo some; echo 'no such format' >&2; exit 1");
    let web = unit("web@1.service");
    let own = holder
        .reach(&store)
        .journal(&web, None, &Wanted::default())
        .await;
    let mut own = own.expect("a journal");
    assert_eq!(own.next().await.expect("a part").expect("good"), "some\n");
    let failed = own.next().await.expect("a failure").expect_err("failed");
    assert_eq!(failed.to_string(), "no such format");
    let far = asker
        .reach(&store)
        .journal(&web, None, &Wanted::default())
        .await;
    let mut far = far.expect("a journal");
    let mut last = far.next().await;
    while let Some(Ok(_)) = last {
        last = far.next().await;
    }
    assert!(matches!(last, Some(Err(_))), "broken off is not ended");
}

/// What the holder's listener says to somebody with these credentials.
#[tokio::test]
async fn a_machine_whose_certificate_was_revoked_is_told_nothing() {
    let (_cluster, store, holder, asker) = pair().await;
    let reach = asker.reach(&store);
    let web = unit("web@1.service");
    reach.status(&web, None).await.expect("it is let in");
    let list = holder.path("state/cluster/revoked");
    std::fs::create_dir_all(list.parent().expect("a parent")).expect("a directory");
    let serial = asker.credentials.identity.leaf.serial_text();
    std::fs::write(&list, format!("00\n{serial}\n")).expect("a list");
    reach.status(&web, None).await.expect_err("it is revoked");
    std::fs::write(&list, "00\n").expect("a list");
    reach
        .status(&web, None)
        .await
        .expect("another one is revoked");
}

async fn refused(store: &Memory, asker: &Node, credentials: &Credentials) -> String {
    let root = Root::new(asker.dir.path());
    let reach = Reach {
        peers: Some(Peers::new(&root, credentials).expect("a way")),
        ..asker.reach(store)
    };
    let answer = reach.status(&unit("web@1.service"), None).await;
    format!("{:#}", anyhow::Error::from(answer.expect_err("let in")))
}

#[tokio::test]
async fn only_machines_of_the_cluster_are_let_in_and_believed() {
    let (cluster, store, holder, asker) = pair().await;
    // One of another authority that says it is of this one.
    let stranger = Credentials {
        ca: cluster.ca.clone(),
        ..Cluster::new().credentials("127.0.0.3")
    };
    let said = refused(&store, &asker, &stranger).await;
    assert!(said.contains("alert"), "{said}");
    // A listener that is not of this cluster.
    let said = refused(&store, &asker, &Cluster::new().credentials("127.0.0.3")).await;
    assert!(said.contains("certificate"), "{said}");
    // A machine of the cluster that is not the one at that address.
    let imposter = Node::start('c', cluster.credentials("127.0.0.4")).await;
    let mut machine = Machine::new(holder.id.clone());
    machine.peer = Some(imposter.peer);
    put(&store, keys::machine(&holder.id), &machine).await;
    assert!(
        refused(&store, &asker, &asker.credentials)
            .await
            .contains("web@1.service is not on")
    );
    let elsewhere = Node::start('d', cluster.credentials("127.0.0.5")).await;
    let mut moved = elsewhere.peer;
    moved.set_ip("127.0.0.6".parse().expect("an address"));
    let listener = strake_agent::peer::listen(moved).await.expect("a listener");
    let (local, credentials) = (elsewhere.local(), elsewhere.credentials.clone());
    let server =
        tokio::spawn(async move { strake_agent::peer::serve(listener, local, &credentials).await });
    machine.peer = Some(moved);
    put(&store, keys::machine(&holder.id), &machine).await;
    let said = refused(&store, &asker, &asker.credentials).await;
    assert!(said.contains("not valid for name"), "{said}");
    server.abort();
    // Without any certificate.
    let root = Root::new(asker.dir.path());
    let clock = strake_agent::cluster::clock::Clock::load(&root);
    let tls = strake_agent::cluster::tls::client(&cluster.ca, None, clock).expect("settings");
    let bare = reqwest::Client::builder().tls_backend_preconfigured(tls);
    let url = format!("https://{}/v1/units/web@1.service/status", holder.peer);
    let answer = bare.build().expect("a client").get(url).send().await;
    let said = format!("{:?}", answer.expect_err("let in"));
    assert!(said.contains("CertificateRequired"), "{said}");
}

#[tokio::test]
async fn only_the_clusters_units_here_are_told_of_and_nonsense_is_refused() {
    let (cluster, _store, holder, asker) = pair().await;
    let root = Root::new(asker.dir.path());
    let clock = strake_agent::cluster::clock::Clock::load(&root);
    let identity = Some(&asker.credentials.identity);
    let tls = strake_agent::cluster::tls::client(&cluster.ca, identity, clock).expect("settings");
    let http = reqwest::Client::builder().tls_backend_preconfigured(tls);
    let http = http.build().expect("a client");
    let ask = async |method: reqwest::Method, path: &str| {
        let url = format!("https://{}{path}", holder.peer);
        let answer = http.request(method, url).send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.text().await.expect("a body"))
    };
    let get = reqwest::Method::GET;
    let web = "/v1/units/web%401.service";
    assert_eq!(ask(get.clone(), &format!("{web}/status")).await.0, 200);
    for (path, status, part) in [
        (
            "/v1/units/sshd.service/journal".to_string(),
            404,
            "sshd.service is not on this machine",
        ),
        (
            "/v1/units/sshd.service/status".to_string(),
            404,
            "is not on this machine",
        ),
        (format!("{web}/nonsense"), 404, "no such request"),
        (
            "/v1/units/..%2Fetc/status".to_string(),
            404,
            "no such request",
        ),
        ("/".to_string(), 404, "no such request"),
        (format!("{web}/journal?lines=many"), 400, "is no number"),
        (format!("{web}/journal?lines=100001"), 400, "is no number"),
        (format!("{web}/journal?output=--file"), 400, "is none of"),
        (
            format!("{web}/journal?follow=perhaps"),
            400,
            "neither yes nor no",
        ),
    ] {
        let (found, body) = ask(get.clone(), &path).await;
        assert_eq!(found, status, "{path}: {body}");
        assert!(body.contains(part), "{path}: {body}");
    }
    let (status, _) = ask(reqwest::Method::POST, &format!("{web}/status")).await;
    assert_eq!(status, 405);
}

#[tokio::test]
async fn what_cannot_be_asked_is_said_with_its_cause() {
    let (_cluster, store, holder, asker) = pair().await;
    let web = unit("web@1.service");
    let says = async |name: &str, machine: Option<&str>, part: &str| {
        let answer = asker.reach(&store).status(&unit(name), machine).await;
        let said = format!("{:#}", anyhow::Error::from(answer.expect_err("an error")));
        assert!(said.contains(part), "{part}: {said}");
    };
    says("none.service", None, "unit none.service is not known").await;
    let known = serde_json::json!({"digest": "0".repeat(40), "state": "inactive"});
    put(&store, keys::unit(&unit("idle.service")), &known).await;
    says("idle.service", None, "is on no machine").await;
    says(
        "web@1.service",
        Some("ffffffff"),
        "machine ffffffff does not hold",
    )
    .await;
    // One whose lease is over, and one that has no certificate.
    let lost: MachineId = "e".repeat(32).parse().expect("an id");
    let units = ["web@1.service", "lost.service"];
    put(&store, keys::desired(&lost), &desired(&units)).await;
    says("lost.service", None, "is away: its lease is over").await;
    says("web@1.service", None, "is on 2 machines").await;
    put(&store, keys::machine(&lost), &Machine::new(lost.clone())).await;
    says("lost.service", None, "it has no certificate").await;
    // The machine is there and nothing listens.
    let mut machine = Machine::new(lost.clone());
    machine.peer = Some("127.0.0.7:1".parse().expect("an address"));
    put(&store, keys::machine(&lost), &machine).await;
    says("lost.service", None, "at 127.0.0.7:1: ").await;
    // This machine has no certificate: what it holds itself is told all the same.
    let bare = |node: &Node| Reach {
        peers: None,
        ..node.reach(&store)
    };
    let answer = bare(&asker).status(&web, Some(holder.id.as_str())).await;
    let said = answer.expect_err("an error").to_string();
    assert!(said.contains("this machine has no certificate"), "{said}");
    let own = bare(&holder).status(&web, Some(holder.id.as_str())).await;
    assert_eq!(own.expect("a report").code, 3);
}
