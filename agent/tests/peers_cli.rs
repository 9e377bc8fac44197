//! The built program on a machine that holds nothing, with the cluster's certificates: it tells of
//! units on another machine, through that machine's listener and through fleet's API.

mod peer;
mod real_etcd;
mod secured;

use std::process::Stdio;
use std::time::Duration;

use peer::{Cluster, Node, desired, put, unit};
use secured::{PROGRAM, Secured, ended};
use serde_json::{Value, json};
use strake_agent::fleet::{self, Api};
use strake_agent::scheduler::keys;
use strake_agent::scheduler::machine::{Machine, MachineId};
use strake_agent::store::Store;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

const LIMIT: Duration = Duration::from_secs(60);

fn known(state: &str) -> Value {
    json!({"digest": "0".repeat(40), "state": state})
}

#[tokio::test]
async fn strake_status_tells_of_the_cluster_without_the_machines_key() {
    let Some(server) = real_etcd::Server::start().await else {
        return;
    };
    let store = server.store().await;
    let cluster = Cluster::new();
    let node = Node::start('a', cluster.credentials("127.0.0.12")).await;
    let root = node.dir.path().to_path_buf();
    let status = async |format: &str| {
        let mut command = Command::new(PROGRAM);
        command.args(["status", "-o", format, "--root"]).arg(&root);
        ended(command, "status", 0).await.0
    };
    let alone: Value = serde_json::from_str(&status("json").await).expect("json");
    assert_eq!(alone["cluster"], Value::Null);
    std::fs::create_dir_all(root.join("run")).expect("a directory");
    // A service that is gone, and its socket still there.
    drop(fleet::bind(&root.join("run/fleet.sock"), None).expect("a socket"));
    let gone = status("table").await;
    assert!(
        gone.contains("\ncluster       without a name, asking strake-scheduler"),
        "{gone}"
    );
    let listener = fleet::bind(&root.join("run/fleet.sock"), None).expect("a socket");
    let api = Api::new(store.clone()).reaching(node.reach(&store));
    let story = async {
        let early = status("table").await;
        let expected = "\ncluster       without a name, 0 machines, no leader, this machine is not \
             registered\nits units     0 held, 0 up\n";
        assert!(early.contains(expected), "{early}");
        node.register(&store, &["a.service", "b.service", "c.service"])
            .await;
        let seat = format!("{}0", keys::LEADER);
        let write = strake_agent::store::Write::Put {
            key: seat,
            value: format!("{} 77", node.id).into_bytes(),
            lease: None,
        };
        let transaction = strake_agent::store::Transaction {
            compares: Vec::new(),
            writes: vec![write],
        };
        store.commit(&transaction).await.expect("written");
        let seen = |active: &str, problem: Value| {
            json!({"digest": "0".repeat(40), "load": "loaded", "active": active, "sub": "dead",
                "started": true, "problem": problem})
        };
        let observed = json!({"generation": 1, "units": {
            "a.service": seen("active", Value::Null),
            "b.service": seen("failed", Value::Null),
            "c.service": seen("inactive", json!("no such program")),
        }});
        put(&store, keys::observed(&node.id), &observed).await;
        let text = status("table").await;
        let expected = "\ncluster       without a name, 1 machine, led by aaaaaaaa\n\
             its units     3 held, 1 up\n              b.service: failed (dead)\n\
             \x20             c.service: no such program\n";
        assert!(text.contains(expected), "{text}");
        let whole: Value = serde_json::from_str(&status("json").await).expect("json");
        let summary = &whole["cluster"]["summary"];
        assert_eq!(summary["leader"], node.id.as_str(), "{summary}");
        assert_eq!(
            (&summary["registered"], &summary["up"]),
            (&json!(true), &json!(1))
        );
        drop(server);
        let silent = status("table").await;
        assert!(
            silent.contains("without a name, asking the store to"),
            "{silent}"
        );
    };
    let tasks = tokio::task::LocalSet::new();
    tasks
        .run_until(async {
            tokio::select! {
                never = fleet::serve(listener, api) => never,
                () = story => {}
            }
        })
        .await;
}

const JOURNAL: &str =
    "journalctl --no-pager --quiet --all --output short --lines 10 --unit=web.service\n";

