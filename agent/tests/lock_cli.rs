//! `strake lock` and the applet `locksmithctl` against a real etcd.

mod real_etcd;

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use strake_agent::lock::keys::Group;
use strake_agent::lock::semaphore::Taken;
use strake_agent::lock::{Claim, Claimant, Error, Lock, Patience};
use strake_agent::store::{Store, Transaction, Write};

struct Cli<'a> {
    endpoint: String,
    program: &'a Path,
}

impl Cli<'_> {
    /// Standard output and standard error of a command that has to end with this code.
    #[track_caller]
    fn run(&self, name: &str, args: &[&str], code: i32) -> (String, String) {
        let mut command = Command::new(self.program);
        command.arg0(name).args(args);
        command.env("STRAKE_ETCD_ENDPOINTS", &self.endpoint);
        command.env("LOCKSMITHCTL_ENDPOINT", &self.endpoint);
        let output = command.output().expect("the program runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let (out, error) = (text(output.stdout), text(output.stderr));
        assert_eq!(output.status.code(), Some(code), "{name} {args:?}: {error}");
        (out, error)
    }

    fn locksmithctl(&self, args: &[&str], code: i32) -> (String, String) {
        self.run("locksmithctl", args, code)
    }

    fn strake(&self, args: &[&str], code: i32) -> (String, String) {
        let args: Vec<&str> = ["lock"].iter().chain(args).copied().collect();
        self.run("strake", &args, code)
    }
}

fn who(id: &str) -> (Claimant, Claim) {
    let claimant = Claimant {
        id: id.to_string(),
        token: format!("token of {id}"),
        boots: vec!["b00t".to_string()],
    };
    let claim = Claim {
        token: claimant.token.clone(),
        boot: "b00t".to_string(),
        release: "1.2.0".to_string(),
        reason: "update".to_string(),
        since: strake_updates::time::Timestamp::from_unix(1_800_000_000),
        deadline: strake_updates::time::Span(600),
        registered: false,
        zone: String::new(),
    };
    (claimant, claim)
}

