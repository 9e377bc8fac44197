//! Units handed to systemd: files, links and orders, against a small served systemd.

use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use strake_agent::root::Root;
use strake_agent::scheduler::host::Host;
use strake_agent::scheduler::host::systemd::Systemd;
use strake_agent::scheduler::name::UnitName;
use strake_agent::scheduler::text::Text;
use strake_agent::systemd::Active;
use strake_agent::systemd::bus::Bus;
use zbus::wire::OwnedObjectPath;
use zbus::{Connection, Guid, connection, interface};

type Row = (
    String,
    String,
    String,
    String,
    String,
    String,
    OwnedObjectPath,
    u32,
    String,
    OwnedObjectPath,
);

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.systemd1")]
enum Answer {
    NoSuchUnit(String),
}

/// Remembers no unit but `known.service`.
struct Manager {
    calls: Arc<Mutex<Vec<String>>>,
}

impl Manager {
    fn note(&self, call: String) -> OwnedObjectPath {
        self.calls.lock().expect("lock").push(call);
        path()
    }
}

fn path() -> OwnedObjectPath {
    OwnedObjectPath::try_from("/org/freedesktop/systemd1/job/1").expect("path")
}

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn subscribe(&self) {}

    fn reload(&self) {
        self.note("reload".to_string());
    }

    fn get_unit(&self, name: String) -> Result<OwnedObjectPath, Answer> {
        match name.as_str() {
            "known.service" => Ok(path()),
            _ => Err(Answer::NoSuchUnit(name)),
        }
    }

    fn ref_unit(&self, name: String) {
        self.note(format!("ref {name}"));
    }

    fn unref_unit(&self, name: String) {
        self.note(format!("unref {name}"));
    }

    fn load_unit(&self, _name: String) -> OwnedObjectPath {
        path()
    }

    fn reset_failed_unit(&self, name: String) -> Result<(), Answer> {
        self.note(format!("reset {name}"));
        Err(Answer::NoSuchUnit(name))
    }

    fn start_unit(&self, name: String, _mode: String) -> OwnedObjectPath {
        self.note(format!("start {name}"))
    }

    fn stop_unit(&self, name: String, _mode: String) -> OwnedObjectPath {
        self.note(format!("stop {name}"))
    }

    fn list_units_by_names(&self, names: Vec<String>) -> Vec<Row> {
        let text = |text: &str| text.to_string();
        let row = |name: String| {
            let (load, active, sub) = (text("loaded"), text("active"), text("running"));
            let none = text("");
            (
                name,
                none.clone(),
                load,
                active,
                sub,
                none.clone(),
                path(),
                0,
                none,
                path(),
            )
        };
        names.into_iter().map(row).collect()
    }
}

/// How `job.service` ended: its last process began when it says so.
struct Job {
    began: u64,
}

#[interface(name = "org.freedesktop.systemd1.Service")]
impl Job {
    #[zbus(property)]
    fn result(&self) -> &str {
        "exit-code"
    }

    #[zbus(property)]
    fn exec_main_status(&self) -> i32 {
        7
    }

    #[zbus(property)]
    fn exec_main_start_timestamp_monotonic(&self) -> u64 {
        self.began
    }
}

struct Served {
    _server: Connection,
    dir: tempfile::TempDir,
    calls: Arc<Mutex<Vec<String>>>,
    host: Systemd,
}

async fn serve() -> Served {
    serve_with(Job { began: 0 }).await
}

async fn serve_with(job: Job) -> Served {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let (ours, theirs) = UnixStream::pair().expect("sockets");
    let manager = Manager {
        calls: calls.clone(),
    };
    let server = connection::Builder::unix_stream(ours)
        .server(Guid::generate())
        .p2p()
        .serve_at("/org/freedesktop/systemd1", manager)
        .serve_at("/org/freedesktop/systemd1/job/1", job)
        .build();
    let client = Bus::over(connection::Builder::unix_stream(theirs).p2p());
    let (server, bus) = tokio::join!(server, client);
    let dir = tempfile::tempdir().expect("temp dir");
    std::fs::create_dir_all(dir.path().join("usr/lib/systemd/system")).expect("dir");
    let root = Root::new(dir.path());
    let host = Systemd::new(bus.expect("client"), root)
        .await
        .expect("host");
    Served {
        _server: server.expect("server"),
        dir,
        calls,
        host,
    }
}

fn unit() -> Text {
    Text::parse("[Service]\nExecStart=/bin/true\n").expect("text")
}

