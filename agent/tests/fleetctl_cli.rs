//! The applet `fleetctl` against the API, with a real etcd behind it and a machine that does at
//! once what it is told.

mod real_etcd;

use std::path::Path;

use serde_json::json;
use strake_agent::fleet;
use strake_agent::scheduler::engine::{Engine, Pace};
use strake_agent::scheduler::keys::{self, Desired, Observed, Seen, State};
use strake_agent::scheduler::machine::{Machine, MachineId};
use strake_agent::store::etcd::Etcd;
use strake_agent::store::{Event, Store, Transaction, Write};
use strake_agent::systemd::Active;
use tokio::process::Command;

struct Fleetctl<'a> {
    dir: &'a Path,
}

impl Fleetctl<'_> {
    /// Standard output and standard error of a command that has to end with this code.
    async fn run(&self, line: &str, code: i32) -> (String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strake"));
        command.arg0("fleetctl").args(line.split_whitespace());
        command.current_dir(self.dir);
        let endpoint = format!("unix://{}", self.dir.join("fleet.sock").display());
        command.env("FLEETCTL_ENDPOINT", endpoint);
        command.env("FLEETCTL_REQUEST_TIMEOUT", "30");
        let output = command.output().await.expect("the program runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let (out, error) = (text(output.stdout), text(output.stderr));
        assert_eq!(output.status.code(), Some(code), "{line}: {out}{error}");
        (out, error)
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.dir.join(name), text).expect("a file");
    }
}

async fn put(store: &Etcd, key: String, value: &impl serde::Serialize) {
    let transaction = Transaction {
        compares: Vec::new(),
        writes: vec![Write::Put {
            key,
            value: serde_json::to_vec(value).expect("json"),
            lease: None,
        }],
    };
    store.commit(&transaction).await.expect("written");
}

/// What an agent would tell whose systemd takes no time.
async fn obey(store: Etcd, id: MachineId) {
    let mut watch = store.watch(&keys::desired(&id), 1).await.expect("watch");
    while let Ok(batch) = watch.next().await {
        for event in batch.events {
            let Event::Put(entry) = event else { continue };
            let desired: Desired = serde_json::from_slice(&entry.value).expect("desired");
            let units = desired.units.iter().map(|(name, assignment)| {
                let launched = assignment.state == State::Launched;
                let (active, sub) = match launched {
                    true => (Active::Active, "running"),
                    false => (Active::Inactive, "dead"),
                };
                let seen = Seen {
                    digest: assignment.digest.clone(),
                    load: "loaded".to_string(),
                    active,
                    sub: sub.to_string(),
                    run: 0,
                    started: launched,
                    problem: None,
                };
                (name.clone(), seen)
            });
            let observed = Observed {
                generation: desired.generation,
                units: units.collect(),
            };
            put(&store, keys::observed(&id), &observed).await;
        }
    }
}