#[tokio::test]
async fn strake_unit_tells_of_units_on_other_machines() {
    let cluster = Cluster::new();
    let Some(etcd) = Secured::start(&cluster).await else {
        return;
    };
    let store = etcd.store().await;
    let holder = Node::start('a', cluster.credentials("127.0.0.8")).await;
    holder.register(&store, &["web.service"]).await;
    put(&store, keys::unit(&unit("web.service")), &known("launched")).await;
    put(
        &store,
        keys::unit(&unit("idle.service")),
        &known("inactive"),
    )
    .await;
    assert_eq!(etcd.run("unit journal web", 0).await.0, JOURNAL);
    let (json, _) = etcd.run("unit journal -n 3 -o json web.service", 0).await;
    assert!(json.contains("--output json --lines 3 "), "{json}");
    let (status, _) = etcd.run("unit status web.service", 3).await;
    assert!(status.starts_with("web.service: "), "{status}");
    assert!(status.ends_with("-- web.service\n"), "{status}");
    let (rows, _) = etcd.run("unit status -o json web.service", 3).await;
    assert_eq!(
        serde_json::from_str::<Value>(&rows).expect("json"),
        json!([])
    );
    for (line, code, part) in [
        ("unit journal none", 2, "unit none.service is not known"),
        ("unit journal idle", 1, "idle.service is on no machine"),
        (
            "unit journal --machine ffffffff web",
            2,
            "ffffffff does not hold web.service",
        ),
        (
            "unit journal -o nonsense web",
            2,
            "\"nonsense\" is none of short",
        ),
        (
            "unit journal -n 100001 web",
            2,
            "100001 is not in 0..=100000",
        ),
    ] {
        let (_, said) = etcd.run(line, code).await;
        assert!(said.contains(part), "{line}: {said}");
    }
    // Followed: what comes is there at once, and the program's end ends the other side.
    nix::unistd::mkfifo(
        &holder.path("journalctl.fifo"),
        nix::sys::stat::Mode::S_IRWXU,
    )
    .expect("a fifo");
    let mut follower = etcd.strake("unit journal -f web");
    let mut follower = follower.stdout(Stdio::piped()).spawn().expect("runs");
    let output = follower.stdout.take().expect("a pipe");
    let mut lines = BufReader::new(output).lines();
    let mut next = async || {
        let line = tokio::time::timeout(LIMIT, lines.next_line()).await;
        line.expect("in time").expect("read").expect("a line")
    };
    assert!(next().await.contains("--follow"));
    let fifo = holder.path("journalctl.fifo");
    let open = tokio::task::spawn_blocking(move || {
        let mut feed = std::fs::File::options().write(true).open(fifo)?;
        std::io::Write::write_all(&mut feed, b"news\n")?;
        std::io::Result::Ok(feed)
    });
    let _feed = open.await.expect("opened").expect("written");
    assert_eq!(next().await, "news");
    // It moves, and who follows it moves along.
    let other = Node::start('b', cluster.credentials("127.0.0.14")).await;
    other.program("journalctl", "echo from the other; exec sleep 60");
    put(&store, keys::desired(&holder.id), &desired(&[])).await;
    holder.holds(&[]);
    other.register(&store, &["web.service"]).await;
    assert_eq!(next().await, "from the other");
    follower.kill().await.expect("ended");
    // The machine is lost.
    drop(other);
    let (_, said) = etcd.run("unit journal web", 1).await;
    assert!(said.contains("asking machine bbbbbbbb"), "{said}");
    let (_, said) = etcd.run("unit status web", 3).await;
    assert!(said.contains("asking machine bbbbbbbb"), "{said}");
}

#[tokio::test]
async fn fleetctl_tells_of_units_on_other_machines_without_ssh() {
    let cluster = Cluster::new();
    let Some(etcd) = Secured::start(&cluster).await else {
        return;
    };
    let store = etcd.store().await;
    let holder = Node::start('a', cluster.credentials("127.0.0.9")).await;
    let asked = Node::start('b', cluster.credentials("127.0.0.10")).await;
    holder.register(&store, &["web.service"]).await;
    asked.register(&store, &[]).await;
    put(&store, keys::unit(&unit("web.service")), &known("launched")).await;
    let socket = etcd.dir.path().join("fleet.sock");
    let listener = fleet::bind(&socket, None).expect("a socket");
    let api = Api::new(store.clone()).reaching(asked.reach(&store));
    let run = async |line: &str, code: i32| {
        let mut command = Command::new(PROGRAM);
        command.arg0("fleetctl").args(line.split_whitespace());
        // Nothing but the API: an ssh would not be found.
        command.env_clear().env("PATH", "/nowhere");
        command.env("FLEETCTL_ENDPOINT", format!("unix://{}", socket.display()));
        command.env("FLEETCTL_REQUEST_TIMEOUT", "30");
        ended(command, line, code).await
    };
    let story = async {
        let (journal, _) = run("journal web", 0).await;
        assert_eq!(journal, JOURNAL);
        let (journal, _) = run("journal -n 5 --output=cat web", 0).await;
        assert!(journal.contains("--output cat --lines 5 "), "{journal}");
        let (_, said) = run("journal --output=nonsense web", 1).await;
        assert!(said.contains("is none of short"), "{said}");
        let (status, _) = run("status web", 1).await;
        assert!(status.starts_with("systemctl status "), "{status}");
        // One without a listener is reached by ssh, as before.
        let plain: MachineId = "c".repeat(32).parse().expect("an id");
        let mut machine = Machine::new(plain.clone());
        machine.address = "127.0.0.11".to_string();
        put(&store, keys::machine(&plain), &machine).await;
        put(&store, keys::desired(&plain), &desired(&["old.service"])).await;
        put(&store, keys::unit(&unit("old.service")), &known("launched")).await;
        let (_, said) = run("journal old", 1).await;
        assert!(said.contains("running journalctl"), "{said}");
        // A machine that has gone without a word.
        drop(holder);
        let (_, said) = run("journal web", 1).await;
        assert!(
            said.contains("502") && said.contains("asking machine aaaaaaaa"),
            "{said}"
        );
    };
    let tasks = tokio::task::LocalSet::new();
    tasks
        .run_until(async {
            tokio::select! {
                never = fleet::serve(listener, api) => never,
                () = story => {}
            }
        })
        .await;
}