#[tokio::test]
async fn locksmithctl_prints_and_ends_as_the_original_did() {
    let Some(server) = real_etcd::Server::start().await else {
        return;
    };
    let cli = Cli {
        endpoint: server.settings().endpoints[0].clone(),
        program: Path::new(env!("CARGO_BIN_EXE_strake")),
    };
    assert_eq!(cli.locksmithctl(&["status"], 0).0, "Available: 1\nMax: 1\n");
    assert_eq!(cli.locksmithctl(&["lock", "a"], 0).0, "");
    let status = "Available: 0\nMax: 1\n\nMACHINE ID\na\n";
    assert_eq!(cli.locksmithctl(&["status"], 0).0, status);
    assert!(
        cli.locksmithctl(&["lock", "a"], 1)
            .1
            .contains("Error locking: holder exists")
    );
    assert!(
        cli.locksmithctl(&["lock", "b"], 1)
            .1
            .contains("Error locking: semaphore is at 0")
    );
    assert_eq!(
        cli.locksmithctl(&["set-max", "2"], 0).0,
        "Old-Max: 1\nMax: 2\n"
    );
    cli.locksmithctl(&["lock", "b"], 0);
    assert_eq!(
        cli.locksmithctl(&["status"], 0).0,
        "Available: 0\nMax: 2\n\nMACHINE ID\na\nb\n"
    );
    cli.locksmithctl(&["unlock", "a"], 0);
    let error = cli.locksmithctl(&["unlock", "a"], 1).1;
    assert!(
        error.contains("Error unlocking: holder does not exist"),
        "{error}"
    );
    assert!(cli.locksmithctl(&["set-max", "0"], 1).1.contains("from 1"));
    assert!(
        cli.locksmithctl(&["-group", "db", "status"], 0)
            .0
            .starts_with("Available: 1")
    );
    cli.locksmithctl(&["help"], 0);
    cli.locksmithctl(&[], 0);
    cli.locksmithctl(&["open"], 2);
    cli.locksmithctl(&["-nonsense", "status"], 2);
    assert!(
        cli.locksmithctl(&["-etcd-cafile", "x", "status"], 2)
            .1
            .contains("-etcd-keyfile")
    );
    let stored = server.store().await;
    let stored = stored
        .read("coreos.com/updateengine/rebootlock/semaphore")
        .await;
    let value = stored.expect("answer").expect("value").value;
    let value = String::from_utf8_lossy(&value).into_owned();
    assert_eq!(value, r#"{"semaphore":1,"max":2,"holders":["b"]}"#);
}

#[tokio::test]
async fn strake_lock_tells_who_holds_it_for_what_and_mends_a_corrupt_value() {
    let Some(server) = real_etcd::Server::start().await else {
        return;
    };
    let cli = Cli {
        endpoint: server.settings().endpoints[0].clone(),
        program: Path::new(env!("CARGO_BIN_EXE_strake")),
    };
    let store = server.store().await;
    let lock = Lock::new(store.clone(), Group::default());
    let (a, claim) = who("a");
    assert_eq!(lock.try_lock(&a, &claim).await.expect("lock"), Taken::Now);
    let status = cli.strake(&["status"], 0).0;
    for part in ["available  0", "1.2.0", "update", "2027-01-15T08:00:00Z"] {
        assert!(status.contains(part), "{part}: {status}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&cli.strake(&["status", "-o", "json"], 0).0).expect("JSON");
    assert_eq!(json["holders"][0]["claim"]["boot"], "b00t");
    cli.strake(&["lock", "a"], 3);
    cli.strake(&["set-max", "0"], 2);
    cli.strake(&["set-max", "150%"], 2);
    cli.strake(&["reset"], 3);
    cli.strake(&["unlock", "a"], 0);
    cli.strake(&["unlock", "a"], 3);
    assert!(!lock.is_held_by(&a).await.expect("answer"));
    let transaction = Transaction {
        compares: Vec::new(),
        writes: vec![Write::Put {
            key: Group::default().semaphore(),
            value: b"[]".to_vec(),
            lease: None,
        }],
    };
    store.commit(&transaction).await.expect("written");
    let refused = cli.strake(&["status"], 1).1;
    assert!(refused.contains("strake lock reset"), "{refused}");
    assert!(cli.locksmithctl(&["status"], 1).1.contains("is corrupt"));
    cli.strake(&["reset"], 0);
    assert!(cli.strake(&["status"], 0).0.contains("available  1"));
}

/// Fifty clients, each with a connection of its own, on a real etcd.
#[tokio::test(flavor = "current_thread")]
async fn fifty_clients_take_turns_and_never_more_than_max_at_once() {
    const CLIENTS: usize = 50;
    const MAX: usize = 3;
    let Some(server) = real_etcd::Server::start().await else {
        return;
    };
    let lock = Lock::new(server.store().await, Group::named("race"));
    lock.set_max("3".parse().expect("max")).await.expect("max");
    let inside = std::rc::Rc::new(std::cell::Cell::new(0));
    let turns = std::rc::Rc::new(std::cell::Cell::new(0));
    let tasks = tokio::task::LocalSet::new();
    for index in 0..CLIENTS {
        let (inside, turns) = (inside.clone(), turns.clone());
        let lock = Lock::new(server.store().await, Group::named("race"));
        tasks.spawn_local(async move {
            let (claimant, claim) = who(&format!("c{index}"));
            for _ in 0..2 {
                let taken = lock.wait(&claimant, &claim, Patience::default()).await;
                taken.expect("the lock");
                inside.set(inside.get() + 1);
                assert!(inside.get() <= MAX, "{} hold it", inside.get());
                // Lets others run while it is held.
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                inside.set(inside.get() - 1);
                lock.unlock(&claimant).await.expect("unlock");
                turns.set(turns.get() + 1);
            }
        });
    }
    tasks.await;
    assert_eq!(turns.get(), 2 * CLIENTS);
    let twin = Claimant {
        boots: vec!["another".to_string()],
        ..who("c0").0
    };
    let (first, claim) = who("c0");
    lock.try_lock(&first, &claim).await.expect("lock");
    let refused = lock.try_lock(&twin, &claim).await.expect_err("a twin");
    assert!(matches!(refused, Error::Twin { .. }), "{refused}");
}
