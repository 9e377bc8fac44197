//! The cluster as a page: who is let in, what they get, and how changes reach them.

#[allow(dead_code, reason = "other tests have machines that answer, too")]
mod peer;
mod real_etcd;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use peer::{Cluster, put};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use strake_agent::cluster::clock::Clock;
use strake_agent::cluster::tls;
use strake_agent::dashboard::serve::{Door, serve};
use strake_agent::dashboard::settings::Settings;
use strake_agent::fleet::users::{self, Granted, Name, Role};
use strake_agent::lock::Lock;
use strake_agent::lock::keys::Group;
use strake_agent::metrics::Registry;
use strake_agent::peer::Credentials;
use strake_agent::root::Root;
use strake_agent::scheduler::keys;
use strake_agent::scheduler::machine::Machine;
use strake_agent::store::Store;
use strake_agent::store::memory::Memory;
use tokio::net::TcpListener;
use tokio::task::LocalSet;

const TOKEN: &str = "0123456789abcdef";
const LIMIT: Duration = Duration::from_secs(30);

fn settings(token: Option<&str>) -> Settings {
    let nowhere: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let root = Root::new("/nonexistent");
    Settings::of(&root, nowhere, token).expect("settings")
}

fn door(credentials: Option<Credentials>) -> Door {
    Door {
        credentials,
        clock: Clock::load(&Root::new("/nonexistent")),
    }
}

struct Page {
    at: SocketAddr,
    cluster: Cluster,
}

fn client(ca: &str, user: Option<&Granted>) -> Client {
    let clock = Clock::load(&Root::new("/nonexistent"));
    let config = match user {
        Some(user) => tls::user(ca, (&user.certificate, &user.key), clock),
        None => tls::client(ca, None, clock),
    };
    let builder = Client::builder().tls_backend_preconfigured(config.expect("TLS"));
    builder.no_proxy().build().expect("a client")
}

impl Page {
    /// Over TLS, as on a machine of a cluster.
    async fn start(store: impl Store, token: Option<&str>) -> Page {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let cluster = Cluster::new();
        let door = door(Some(cluster.credentials("127.0.0.1")));
        let settings = settings(token);
        tokio::task::spawn_local(async move {
            let ended = serve(listener, store, settings, door, Registry::default()).await;
            eprintln!("the page is served no more: {ended:?}");
        });
        Page { at, cluster }
    }

    fn client(&self, user: Option<&Granted>) -> Client {
        client(&self.cluster.ca, user)
    }

    async fn ask(&self, path: &str, token: Option<&str>) -> Response {
        let request = self.client(None).get(format!("https://{}{path}", self.at));
        let request = match token {
            Some(token) => request.basic_auth("anybody", Some(token)),
            None => request,
        };
        request.send().await.expect("an answer")
    }
}

async fn in_time(test: impl Future<Output = ()>) {
    let tasks = LocalSet::new();
    let ended = tokio::time::timeout(LIMIT, tasks.run_until(test)).await;
    ended.expect("in time");
}

async fn register(store: &impl Store, id: char, hostname: &str) {
    let id = String::from(id).repeat(32);
    let mut machine = Machine::new(id.parse().expect("an id"));
    let facts = json!({"hostname": hostname, "release": "1.1.0", "slot": "A", "health": "healthy"});
    machine.facts = serde_json::from_value(facts).expect("facts");
    put(store, keys::machine(&machine.id), &machine).await;
}

#[tokio::test]
async fn only_who_knows_the_token_sees_the_page() {
    in_time(async {
        let store = Memory::default();
        register(&store, 'a', "node1").await;
        let page = Page::start(store, Some(TOKEN)).await;
        for token in [None, Some("0123456789abcdeg"), Some("")] {
            let answer = page.ask("/", token).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{token:?}");
            assert!(answer.headers().contains_key("www-authenticate"));
            let body = answer.text().await.expect("a body");
            assert!(!body.contains("node1"), "{body}");
        }
        let answer = page.ask("/", Some(TOKEN)).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let policy = answer.headers()["content-security-policy"].to_str();
        let policy = policy.expect("text").to_string();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'sha256-"),
            "{policy}"
        );
        assert!(
            answer
                .text()
                .await
                .expect("a body")
                .contains("<strong>node1</strong>")
        );
        let bearer = page
            .client(None)
            .get(format!("https://{}/cluster.json", page.at));
        let answer = bearer.bearer_auth(TOKEN).send().await.expect("an answer");
        let body = answer.bytes().await.expect("a body");
        let told: Value = serde_json::from_slice(&body).expect("json");
        assert_eq!(told["machines"][0]["hostname"], "node1");
        assert_eq!(told["machines"][0]["presence"], "live");
    })
    .await;
}

#[tokio::test]
async fn the_page_is_only_read() {
    in_time(async {
        let page = Page::start(Memory::default(), Some(TOKEN)).await;
        assert_eq!(
            page.ask("/x", Some(TOKEN)).await.status(),
            StatusCode::NOT_FOUND
        );
        let url = format!("https://{}/", page.at);
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            let request = page.client(None).request(method, &url).bearer_auth(TOKEN);
            let answer = request.send().await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(answer.headers()["allow"], "GET");
        }
    })
    .await;
}