async fn with_machine(test: impl AsyncFnOnce(&Fleetctl<'_>, &MachineId)) {
    let Some(server) = real_etcd::Server::start().await else {
        return;
    };
    let dir = tempfile::tempdir().expect("temp dir");
    let store = server.store().await;
    let id: MachineId = "0123456789abcdef0123456789abcdef".parse().expect("id");
    let mut machine = Machine::new(id.clone());
    machine.address = "10.0.0.1".to_string();
    machine.metadata.insert("zone".to_string(), "a".to_string());
    put(&store, keys::machine(&id), &machine).await;
    let listener = fleet::bind(&dir.path().join("fleet.sock"), None).expect("a socket");
    let engine = Engine::new(store.clone(), &id, Pace::default(), Box::new(|_| {}));
    let fleetctl = Fleetctl { dir: dir.path() };
    let tasks = tokio::task::LocalSet::new();
    tasks
        .run_until(async {
            tokio::select! {
                never = fleet::serve(listener, fleet::Api::new(store.clone())) => never,
                never = engine.run() => never,
                () = obey(store.clone(), id.clone()) => panic!("the watch ended"),
                () = test(&fleetctl, &id) => {}
            }
        })
        .await;
}

const SLEEPER: &str = "[Unit]\nDescription=Sleeps\n\n[Service]\nExecStart=/bin/sleep 9\n";

#[tokio::test]
async fn a_unit_goes_through_all_its_states() {
    with_machine(async |fleetctl, id| {
        fleetctl.put("web.service", SLEEPER);
        let run = async |line: &str, code| fleetctl.run(line, code).await.0;
        assert_eq!(
            run("submit web.service", 0).await,
            "Unit web.service inactive\n"
        );
        let on = "on 01234567.../10.0.0.1\n";
        assert_eq!(
            run("load web.service", 0).await,
            format!("Unit web.service loaded {on}")
        );
        assert_eq!(
            run("start web", 0).await,
            format!("Unit web.service launched {on}")
        );
        assert_eq!(
            run("list-units", 0).await,
            "UNIT         MACHINE               ACTIVE  SUB\n\
             web.service  01234567.../10.0.0.1  active  running\n"
        );
        let full = run("list-units --full --no-legend --fields=machine,load", 0).await;
        assert_eq!(full, format!("{id}/10.0.0.1  loaded\n"));
        let files = run(
            "list-unit-files -fields unit,dstate,state,target,desc,global",
            0,
        )
        .await;
        assert!(
            files.ends_with(
                "web.service  launched  launched  01234567.../10.0.0.1  Sleeps  false\n"
            ),
            "{files}"
        );
        assert_eq!(
            run("list-machines", 0).await,
            "MACHINE      IP        METADATA\n01234567...  10.0.0.1  zone=a\n"
        );
        assert_eq!(run("cat web.service", 0).await, SLEEPER);
        assert_eq!(run("restart web", 0).await.lines().count(), 2);
        assert_eq!(
            run("stop web", 0).await,
            format!("Unit web.service loaded {on}")
        );
        assert_eq!(run("unload web", 0).await, "Unit web.service inactive\n");
        let triggered = run("start --no-block web", 0).await;
        assert_eq!(triggered, "Triggered unit web.service start\n");
        assert_eq!(
            run("destroy web.service", 0).await,
            "Destroyed web.service\n"
        );
        run("destroy web.service", 1).await;
    })
    .await;
}

#[tokio::test]
async fn templates_replacements_and_globals_are_as_they_were() {
    with_machine(async |fleetctl, _| {
        fleetctl.put("web@.service", SLEEPER);
        fleetctl.put(
            "all.service",
            &format!("{SLEEPER}\n[X-Fleet]\nGlobal=true\n"),
        );
        let started = fleetctl.run("start web@1 web@2.service", 0).await.0;
        assert_eq!(started.lines().count(), 2, "{started}");
        let global = fleetctl.run("start all.service", 0).await.0;
        assert_eq!(global, "Triggered global unit all.service start\n");
        let (_, refused) = fleetctl.run("status all.service", 1).await;
        assert!(refused.contains("global unit all.service"), "{refused}");
        fleetctl.put("all.service", SLEEPER);
        let (_, warning) = fleetctl.run("submit all.service", 0).await;
        assert!(
            warning.contains("differs from local unit file"),
            "{warning}"
        );
        let (_, none) = fleetctl.run("submit --replace all.service", 0).await;
        assert_eq!(none, "");
        let text = fleetctl.run("cat all.service", 0).await.0;
        assert!(!text.contains("Global"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_is_said_and_ends_with_an_error() {
    with_machine(async |fleetctl, _| {
        fleetctl.put(
            "bad.service",
            "[Service]\nExecStart=/bin/x\n[X-Fleet]\nGlobl=yes\n",
        );
        let says = async |line: &str, code, part: &str| {
            let (_, said) = fleetctl.run(line, code).await;
            assert!(said.contains(part), "{line}: {said}");
        };
        says("start bad.service", 1, "did you mean Global?").await;
        says("verify bad.service", 2, "did you mean Global?").await;
        says("start none.service", 1, "none.service").await;
        says("stop none.service", 1, "unable to find unit none.service").await;
        says("journal none.service", 1, "does not exist").await;
        says(
            "list-units --fields=nonsense",
            1,
            "\"nonsense\" is none of unit, machine",
        )
        .await;
        says("list-unit", 2, "unknown subcommand").await;
        says("--endpoint=http://127.0.0.1:1 list-units", 1, "unix socket").await;
        says(
            "--endpoint=unix:///nowhere list-units",
            1,
            "strake-scheduler.service",
        )
        .await;
        says("--tunnel=a list-units", 2, "--tunnel").await;
        fleetctl.put(
            "far.service",
            &format!("{SLEEPER}[X-Fleet]\nMachineMetadata=zone=b\n"),
        );
        says("start --block-attempts=1 far.service", 1, "timed out").await;
        assert_eq!(fleetctl.run("version", 0).await.0.lines().count(), 1);
        assert!(fleetctl.run("help", 0).await.0.contains("list-unit-files"));
        let units = json!(
            fleetctl
                .run("list-unit-files --no-legend --fields=unit", 0)
                .await
                .0
        );
        assert_eq!(units, "far.service\n");
    })
    .await;
}