#[tokio::test]
async fn a_unit_is_loaded_started_stopped_and_unloaded() {
    let served = serve().await;
    let host = &served.host;
    let name: UnitName = "new.service".parse().expect("name");
    let digest = unit().digest();
    assert!(host.units().await.expect("units").is_empty());
    host.load(&name, &digest, &unit()).await.expect("loaded");
    let link = served.dir.path().join("run/systemd/system/new.service");
    let target = std::fs::read_link(&link).expect("link");
    assert_eq!(target.to_str(), Some("/run/strake/units/new.service"));
    let text = served.dir.path().join("run/strake/units/new.service");
    assert_eq!(
        std::fs::read_to_string(&text).expect("text"),
        unit().to_string()
    );
    host.start(&name, 0).await.expect("started");
    let seen = host
        .units()
        .await
        .expect("units")
        .remove(&name)
        .expect("unit");
    assert_eq!(
        (seen.active, seen.started, &seen.digest),
        (Active::Active, true, &digest)
    );
    host.stop(&name).await.expect("stopped");
    assert!(!host.units().await.expect("units")[&name].started);
    host.unload(&name).await.expect("unloaded");
    assert!(link.symlink_metadata().is_err() && !text.exists());
    assert!(host.units().await.expect("units").is_empty());
    let calls = served.calls.lock().expect("lock").clone();
    assert_eq!(
        calls,
        ["start new.service", "stop new.service", "reset new.service"]
    );
}

#[tokio::test]
async fn a_text_that_systemd_may_remember_otherwise_is_read_again() {
    let served = serve().await;
    let name: UnitName = "known.service".parse().expect("name");
    let text = unit();
    let loaded = served.host.load(&name, &text.digest(), &text).await;
    loaded.expect("loaded");
    assert_eq!(*served.calls.lock().expect("lock"), ["reload"]);
}

#[tokio::test]
async fn names_of_the_machine_are_refused() {
    let served = serve().await;
    let own = [
        "usr/lib/systemd/system/docker.service",
        "usr/lib/systemd/system/getty@.service",
    ];
    for path in own {
        std::fs::write(served.dir.path().join(path), "").expect("file");
    }
    for name in ["docker.service", "getty@tty1.service"] {
        let name: UnitName = name.parse().expect("name");
        let text = unit();
        let refused = served.host.load(&name, &text.digest(), &text).await;
        let error = refused.expect_err("refused").to_string();
        assert!(error.contains("is a unit of the machine itself"), "{error}");
    }
    assert!(!served.dir.path().join("run/strake/units").exists());
}

#[tokio::test]
async fn a_restart_of_the_service_remembers_what_was_started() {
    let served = serve().await;
    let name: UnitName = "new.service".parse().expect("name");
    let text = unit();
    let loaded = served.host.load(&name, &text.digest(), &text).await;
    loaded.expect("loaded");
    served.host.start(&name, 0).await.expect("started");
    let notes = served.dir.path().join("run/strake/units.json");
    let notes: serde_json::Value =
        serde_json::from_slice(&std::fs::read(notes).expect("notes")).expect("json");
    assert_eq!(notes["new.service"]["started"], true);
}

#[tokio::test]
async fn a_container_is_handed_over_as_its_service() {
    let served = serve().await;
    let host = &served.host;
    let name: UnitName = "web@1.container".parse().expect("name");
    let text = Text::parse("[Container]\nImage=web:%i\n[X-Strake]\nMemory=1G\n").expect("text");
    host.load(&name, &text.digest(), &text)
        .await
        .expect("loaded");
    let path = served.dir.path().join("run/strake/units/web@1.service");
    let service = std::fs::read_to_string(&path).expect("service");
    assert!(service.contains("--name=systemd-web_1"), "{service}");
    let link = served.dir.path().join("run/systemd/system/web@1.service");
    assert!(link.symlink_metadata().is_ok());
    let twin: UnitName = "web@1.service".parse().expect("name");
    let refused = host.load(&twin, &unit().digest(), &unit()).await;
    let error = refused.expect_err("refused").to_string();
    assert!(error.contains("as web@1.container still is"), "{error}");
    host.start(&name, 0).await.expect("started");
    let seen = host.units().await.expect("units");
    assert_eq!(
        (seen[&name].active, &seen[&name].digest),
        (Active::Active, &text.digest())
    );
    host.stop(&name).await.expect("stopped");
    host.unload(&name).await.expect("unloaded");
    assert!(!path.exists() && link.symlink_metadata().is_err());
    let calls = served.calls.lock().expect("lock").clone();
    assert_eq!(
        calls,
        [
            "start web@1.service",
            "stop web@1.service",
            "reset web@1.service"
        ]
    );
}

#[tokio::test]
async fn how_a_unit_ended_is_asked_while_systemd_remembers_it() {
    let cases = [(u64::MAX, "exit-code"), (0, "not-started")];
    for (began, expected) in cases {
        let served = serve_with(Job { began }).await;
        let host = &served.host;
        let name: UnitName = "job.service".parse().expect("name");
        host.load(&name, &unit().digest(), &unit())
            .await
            .expect("loaded");
        host.start(&name, 5).await.expect("started");
        assert_eq!(host.units().await.expect("units")[&name].run, 5);
        let ended = host.ended(&name).await.expect("ended");
        assert_eq!((ended.result.as_str(), ended.code), (expected, 7));
        host.unload(&name).await.expect("unloaded");
        let calls = served.calls.lock().expect("lock").clone();
        let expected = [
            "ref job.service",
            "start job.service",
            "reset job.service",
            "unref job.service",
        ];
        assert_eq!(calls, expected);
    }
}
