//! Figures as a scraper reads them: over the sockets of services that run.

mod real_etcd;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use strake_agent::metrics::{self, Registry};
use strake_agent::root::Root;
use strake_agent::scheduler::engine::{Engine, Pace};
use strake_agent::scheduler::keys::{self, State};
use strake_agent::scheduler::machine::{Machine, MachineId};
use strake_agent::scheduler::name::UnitName;
use strake_agent::scheduler::orders::{self, Known};
use strake_agent::scheduler::text::Text;
use strake_agent::store::measured::Measured;
use strake_agent::store::{Store, Transaction, Write};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

const LIMIT: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(50);

/// The whole answer to a request.
async fn ask(socket: &Path, request: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket).await?;
    let request = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Until the service tells all of these lines.
async fn until(socket: &Path, lines: &[&str]) -> String {
    let mut last = String::new();
    let waiting = async {
        loop {
            if let Ok(answer) = ask(socket, "GET /metrics").await {
                let told = |line: &&str| answer.lines().any(|found| found == *line);
                last = answer.clone();
                if lines.iter().all(told) {
                    return answer;
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    match tokio::time::timeout(LIMIT, waiting).await {
        Ok(answer) => answer,
        Err(_) => panic!("not told in time: {lines:?} in {last}"),
    }
}

#[tokio::test]
async fn a_socket_tells_what_was_counted_and_nothing_else() {
    let dir = tempfile::tempdir().expect("temp dir");
    let root = Root::new(dir.path());
    let registry = Registry::default();
    registry.counter("made_total", "Things made.", &[]).inc();
    let socket = dir.path().join("run/strake/metrics/test.sock");
    // What an earlier start has left.
    std::fs::create_dir_all(socket.parent().expect("a parent")).expect("dir");
    std::fs::write(&socket, "").expect("file");
    let story = async {
        let answer = until(&socket, &["made_total 1"]).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("text/plain; version=0.0.4"), "{answer}");
        assert!(answer.contains("\nprocess_resident_memory_bytes "));
        let mode = socket.metadata().expect("a socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o666);
        for (request, status) in [("POST /metrics", "405"), ("GET /other", "404")] {
            let answer = ask(&socket, request).await.expect("an answer");
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{answer}"
            );
        }
    };
    tokio::select! {
        never = metrics::offer(&root, "test", &registry) => never,
        () = story => {}
    }
}

#[tokio::test]
async fn figures_are_told_over_tcp_where_asked_for_and_the_socket_stays_whatever_becomes_of_it() {
    let dir = tempfile::tempdir().expect("temp dir");
    let root = Root::new(dir.path());
    let registry = Registry::default();
    registry.gauge("level", "How high.", &[]).set(2.0);
    let socket = dir.path().join("run/strake/metrics/test.sock");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("an address").to_string();
    for wrong in [address.as_str(), "nonsense"] {
        tokio::select! {
            never = metrics::offer_at(&root, "test", wrong, &registry) => never,
            _ = until(&socket, &["level 2"]) => {}
        }
    }
    drop(free);
    let story = async {
        until(&socket, &["level 2"]).await;
        let mut stream = TcpStream::connect(&address).await.expect("connected");
        let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.contains("\nlevel 2\n"), "{answer}");
    };
    tokio::select! {
        never = metrics::offer_at(&root, "test", &address, &registry) => never,
        () = story => {}
    }
}

#[tokio::test]
async fn a_leader_counts_its_plans_and_the_rounds_to_the_store() {
    let Some(server) = real_etcd::Server::start().await else {
        return;
    };
    let dir = tempfile::tempdir().expect("temp dir");
    let root = Root::new(dir.path());
    let registry = Registry::default();
    let store = Measured::new(server.store().await, &registry);
    let id: MachineId = "0123456789abcdef0123456789abcdef".parse().expect("id");
    let write = Write::Put {
        key: keys::machine(&id),
        value: serde_json::to_vec(&Machine::new(id.clone())).expect("json"),
        lease: None,
    };
    let transaction = Transaction {
        compares: Vec::new(),
        writes: vec![write],
    };
    store.commit(&transaction).await.expect("written");
    for (name, options) in [("a", ""), ("b", "[X-Fleet]\nMachineMetadata=zone=none\n")] {
        let name: UnitName = format!("{name}.service").parse().expect("name");
        let text = format!("[Service]\nExecStart=/bin/sleep 9\n{options}");
        let text = Text::parse(&text).expect("a unit");
        let known = orders::submit(&store, &name, &text, Known::Refuse).await;
        known.expect("submitted");
        let set = orders::set_state(&store, &name, State::Launched).await;
        set.expect("set");
    }
    let engine = Engine::new(store.clone(), &id, Pace::default(), Box::new(|_| {}));
    let engine = engine.counted(&registry);
    let socket = dir.path().join("run/strake/metrics/scheduler.sock");
    let expected = [
        "strake_scheduler_leader 1",
        "strake_scheduler_machines 1",
        "strake_scheduler_changes_total{change=\"place\"} 1",
        "strake_scheduler_changes_total{change=\"remove\"} 0",
        "strake_scheduler_pending_units{cause=\"no-machine\"} 1",
        "strake_scheduler_units{desired=\"launched\"} 2",
        "strake_store_errors_total{request=\"commit\"} 0",
        "strake_store_request_seconds_count{request=\"grant\"} 1",
    ];
    tokio::select! {
        never = engine.run() => never,
        never = metrics::offer(&root, "scheduler", &registry) => never,
        answer = until(&socket, &expected) => {
            let plans = answer.lines().find(|line| line.starts_with("strake_scheduler_plan_seconds_count"));
            assert!(plans.is_some_and(|line| !line.ends_with(" 0")), "{plans:?}");
        }
    }
}
