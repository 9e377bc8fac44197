//! The built program and the leader's engine against a real etcd: from a unit file to the desired
//! value of a machine.

mod real_etcd;

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use strake_agent::scheduler::engine::{Engine, Pace};
use strake_agent::scheduler::keys::{self, Desired, Done, Ended, Observed, Seen, State};
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
    desired_when(store, id, |desired| desired.units.len() == units).await
}

async fn desired_when(store: &Etcd, id: &MachineId, is_so: impl Fn(&Desired) -> bool) -> Desired {
    let waiting = async {
        let mut watch = store.watch(&keys::desired(id), 1).await.expect("watch");
        loop {
            for event in watch.next().await.expect("event").events {
                if let strake_agent::store::Event::Put(entry) = event {
                    let desired: Desired = serde_json::from_slice(&entry.value).expect("desired");
                    let now = store.read(&keys::desired(id)).await.expect("answer");
                    let latest = now.is_some_and(|now| now.modified == entry.modified);
                    if latest && is_so(&desired) {
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
            run: 0,
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

#[tokio::test]
async fn a_start_that_waits_for_a_machine_says_for_which() {
    let Some(server) = real_etcd::Server::start().await else {
        return;
    };
    let dir = tempfile::tempdir().expect("temp dir");
    let text = "[Service]\nExecStart=/bin/sleep 9\n[X-Fleet]\nMachineMetadata=zone=z\n";
    std::fs::write(dir.path().join("far.service"), text).expect("file");
    let store = server.store().await;
    let id: MachineId = "0123456789abcdef0123456789abcdef".parse().expect("id");
    put(&store, keys::machine(&id), &Machine::new(id.clone())).await;
    let engine = Engine::new(store.clone(), &id, Pace::default(), Box::new(|_| {}));
    let story = async {
        let start = ["unit", "start", "--timeout", "3", "far.service"];
        let told = told(&server, dir.path(), &start, 1).await;
        let why = "far.service waits, no machine may hold it: 1 machine: MachineMetadata: zone is \
                   not as asked";
        assert!(told.contains(why), "{told}");
    };
    tokio::select! {
        () = story => {}
        never = engine.run() => never,
    }
}

#[tokio::test]
async fn a_batch_unit_ends_and_a_calendar_unit_waits() {
    let Some(server) = real_etcd::Server::start().await else {
        return;
    };
    let dir = tempfile::tempdir().expect("temp dir");
    let job = "[Service]\nType=oneshot\nExecStart=/bin/true\n[X-Strake]\n";
    for (name, options) in [
        ("job.service", "Batch=yes\n"),
        ("cal.service", "Calendar=yearly\n"),
    ] {
        std::fs::write(dir.path().join(name), format!("{job}{options}")).expect("file");
    }
    let store = server.store().await;
    let id: MachineId = "0123456789abcdef0123456789abcdef".parse().expect("id");
    put(&store, keys::machine(&id), &Machine::new(id.clone())).await;
    let engine = Engine::new(store.clone(), &id, Pace::default(), Box::new(|_| {}));
    let path = dir.path();
    let story = async {
        let run = |args: &'static [&'static str], code| told(&server, path, args, code);
        run(&["unit", "start", "--no-block", "job.service"], 0).await;
        let held = desired(&store, &id, 1).await;
        let (name, assignment) = held.units.first_key_value().expect("unit");
        let first = assignment.run;
        assert!(first > 0);
        for (result, code, exit) in [("exit-code", 7, 1), ("success", 0, 0)] {
            let done = Done {
                run: first,
                digest: assignment.digest.clone(),
                machine: id.clone(),
                ended: Ended {
                    result: result.to_string(),
                    code,
                    at: 1_795_248_000_000,
                    log: vec!["the last line".to_string()],
                },
            };
            put(&store, keys::done(name), &done).await;
            let left = desired(&store, &id, 0).await;
            let observed = Observed {
                generation: left.generation,
                ..Observed::default()
            };
            put(&store, keys::observed(&id), &observed).await;
            let status = run(&["unit", "status", "job"], exit).await;
            let line = format!("ended 2026-11-21 08:00:00 UTC with {result}, exit code {code},");
            assert!(status.contains(&line), "{status}");
            assert!(status.contains("    | the last line\n"), "{status}");
        }
        run(&["unit", "start", "job"], 3).await;
        let explained = run(&["unit", "explain", "job"], 0).await;
        assert!(explained.contains("holds it"), "{explained}");
        run(&["unit", "stop", "--no-block", "job"], 0).await;
        run(&["unit", "start", "--no-block", "job"], 0).await;
        let again = desired(&store, &id, 1).await;
        assert!(again.units[name].run > first, "{again:?}");
        run(&["unit", "destroy", "job"], 0).await;
        desired(&store, &id, 0).await;
        assert!(
            store
                .read(&keys::done(name))
                .await
                .expect("answer")
                .is_none()
        );
        let started = run(&["unit", "start", "cal.service"], 0).await;
        assert_eq!(started, "Unit cal.service launched\n");
        let status = run(&["unit", "status", "cal"], 3).await;
        assert!(status.contains("  next run: 20"), "{status}");
        assert!(status.contains("-01-01 00:00:00 UTC"), "{status}");
    };
    tokio::select! {
        () = story => {}
        never = engine.run() => never,
    }
}

#[tokio::test]
async fn replicas_are_started_replaced_and_taken_back() {
    let Some(server) = real_etcd::Server::start().await else {
        return;
    };
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path();
    let write = |command: &str| {
        let text =
            format!("[Service]\nExecStart=/bin/{command}\n[X-Strake]\nReplicas=2\nHealthyFor=1\n");
        std::fs::write(path.join("web@.service"), text).expect("file");
    };
    let store = server.store().await;
    let id: MachineId = "0123456789abcdef0123456789abcdef".parse().expect("id");
    put(&store, keys::machine(&id), &Machine::new(id.clone())).await;
    let engine = Engine::new(store.clone(), &id, Pace::default(), Box::new(|_| {}));
    // What the machine tells: everything runs as it is told, but a command that fails.
    let obey = async |held: &Desired, failing: Option<&str>| {
        let seen = held.units.iter().map(|(name, unit)| {
            let fails = failing == Some(unit.digest.as_str());
            let seen = Seen {
                digest: unit.digest.clone(),
                load: "loaded".to_string(),
                active: if fails {
                    Active::Failed
                } else {
                    Active::Active
                },
                sub: "running".to_string(),
                run: 0,
                started: true,
                problem: None,
            };
            (name.clone(), seen)
        });
        let observed = Observed {
            generation: held.generation,
            units: seen.collect(),
        };
        put(&store, keys::observed(&id), &observed).await;
    };
    let texts = |desired: &Desired| -> Vec<String> {
        let units = desired.units.values();
        units.map(|unit| unit.digest.as_str().to_string()).collect()
    };
    let story = async {
        let run = |args: &'static [&'static str], code| told(&server, path, args, code);
        write("sleep");
        run(&["unit", "start", "--no-block", "web@.service"], 0).await;
        let held = desired(&store, &id, 2).await;
        let names: Vec<&str> = held.units.keys().map(|name| name.as_str()).collect();
        assert_eq!(names, ["web@1.service", "web@2.service"]);
        let first = texts(&held);
        obey(&held, None).await;
        run(&["unit", "start", "web@.service"], 3).await;
        let status = run(&["unit", "status", "web@.service"], 0).await;
        assert!(
            status.contains("  web@2.service on 01234567...: loaded, active"),
            "{status}"
        );
        // The second one has the new text only when the first is well with it.
        write("cat");
        const AGAIN: [&str; 5] = ["unit", "start", "--no-block", "--replace", "web@.service"];
        run(&AGAIN, 0).await;
        run(&AGAIN, 3).await;
        let one = desired_when(&store, &id, |desired| texts(desired) != first).await;
        let half = texts(&one);
        assert!(half[0] != first[0] && half[1] == first[1], "{half:?}");
        obey(&one, None).await;
        let both = desired_when(&store, &id, |desired| texts(desired) != half).await;
        let second = texts(&both);
        assert_eq!(second, [half[0].clone(), half[0].clone()]);
        obey(&both, None).await;
        let key = keys::rollout(&"web@.service".parse().expect("name"));
        let proven = async {
            loop {
                let kept = store.read(&key).await.expect("answer");
                let kept = kept.map(|kept| String::from_utf8(kept.value).expect("text"));
                if kept.is_some_and(|kept| kept.contains(&second[0])) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, proven)
            .await
            .expect("proven in time");
        write("false");
        run(&["unit", "submit", "--replace", "web@.service"], 0).await;
        let one = desired_when(&store, &id, |desired| texts(desired) != second).await;
        obey(&one, Some(&texts(&one)[0])).await;
        let back = desired_when(&store, &id, |desired| texts(desired) == second).await;
        obey(&back, None).await;
        let status = run(&["unit", "status", "web@.service"], 0).await;
        assert!(
            status.contains("was taken back: web@1.service: it failed"),
            "{status}"
        );
        run(&["machine", "rebalance", "--dry-run"], 3).await;
        run(&["unit", "destroy", "web@.service"], 0).await;
        desired(&store, &id, 0).await;
    };
    tokio::select! {
        () = story => {}
        never = engine.run() => never,
    }
}