#[tokio::test]
async fn users_come_in_with_their_certificate_until_they_are_removed_and_machines_do_not() {
    in_time(async {
        let store = Memory::default();
        let page = Page::start(store.clone(), None).await;
        let url = format!("https://{}/", page.at);
        let nobody = page.ask("/", Some(TOKEN)).await;
        assert_eq!(nobody.status(), StatusCode::FORBIDDEN);
        let name: Name = "eve".parse().expect("a name");
        let term = (SystemTime::now(), Duration::from_secs(600));
        let granted = users::add(&store, &name, Role::ReadOnly, term).await;
        let eve = page.client(Some(&granted.expect("a user")));
        let status = async |client: &Client| {
            let answer = client.get(&url).send().await;
            answer.map(|answer| answer.status())
        };
        assert_eq!(status(&eve).await.expect("an answer"), StatusCode::OK);
        // A machine is no user, though its certificate is of the cluster.
        let identity = page.cluster.credentials("127.0.0.1").identity;
        let machine = page.client(Some(&Granted {
            certificate: identity.certificate.clone(),
            key: identity.key.clone(),
        }));
        match status(&machine).await {
            Err(_) => {}
            Ok(status) => assert_eq!(status, StatusCode::FORBIDDEN),
        }
        users::remove(&store, &name).await.expect("removed");
        assert_eq!(
            status(&eve).await.expect("an answer"),
            StatusCode::FORBIDDEN
        );
    })
    .await;
}

#[tokio::test]
async fn without_certificates_it_is_served_on_loopback_and_by_token_only() {
    in_time(async {
        let cases = [
            ("0.0.0.0:0", Some(TOKEN), "on loopback only"),
            ("127.0.0.1:0", None, "token is not set"),
        ];
        for (address, token, why) in cases {
            let listener = TcpListener::bind(address).await.expect("a port");
            let store = Memory::default();
            let ended = serve(
                listener,
                store,
                settings(token),
                door(None),
                Registry::default(),
            );
            let error = ended.await.expect_err("refused").to_string();
            assert!(error.contains(why), "{error}");
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        tokio::task::spawn_local(async move {
            let settings = settings(Some(TOKEN));
            serve(
                listener,
                Memory::default(),
                settings,
                door(None),
                Registry::default(),
            )
            .await
        });
        let client = client(&Cluster::new().ca, None);
        let request = client.get(format!("http://{at}/")).bearer_auth(TOKEN);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn a_store_that_never_answered_is_no_empty_cluster() {
    in_time(async {
        let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let settings = strake_agent::store::etcd::Settings {
            endpoints: vec![format!(
                "http://{}",
                nobody.local_addr().expect("an address")
            )],
            ca: None,
            cert: None,
            key: None,
        };
        let store = strake_agent::store::etcd::Etcd::connect(&settings).await;
        let page = Page::start(store.expect("a client"), Some(TOKEN)).await;
        let whole = page.ask("/", Some(TOKEN)).await.text().await;
        let whole = whole.expect("a body");
        assert!(whole.contains("it has not answered yet"), "{whole}");
    })
    .await;
}

/// The next part of the page that comes.
struct Events {
    answer: Response,
    read: String,
}

impl Events {
    async fn of(page: &Page) -> Events {
        let answer = page.ask("/live", Some(TOKEN)).await;
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Events {
            answer,
            read: String::new(),
        }
    }

    async fn next(&mut self) -> (String, String) {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let (event, rest) = (event.to_string(), rest.to_string());
                self.read = rest;
                let Some(data) = event.strip_prefix("data: ") else {
                    continue;
                };
                let part: Value = serde_json::from_str(data).expect("json");
                let text = |name: &str| part[name].as_str().expect("text").to_string();
                return (text("id"), text("html"));
            }
            let chunk = self.answer.chunk().await.expect("more").expect("no end");
            self.read += std::str::from_utf8(&chunk).expect("text");
        }
    }

    async fn until(&mut self, id: &str, words: &str) {
        loop {
            let (of, html) = self.next().await;
            if of == id && html.contains(words) {
                return;
            }
        }
    }
}

#[tokio::test]
async fn what_changes_in_the_store_is_sent_as_it_happens() {
    in_time(async {
        let store = Memory::default();
        register(&store, 'a', "node1").await;
        let page = Page::start(store.clone(), Some(TOKEN)).await;
        let mut events = Events::of(&page).await;
        events.until("machines", "node1").await;
        register(&store, 'b', "node2").await;
        events.until("machines", "node2").await;
        let lock = Lock::new(store.clone(), Group::named("web/eu"));
        lock.lock_by_hand(&"b".repeat(32)).await.expect("a place");
        events.until("lock", "Group web/eu").await;
        lock.unlock_by_hand(&"b".repeat(32)).await.expect("freed");
        events.until("lock", "1 of 1 free").await;
    })
    .await;
}

#[tokio::test]
async fn a_silent_store_is_told_and_what_it_said_last_is_kept() {
    let Some(server) = real_etcd::Server::start().await else {
        return;
    };
    in_time(async {
        let store = server.store().await;
        register(&store, 'a', "node1").await;
        let page = Page::start(store, Some(TOKEN)).await;
        let mut events = Events::of(&page).await;
        events.until("machines", "node1").await;
        server.signal(nix::sys::signal::Signal::SIGKILL);
        events.until("notes", "The store is silent since").await;
        let whole = page
            .ask("/", Some(TOKEN))
            .await
            .text()
            .await
            .expect("a body");
        assert!(whole.contains("<strong>node1</strong>"), "{whole}");
    })
    .await;
}