#[tokio::test]
async fn events_tell_the_past_and_what_comes() {
    let Some(server) = real_etcd::Server::start().await else {
        return;
    };
    let store = server.store().await;
    let strake = |line: &str| {
        let mut command = Command::new(PROGRAM);
        command.args(line.split_whitespace()).kill_on_drop(true);
        command.env("STRAKE_ETCD_ENDPOINTS", &server.settings().endpoints[0]);
        command
    };
    let run = async |line: &str, code| ended(strake(line), line, code).await.0;
    assert_eq!(run("events", 3).await, "");
    let ids: [MachineId; 2] = ["a", "b"].map(|digit| digit.repeat(32).parse().expect("an id"));
    for id in &ids {
        put(&store, keys::machine(id), &Machine::new(id.clone())).await;
    }
    put(&store, keys::unit(&unit("web.service")), &known("launched")).await;
    put(&store, keys::desired(&ids[0]), &desired(&["web.service"])).await;
    let past = run("events", 0).await;
    let told: Vec<&str> = past.lines().map(|line| &line[37..]).collect();
    let expected = [
        format!("machine {} came", ids[0]),
        format!("machine {} came", ids[1]),
        "web.service is to be launched".to_string(),
        format!("web.service placed on {}", ids[0]),
    ];
    assert_eq!(told, expected, "{past}");
    assert_eq!(run("events -n 2 --unit web", 0).await.lines().count(), 2);
    let mut follower = strake("events -f -n 1 -o json");
    let mut follower = follower.stdout(Stdio::piped()).spawn().expect("runs");
    let output = follower.stdout.take().expect("a pipe");
    let mut lines = BufReader::new(output).lines();
    let mut next = async || {
        let line = tokio::time::timeout(LIMIT, lines.next_line()).await;
        let line = line.expect("in time").expect("read").expect("a line");
        serde_json::from_str::<Value>(&line).expect("json")
    };
    let first = next().await;
    assert_eq!(
        (&first["event"], &first["time"]),
        (&json!("placed"), &Value::Null)
    );
    put(&store, keys::desired(&ids[0]), &desired(&[])).await;
    put(&store, keys::desired(&ids[1]), &desired(&["web.service"])).await;
    assert_eq!(next().await["event"], "removed");
    let moved = next().await;
    assert_eq!(
        (&moved["event"], &moved["unit"]),
        (&json!("moved"), &json!("web.service"))
    );
    assert_eq!(moved["from"], ids[0].as_str());
    assert_eq!(moved["machine"], ids[1].as_str());
    assert!(moved["time"].is_string(), "{moved}");
    // What is behind a compaction is only known as it was there.
    let now = store
        .read(&keys::desired(&ids[1]))
        .await
        .expect("an answer");
    let now = now.expect("a value").modified;
    let endpoint = [&server.settings().endpoints[0]];
    let etcd = etcd_client::Client::connect(endpoint, None).await;
    etcd.expect("a client")
        .compact(now, None)
        .await
        .expect("compacted");
    assert_eq!(run("events", 3).await, "");
    put(&store, keys::desired(&ids[1]), &desired(&[])).await;
    let removed = run("events", 0).await;
    assert!(
        removed.ends_with(&format!("web.service removed from {}\n", ids[1])),
        "{removed}"
    );
    assert_eq!(removed.lines().count(), 1, "{removed}");
}
