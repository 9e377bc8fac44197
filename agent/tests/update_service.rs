//! The update service, peer to peer on D-Bus, against a served repository.

mod machine;
mod publisher;

use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use publisher::{Node, Publisher, made};
use strake_agent::root::Root;
use strake_agent::update::bus::Tuple;
use strake_agent::update::service::{self, Ending};
use zbus::export::futures_core::Stream as _;
use zbus::{Connection, Guid, connection, proxy};

#[proxy(
    interface = "com.coreos.update1.Manager",
    default_path = "/com/coreos/update1"
)]
trait Manager {
    fn attempt_update(&self) -> zbus::Result<()>;
    fn reset_status(&self) -> zbus::Result<()>;
    fn get_status(&self) -> zbus::Result<Tuple>;
    #[zbus(signal)]
    fn status_update(
        &self,
        time: i64,
        progress: f64,
        operation: String,
        version: String,
        size: i64,
    ) -> zbus::Result<()>;
}

/// Runs the service on a node while the caller talks to it.
async fn talk<T>(node: &Node, talk: impl AsyncFnOnce(ManagerProxy<'static>) -> T) -> T {
    let (ours, theirs) = UnixStream::pair().expect("sockets");
    let served = connection::Builder::unix_stream(ours)
        .server(Guid::generate())
        .p2p();
    let root = Root::new(node.machine.root());
    let service = service::run(&root, served, || 7);
    let caller = async {
        let connection: Connection = connection::Builder::unix_stream(theirs)
            .p2p()
            .build()
            .await
            .expect("connected");
        let manager = ManagerProxy::builder(&connection)
            .destination("com.coreos.update1")
            .cache_properties(zbus::proxy::CacheProperties::No);
        let told = talk(manager.build().await.expect("proxy")).await;
        connection.close().await.expect("closed");
        told
    };
    let both = async { tokio::join!(service, caller) };
    let (ended, told) = tokio::time::timeout(Duration::from_secs(120), both)
        .await
        .expect("in time");
    assert_eq!(ended.expect("the service ran"), Ending::Stopped);
    told
}

/// The operations told after a call, until one that is waited for.
async fn until(manager: &ManagerProxy<'_>, call: Call, last: &[&str]) -> Vec<String> {
    let mut changes = manager.receive_status_update().await.expect("subscribed");
    match call {
        Call::Attempt => manager.attempt_update().await.expect("accepted"),
        Call::Reset => manager.reset_status().await.expect("accepted"),
    }
    let mut told: Vec<String> = Vec::new();
    loop {
        let signal = poll_fn(|context| Pin::new(&mut changes).poll_next(context)).await;
        let signal = signal.expect("connected");
        let operation = signal.args().expect("arguments").operation;
        let is_last = last.iter().any(|last| operation.ends_with(last));
        told.push(operation);
        if is_last {
            return told;
        }
    }
}

/// What the service tells to Prometheus.
fn figures(socket: &Path) -> String {
    let mut stream = UnixStream::connect(socket).expect("connected");
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request).expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[derive(Clone, Copy)]
enum Call {
    Attempt,
    Reset,
}

const ENDS: [&str; 3] = ["IDLE", "UPDATED_NEED_REBOOT", "REPORTING_ERROR_EVENT"];

#[tokio::test]
async fn an_attempt_is_told_step_by_step_and_can_be_taken_back() {
    let publisher = Publisher::new();
    let (old, new) = (made(1), made(2));
    publisher.publish("1.1.0", &new, "");
    let server = publisher.serve();
    let node = Node::new("1.0.0", &old, &publisher, &server.url);
    talk(&node, async |manager: ManagerProxy<'static>| {
        let idle = (0, 0.0, "UPDATE_STATUS_IDLE".into(), "0.0.0".into(), 0);
        assert_eq!(manager.get_status().await.expect("status"), idle);
        let told = until(&manager, Call::Attempt, &ENDS).await;
        assert_eq!(
            told.last().map(String::as_str),
            Some("UPDATE_STATUS_UPDATED_NEED_REBOOT")
        );
        let (time, progress, operation, version, size) =
            manager.get_status().await.expect("status");
        assert!(time > 0);
        assert_eq!((progress, version.as_str()), (1.0, "1.1.0"));
        assert_eq!(
            (operation.as_str(), size),
            ("UPDATE_STATUS_UPDATED_NEED_REBOOT", 80 * 4096)
        );
        assert_eq!(node.entries(), ["strake_1.0.0.efi", "strake_1.1.0+3.efi"]);
        until(&manager, Call::Reset, &["IDLE"]).await;
        assert_eq!(node.entries(), ["strake_1.0.0.efi"]);
    })
    .await;
    let history = node.code("history", 0);
    assert!(
        history.contains("discarded") && history.contains("status was reset"),
        "{history}"
    );
}

#[tokio::test]
async fn a_server_that_is_gone_is_told_as_an_error() {
    let publisher = Publisher::new();
    let old = made(1);
    let node = Node::new("1.0.0", &old, &publisher, "http://127.0.0.1:9");
    node.machine.put("etc/strake/update/root.json", "{}");
    let told = talk(&node, async |manager: ManagerProxy<'static>| {
        let told = until(&manager, Call::Attempt, &["IDLE"]).await;
        let socket = node.machine.path("run/strake/metrics/update.sock");
        let figures = tokio::task::spawn_blocking(move || figures(&socket)).await;
        let figures = figures.expect("read");
        for line in [
            "strake_update_attempts_total{result=\"failed\"} 1",
            "strake_update_attempts_total{result=\"answered\"} 0",
            "strake_update_alarms 1",
        ] {
            assert!(
                figures.lines().any(|told| told == line),
                "{line}: {figures}"
            );
        }
        told
    })
    .await;
    let error = "UPDATE_STATUS_REPORTING_ERROR_EVENT".to_owned();
    assert!(told.contains(&error), "{told:?}");
    let status = node.status();
    assert_eq!(status["alarms"][0]["kind"], "repository", "{status}");
    assert_eq!(status["operation"], "UPDATE_STATUS_IDLE");
}

#[tokio::test]
async fn without_a_server_the_service_ends() {
    let publisher = Publisher::new();
    let node = Node::new("1.0.0", &made(1), &publisher, "disabled");
    let root = Root::new(node.machine.root());
    let (ours, _theirs) = UnixStream::pair().expect("sockets");
    let served = connection::Builder::unix_stream(ours)
        .server(Guid::generate())
        .p2p();
    let ended = service::run(&root, served, || 7).await.expect("ran");
    assert_eq!(ended, Ending::Off);
}
