//! The built program and the leader's engine against a real etcd: from a unit file to the desired
//! value of a machine.

mod real_etcd;

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use strake_agent::scheduler::engine::{Engine, Pace};
use strake_agent::scheduler::keys::{self, Desired, Observed, Seen, State};
use strake_agent::scheduler::machine::{Machine, MachineId};
use strake_agent::store::etcd::Etcd;
use strake_agent::store::{Store, Transaction, Write};
use strake_agent::systemd::Active;
use tokio::process::Command;

const LIMIT: Duration = Duration::from_secs(60);

async fn strake(endpoint: &str, dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strake"));
    command.args(args).current_dir(dir);
    command.env("STRAKE_ETCD_ENDPOINTS", endpoint);
    command.output().await.expect("the program runs")
}

/// Standard output of a command that has to end with this code.
async fn told(server: &real_etcd::Server, dir: &Path, args: &[&str], code: i32) -> String {
    let endpoint = &server.settings().endpoints[0];
    let output = strake(endpoint, dir, args).await;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned() + &error
}

async fn put(store: &Etcd, key: String, value: &impl serde::Serialize) {
    let write = Write::Put {
        key,
        value: serde_json::to_vec(value).expect("json"),
        lease: None,
    };
    let transaction = Transaction {
        compares: Vec::new(),
        writes: vec![write],
    };
    store.commit(&transaction).await.expect("written");
}

/// The machine's desired value when it has as many units, or none of them.
async fn desired(store: &Etcd, id: &MachineId, units: usize) -> Desired {
    let waiting = async {
        let mut watch = store.watch(&keys::desired(id), 1).await.expect("watch");
        loop {
            for event in watch.next().await.expect("event").events {
                if let strake_agent::store::Event::Put(entry) = event {
                    let desired: Desired = serde_json::from_slice(&entry.value).expect("desired");
                    let now = store.read(&keys::desired(id)).await.expect("answer");
                    let latest = now.is_some_and(|now| now.modified == entry.modified);
                    if latest && desired.units.len() == units {
                        return desired;
                    }
                }
            }
        }
    };
    let in_time = tokio::time::timeout(LIMIT, waiting).await;
    in_time.expect("the leader writes in time")
}

#[tokio::test]
async fn a_unit_goes_from_its_file_to_a_machine() {
    let Some(server) = real_etcd::Server::start().await else {
        return;
    };
    let dir = tempfile::tempdir().expect("temp dir");
    let text = "[Service]\nExecStart=/bin/sleep 9\n";
    std::fs::write(dir.path().join("web@.service"), text).expect("file");
    let store = server.store().await;
    let id: MachineId = "0123456789abcdef0123456789abcdef".parse().expect("id");
    let mut machine = Machine::new(id.clone());
    machine.address = "10.0.0.1".to_string();
    put(&store, keys::machine(&id), &machine).await;
    let engine = Engine::new(store.clone(), &id, Pace::default(), Box::new(|_| {}));
    let path = dir.path();
    let story = async {
        let run = |args: &'static [&'static str], code| told(&server, path, args, code);
        run(&["unit", "submit", "web@.service"], 0).await;
        run(&["unit", "submit", "web@.service"], 3).await;
        let refused = run(&["unit", "start", "web@.service"], 2).await;
        assert!(refused.contains("is a template"), "{refused}");
        run(&["unit", "start", "--no-block", "web@1"], 0).await;
        let held = desired(&store, &id, 1).await;
        let (name, assignment) = held.units.first_key_value().expect("unit");
        assert_eq!(
            (name.as_str(), assignment.state),
            ("web@1.service", State::Launched)
        );
        let seen = Seen {
            digest: assignment.digest.clone(),
            load: "loaded".to_string(),
            active: Active::Active,
            sub: "running".to_string(),
            started: true,
            problem: None,
        };
        let observed = Observed {
            generation: held.generation,
            units: [(name.clone(), seen)].into(),
        };
        put(&store, keys::observed(&id), &observed).await;
        // Already as ordered: found so at once.
        let started = run(&["unit", "start", "web@1.service"], 3).await;
        assert_eq!(
            started,
            "Unit web@1.service launched on 01234567.../10.0.0.1\n"
        );
        let list = run(&["unit", "list"], 0).await;
        assert_eq!(
            list,
            "UNIT           MACHINE               ACTIVE  SUB\n\
             web@1.service  01234567.../10.0.0.1  active  running\n"
        );
        let files = run(&["unit", "list-files", "-o", "json"], 0).await;
        let files: serde_json::Value = serde_json::from_str(&files).expect("json");
        assert_eq!(files[1]["state"], "launched");
        assert_eq!(run(&["unit", "cat", "web@1"], 0).await, text);
        run(&["unit", "status", "web@1"], 0).await;
        let explained = run(&["unit", "explain", "web@1"], 0).await;
        assert!(explained.contains("holds it"), "{explained}");
        run(&["machine", "drain", "01234567"], 0).await;
        let empty = desired(&store, &id, 0).await;
        assert_eq!(empty.releasing.len(), 1, "not yet seen to have left");
        let explained = run(&["unit", "explain", "web@1"], 0).await;
        assert!(explained.contains("being drained"), "{explained}");
        run(&["machine", "drain", "01234567"], 3).await;
        run(&["machine", "tag", "01234567", "zone=a"], 0).await;
        let machines = run(&["machine", "list"], 0).await;
        assert!(machines.contains("draining") && machines.contains("zone=a"));
        run(&["unit", "destroy", "web@1", "web@.service"], 0).await;
        run(&["unit", "status", "web@1"], 2).await;
        let listing = store.list(keys::ALL, None, None).await.expect("answer");
        let units = format!("{}units/", keys::ALL);
        assert!(listing.entries.iter().all(|e| !e.key.starts_with(&units)));
    };
    tokio::select! {
        () = story => {}
        never = engine.run() => never,
    }
}

