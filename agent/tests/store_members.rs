//! Three real members: what is asked while one of them is down or stands still is answered by
//! another one.

mod real_etcd;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use strake_agent::store::etcd::{Etcd, Settings};
use strake_agent::store::{Error, Event, Outcome, Store, Transaction, Watch, Write};
use tempfile::TempDir;

use real_etcd::{free_address, program};

const LIMIT: Duration = Duration::from_secs(60);
/// More than the members: each of them would have been the first to be asked.
const REQUESTS: usize = 12;

struct Member {
    child: Child,
    endpoint: String,
}

impl Member {
    fn signal(&self, signal: Signal) {
        let child = Pid::from_raw(self.child.id().cast_signed());
        kill(child, signal).expect("etcd runs");
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(program: &Path, data: &TempDir) -> Vec<Member> {
    let names = ["one", "two", "three"];
    let peers = names.map(|_| free_address("127.0.0.1"));
    let pairs = names.iter().zip(&peers);
    let all: Vec<String> = pairs.map(|(name, peer)| format!("{name}={peer}")).collect();
    let members = names.iter().zip(&peers).map(|(name, peer)| {
        let endpoint = free_address("127.0.0.1");
        let child = Command::new(program)
            .arg("--data-dir")
            .arg(data.path().join(name))
            .args(["--name", name, "--log-level", "error"])
            .args(["--listen-client-urls", &endpoint])
            .args(["--advertise-client-urls", &endpoint])
            .args(["--listen-peer-urls", peer])
            .args(["--initial-advertise-peer-urls", peer])
            .args(["--initial-cluster", &all.join(",")])
            .arg("--unsafe-no-fsync")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd starts");
        Member { child, endpoint }
    });
    members.collect()
}

async fn connect(members: &[Member]) -> Etcd {
    let settings = Settings {
        endpoints: members.iter().map(|one| one.endpoint.clone()).collect(),
        ca: None,
        cert: None,
        key: None,
    };
    Etcd::connect(&settings).await.expect("client")
}

async fn put(store: &Etcd, key: &str) -> Result<(), Error> {
    let transaction = Transaction {
        compares: Vec::new(),
        writes: vec![Write::Put {
            key: key.to_string(),
            value: Vec::new(),
            lease: None,
        }],
    };
    let outcome = store.commit(&transaction).await?;
    assert!(matches!(outcome, Outcome::Done(_)));
    Ok(())
}

/// Until all members are reached by somebody who asks nobody else.
async fn wait_for(members: impl IntoIterator<Item = &Member>) {
    let each_answers = async {
        for member in members {
            let store = connect(std::slice::from_ref(member)).await;
            while store.read("ready").await.is_err() {
                tokio::task::yield_now().await;
            }
        }
    };
    let in_time = tokio::time::timeout(LIMIT, each_answers).await;
    in_time.expect("three members answer in time");
}

/// Until the key is told; nothing when the watch ended before.
async fn told(watch: &mut Watch, key: &str) -> Option<()> {
    loop {
        let batch = watch.next().await.ok()?;
        let seen = |event: &Event| matches!(event, Event::Put(entry) if entry.key == key);
        if batch.events.iter().any(seen) {
            return Some(());
        }
    }
}

#[tokio::test]
async fn a_member_that_is_down_fails_no_request() {
    let Some(program) = program() else {
        eprintln!("SKIPPED: no etcd: neither STRAKE_ETCD nor a tools tree");
        return;
    };
    let data = TempDir::new().expect("temp dir");
    let mut members = start(&program, &data);
    wait_for(&members).await;
    // Connected before, as a service is, and after, as a command is.
    let before = connect(&members).await;
    put(&before, "down/0").await.expect("written");
    let mut lost = members.remove(0);
    lost.child.kill().expect("ends");
    lost.child.wait().expect("ended");
    members.push(lost);
    // The others may have to elect a leader first: nothing is asked of the client for that.
    wait_for(&members[..2]).await;
    for number in 0..REQUESTS {
        // A process begins with one of the endpoints as they are listed: each has its turn.
        members.rotate_left(1);
        let after = connect(&members).await;
        for store in [&before, &after] {
            let key = format!("down/{number}");
            put(store, &key).await.expect("written");
            assert!(store.read("down/0").await.expect("answer").is_some());
            store.list("down/", None, None).await.expect("answer");
            let lease = store.grant(LIMIT).await.expect("answer");
            store.keep_alive(lease).await.expect("answer");
            store.revoke(lease).await.expect("answer");
        }
    }
}

#[tokio::test]
async fn a_watch_goes_on_at_another_member_when_its_own_stands_still() {
    let Some(program) = program() else {
        eprintln!("SKIPPED: no etcd: neither STRAKE_ETCD nor a tools tree");
        return;
    };
    let data = TempDir::new().expect("temp dir");
    let members = start(&program, &data);
    wait_for(&members).await;
    for member in &members {
        let store = connect(&members).await;
        let others = members.iter().filter(|one| one.endpoint != member.endpoint);
        let mut watch = store.watch("still/", 1).await.expect("a watch");
        member.signal(Signal::SIGSTOP);
        wait_for(others).await;
        let writer = connect(&members).await;
        let key = format!("still/{}", member.endpoint);
        let written = tokio::time::timeout(LIMIT, async {
            // A write may have reached the member that stands still: it is not sent twice.
            while put(&writer, &key).await.is_err() {}
            while told(&mut watch, &key).await.is_none() {
                watch = store.watch("still/", 1).await.expect("a watch");
            }
        });
        written.await.expect("told in time");
        member.signal(Signal::SIGCONT);
        wait_for(&members).await;
    }
}
