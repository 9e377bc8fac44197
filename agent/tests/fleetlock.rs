//! FleetLock clients over HTTP, on the lock of the cluster.

use std::net::SocketAddr;

use strake_agent::lock::keys::Group;
use strake_agent::lock::{Claim, Claimant, Lock, fleetlock};
use strake_agent::metrics::Registry;
use strake_agent::store::memory::Memory;
use strake_updates::time::{Span, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

const HEADER: &str = "fleet-lock-protocol: true\r\n";

/// The whole answer to one request.
async fn request(at: SocketAddr, first_line: &str, header: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(at).await.expect("connected");
    let length = body.len();
    let text = format!(
        "{first_line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answer");
    answer
}

fn client(id: &str, group: &str) -> String {
    format!(r#"{{"client_params":{{"id":"{id}","group":"{group}"}}}}"#)
}

struct Server {
    at: SocketAddr,
    store: Memory,
    figures: Registry,
}

impl Server {
    async fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let server = Server {
            at: listener.local_addr().expect("address"),
            store: Memory::default(),
            figures: Registry::default(),
        };
        let (store, figures) = (server.store.clone(), server.figures.clone());
        tokio::task::spawn_local(async move { fleetlock::serve(listener, store, figures).await });
        server
    }

    #[track_caller]
    fn post(&self, path: &str, id: &str, code: &str) -> impl Future<Output = String> {
        let place = std::panic::Location::caller();
        let (at, line) = (self.at, format!("POST {path}"));
        let (body, code) = (client(id, "default"), code.to_string());
        async move {
            let answer = request(at, &line, HEADER, &body).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {code}")),
                "{place}: {answer}"
            );
            answer
        }
    }

    fn lock(&self) -> Lock<Memory> {
        Lock::new(self.store.clone(), Group::default())
    }
}

#[tokio::test]
async fn a_client_takes_a_place_and_gives_it_back_and_may_say_both_twice() {
    let run = async {
        let server = Server::start().await;
        for _ in 0..2 {
            let answer = server.post("/v1/pre-reboot", "coreos-1", "200 OK").await;
            assert!(answer.ends_with("\r\n\r\n"), "an empty body: {answer}");
        }
        let refused = server.post("/v1/pre-reboot", "coreos-2", "500").await;
        assert!(
            refused.contains("content-type: application/json"),
            "{refused}"
        );
        let body = r#"{"kind":"failed_lock","value":"all 1 places are taken"}"#;
        assert!(refused.ends_with(body), "{refused}");
        for _ in 0..2 {
            server.post("/v1/steady-state", "coreos-1", "200 OK").await;
        }
        server.post("/v1/pre-reboot", "coreos-2", "200 OK").await;
        assert_eq!(
            server.lock().read().await.expect("lock").semaphore.free(),
            0
        );
        let told = server.figures.text();
        assert!(
            told.contains(r#"strake_fleetlock_requests_total{result="done"} 5"#),
            "{told}"
        );
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test]
async fn whoever_does_not_keep_to_the_protocol_is_told_so() {
    let run = async {
        let server = Server::start().await;
        let good = client("a", "default");
        let post = "POST /v1/pre-reboot";
        let cases = [
            (
                "GET /v1/pre-reboot",
                HEADER,
                good.clone(),
                "405",
                "method_not_allowed",
            ),
            (
                "POST /v2/pre-reboot",
                HEADER,
                good.clone(),
                "404",
                "not_found",
            ),
            (post, "", good, "400", "invalid_client_identity"),
            (
                post,
                HEADER,
                "{".to_string(),
                "400",
                "invalid_client_identity",
            ),
            (
                post,
                HEADER,
                client("", "default"),
                "400",
                "invalid_client_identity",
            ),
            (
                post,
                HEADER,
                client("a", ""),
                "400",
                "invalid_client_identity",
            ),
            (
                post,
                HEADER,
                client("a", "b/c"),
                "400",
                "invalid_client_identity",
            ),
            (
                post,
                HEADER,
                client("a", "elsewhere"),
                "400",
                "unknown_group",
            ),
            (
                post,
                HEADER,
                "x".repeat(20_000),
                "400",
                "invalid_client_identity",
            ),
        ];
        for (line, header, body, code, kind) in cases {
            let answer = request(server.at, line, header, &body).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {code}")),
                "{line}: {answer}"
            );
            assert!(
                answer.contains(&format!(r#""kind":"{kind}""#)),
                "{line}: {answer}"
            );
        }
        let get = request(server.at, "GET /v1/steady-state", HEADER, "").await;
        assert!(get.contains("allow: POST"), "{get}");
        assert_eq!(
            server.lock().read().await.expect("lock").semaphore.free(),
            1
        );
        let group = Lock::new(server.store.clone(), Group::named("elsewhere"));
        group.set_max("1".parse().expect("max")).await.expect("max");
        let known = request(server.at, post, HEADER, &client("a", "elsewhere")).await;
        assert!(known.starts_with("HTTP/1.1 200"), "{known}");
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test]
async fn the_place_of_a_machine_of_the_cluster_is_not_freed_from_outside() {
    let run = async {
        let server = Server::start().await;
        let who = Claimant {
            id: "m".into(),
            token: "t".into(),
            boots: vec!["b".into()],
        };
        let claim = Claim {
            token: "t".into(),
            boot: "b".into(),
            release: "1.0.0".into(),
            reason: "update".into(),
            since: Timestamp::from_unix(0),
            deadline: Span(600),
            registered: true,
            zone: String::new(),
        };
        let lock = server.lock();
        lock.try_lock(&who, &claim).await.expect("locked");
        server.post("/v1/pre-reboot", "coreos-1", "500").await;
        let refused = server.post("/v1/steady-state", "m", "400").await;
        assert!(refused.contains("a machine of the cluster"), "{refused}");
        assert!(lock.is_held_by(&who).await.expect("answer"));
    };
    LocalSet::new().run_until(run).await;
}