#[tokio::test]
async fn verify_names_every_fault_with_its_place() {
    let dir = tempfile::tempdir().expect("temp dir");
    let text = "[Service]\nExecStart=/bin/true\n[X-Fleet]\nConflict=a\nGlobal=perhaps\n";
    std::fs::write(dir.path().join("bad.service"), text).expect("file");
    std::fs::write(dir.path().join("good.service"), "[Service]\n").expect("file");
    let good = strake("", dir.path(), &["unit", "verify", "good.service"]).await;
    assert_eq!(good.status.code(), Some(0));
    let bad = strake("", dir.path(), &["unit", "verify", "bad.service"]).await;
    assert_eq!(bad.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&bad.stderr),
        "bad.service: line 4, column 1: [X-Fleet] has no option \"Conflict\" (did you mean \
         Conflicts?)\nbad.service: line 5, column 1: Global: this is yes or no\n"
    );
}

#[tokio::test]
async fn what_units_set_aside_is_shown_with_their_machine() {
    let Some(server) = real_etcd::Server::start().await else {
        return;
    };
    let dir = tempfile::tempdir().expect("temp dir");
    let sleeper = "[Service]\nExecStart=/bin/sleep 9\n[X-Strake]\n";
    for (name, options) in [
        ("a.service", "Memory=512M\nCPU=0.5\n"),
        ("b.service", "CPU=1\n"),
    ] {
        std::fs::write(dir.path().join(name), format!("{sleeper}{options}")).expect("file");
    }
    let store = server.store().await;
    let id: MachineId = "0123456789abcdef0123456789abcdef".parse().expect("id");
    let mut machine = Machine::new(id.clone());
    machine.facts.insert(
        "memory".to_string(),
        serde_json::from_value(4e9.into()).expect("fact"),
    );
    machine.facts.insert(
        "cpus".to_string(),
        serde_json::from_value(4.0.into()).expect("fact"),
    );
    put(&store, keys::machine(&id), &machine).await;
    let engine = Engine::new(store.clone(), &id, Pace::default(), Box::new(|_| {}));
    let story = async {
        let start = ["unit", "start", "--no-block", "a.service", "b.service"];
        told(&server, dir.path(), &start, 0).await;
        desired(&store, &id, 2).await;
        let shown = told(&server, dir.path(), &["machine", "show", id.short()], 0).await;
        for part in ["536870912 bytes", "1.5 processors"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    };
    tokio::select! {
        never = engine.run() => never,
        () = story => {}
    }
}
