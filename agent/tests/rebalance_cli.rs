//! `strake machine rebalance` on a real etcd, with the leader and machines that obey at once.

mod obedient;
mod real_etcd;

use std::time::Duration;

use strake_agent::scheduler::engine::{Engine, Pace};
use strake_agent::scheduler::keys;
use strake_agent::store::Store;
use tokio::process::Command;

const LIMIT: Duration = Duration::from_secs(120);
const FIRST: &str = "11111111aaaaaaaaaaaaaaaaaaaaaaaa";
const SECOND: &str = "22222222bbbbbbbbbbbbbbbbbbbbbbbb";

/// What a command says and with which code it ends, for a cluster with four units on one of two machines.
async fn with_crowded_machine(
    test: impl AsyncFnOnce(&dyn Fn(&'static str) -> Told, &strake_agent::store::etcd::Etcd),
) {
    let Some(server) = real_etcd::Server::start().await else {
        return;
    };
    let dir = tempfile::tempdir().expect("temp dir");
    let store = server.store().await;
    let first = obedient::registered(&store, FIRST).await;
    let engine = Engine::new(store.clone(), &first, Pace::default(), Box::new(|_| {}));
    let endpoint = server.settings().endpoints[0].clone();
    let told = |words: &'static str| Told {
        words,
        endpoint: endpoint.clone(),
        dir: dir.path().to_path_buf(),
    };
    let story = async {
        for name in ["a", "b", "c", "d"] {
            let path = dir.path().join(format!("{name}.service"));
            std::fs::write(path, "[Service]\nExecStart=/bin/sleep 9\n").expect("a file");
        }
        told("unit start a.service b.service c.service d.service")
            .ends(0)
            .await;
        let second = obedient::registered(&store, SECOND).await;
        tokio::select! {
            never = obedient::obeys(store.clone(), second) => never,
            () = test(&told, &store) => {}
        }
    };
    let done = async {
        tokio::select! {
            never = engine.run() => never,
            never = obedient::obeys(store.clone(), first) => never,
            () = story => {}
        }
    };
    let in_time = tokio::time::timeout(LIMIT, done).await;
    in_time.expect("all of it in time");
}

struct Told {
    words: &'static str,
    endpoint: String,
    dir: std::path::PathBuf,
}

impl Told {
    /// Both outputs of the command.
    async fn ends(self, code: i32) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strake"));
        command.args(self.words.split(' ')).current_dir(&self.dir);
        command.env("STRAKE_ETCD_ENDPOINTS", &self.endpoint);
        let output = command.output().await.expect("the program runs");
        let text = [output.stdout, output.stderr].map(|t| String::from_utf8_lossy(&t).into_owned());
        assert_eq!(output.status.code(), Some(code), "{}: {text:?}", self.words);
        text.concat()
    }
}

#[tokio::test]
async fn units_are_moved_only_when_asked_and_then_where_the_dry_run_says() {
    with_crowded_machine(async |strake, _| {
        let dry = "machine rebalance --dry-run --gain 1";
        let told = strake(dry).ends(0).await;
        assert!(
            told.contains("a.service  11111111...  22222222..."),
            "{told}"
        );
        // Still where they were.
        assert_eq!(strake(dry).ends(0).await, told);
        let moved = strake("machine rebalance --gain 1").ends(0).await;
        assert!(moved.starts_with(&told), "{moved}");
        assert!(moved.contains("a.service is on 22222222..."), "{moved}");
        assert_eq!(strake(dry).ends(3).await.lines().count(), 1);
        strake("machine rebalance").ends(3).await;
        let list = strake("unit list").ends(0).await;
        assert_eq!(list.matches("11111111").count(), 2, "{list}");
        assert_eq!(list.matches("22222222").count(), 2, "{list}");
    })
    .await;
}

#[tokio::test]
async fn a_policy_is_set_once_and_taken_back_once() {
    with_crowded_machine(async |strake, store| {
        strake("machine rebalance --every 60 --moves 1")
            .ends(0)
            .await;
        strake("machine rebalance --every 60 --moves 1")
            .ends(3)
            .await;
        let entry = store.read(keys::POLICY).await.expect("an answer");
        let policy = String::from_utf8(entry.expect("a policy").value).expect("text");
        assert_eq!(policy, r#"{"every":60,"moves":1,"gain":20}"#);
        for wrong in [
            "machine rebalance --every 59",
            "machine rebalance --every 60 --never --dry-run",
            "machine rebalance --moves 0",
            "machine rebalance --gain 0",
        ] {
            strake(wrong).ends(2).await;
        }
        strake("machine rebalance --never").ends(0).await;
        strake("machine rebalance --never").ends(3).await;
        assert!(store.read(keys::POLICY).await.expect("an answer").is_none());
    })
    .await;
}
