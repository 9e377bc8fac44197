//! The real D-Bus client against a small served systemd, peer to peer.

use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use strake_agent::systemd::bus::Bus;
use strake_agent::systemd::{Active, Job, Units};
use zbus::wire::OwnedObjectPath;
use zbus::{Connection, Guid, connection, fdo, interface};

const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const DOCKER_PATH: &str = "/org/freedesktop/systemd1/unit/docker_2eservice";

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

struct Manager {
    calls: Arc<Mutex<Vec<String>>>,
}

impl Manager {
    fn note(&self, call: String) -> OwnedObjectPath {
        self.calls.lock().expect("lock").push(call);
        path("/org/freedesktop/systemd1/job/1")
    }
}

fn path(text: &str) -> OwnedObjectPath {
    OwnedObjectPath::try_from(text).expect("path")
}

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn list_units_filtered(&self, states: Vec<String>) -> Vec<Row> {
        self.note(format!("list {}", states.join(",")));
        let text = |text: &str| text.to_string();
        vec![(
            text("docker.service"),
            text("Docker"),
            text("loaded"),
            text("failed"),
            text("failed"),
            text(""),
            path(DOCKER_PATH),
            0,
            text(""),
            path("/"),
        )]
    }

    fn load_unit(&self, name: String) -> fdo::Result<OwnedObjectPath> {
        match name.as_str() {
            "docker.service" => Ok(path(DOCKER_PATH)),
            _ => Err(fdo::Error::InvalidArgs(format!(
                "Unit name {name} is not valid."
            ))),
        }
    }

    fn subscribe(&self) {
        self.note("subscribe".to_string());
    }

    fn reload(&self) {
        self.note("reload".to_string());
    }

    fn start_unit(&self, name: String, mode: String) -> OwnedObjectPath {
        self.note(format!("start {name} {mode}"))
    }

    fn try_restart_unit(&self, name: String, mode: String) -> OwnedObjectPath {
        self.note(format!("try-restart {name} {mode}"))
    }

    #[zbus(property)]
    fn firmware_timestamp_monotonic(&self) -> u64 {
        3_000_000
    }

    #[zbus(property)]
    fn loader_timestamp_monotonic(&self) -> u64 {
        1_000_000
    }

    #[zbus(property)]
    fn kernel_timestamp_monotonic(&self) -> u64 {
        0
    }

    #[zbus(property, name = "InitRDTimestampMonotonic")]
    fn init_rd_timestamp_monotonic(&self) -> u64 {
        0
    }

    #[zbus(property)]
    fn userspace_timestamp_monotonic(&self) -> u64 {
        2_000_000
    }

    #[zbus(property)]
    fn finish_timestamp_monotonic(&self) -> u64 {
        9_000_000
    }
}

struct DockerUnit {
    active: &'static str,
}

#[interface(name = "org.freedesktop.systemd1.Unit")]
impl DockerUnit {
    #[zbus(property)]
    fn load_state(&self) -> &str {
        "loaded"
    }

    #[zbus(property)]
    fn active_state(&self) -> &str {
        self.active
    }

    #[zbus(property)]
    fn sub_state(&self) -> &str {
        self.active
    }

    #[zbus(property)]
    fn fragment_path(&self) -> &str {
        "/usr/lib/systemd/system/docker.service"
    }

    #[zbus(property)]
    fn wanted_by(&self) -> Vec<String> {
        vec!["multi-user.target".to_string()]
    }

    #[zbus(property)]
    fn required_by(&self) -> Vec<String> {
        vec!["app.service".to_string()]
    }

    #[zbus(property)]
    fn active_enter_timestamp_monotonic(&self) -> u64 {
        77
    }
}

struct Served {
    server: Connection,
    bus: Bus,
    calls: Arc<Mutex<Vec<String>>>,
}

async fn serve() -> Served {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let (ours, theirs) = UnixStream::pair().expect("sockets");
    let server = connection::Builder::unix_stream(ours)
        .server(Guid::generate())
        .p2p()
        .serve_at(
            MANAGER_PATH,
            Manager {
                calls: calls.clone(),
            },
        )
        .serve_at(DOCKER_PATH, DockerUnit { active: "failed" })
        .build();
    let client = Bus::over(connection::Builder::unix_stream(theirs).p2p());
    let (server, bus) = tokio::join!(server, client);
    Served {
        server: server.expect("server"),
        bus: bus.expect("client"),
        calls,
    }
}

impl Served {
    fn calls(&self) -> Vec<String> {
        self.calls.lock().expect("lock").clone()
    }
}

#[tokio::test]
async fn a_unit_is_read_with_all_that_counts() {
    let served = serve().await;
    let failed = served.bus.failed().await.expect("answer");
    assert_eq!(failed.len(), 1);
    let unit = &failed[0];
    assert_eq!(
        (unit.name.as_str(), unit.active, unit.loaded),
        ("docker.service", Active::Failed, true)
    );
    assert_eq!(unit.pulled_by, ["multi-user.target", "app.service"]);
    assert_eq!(unit.active_since_us, 77);
    assert_eq!(served.calls(), ["list failed"]);
}

#[tokio::test]
async fn an_error_says_what_was_asked() {
    let served = serve().await;
    let error = served.bus.unit("no such").await.expect_err("refused");
    assert_eq!(error.to_string(), "asking systemd for no such");
}

#[tokio::test]
async fn orders_reach_systemd_as_jobs() {
    let served = serve().await;
    served.bus.reload().await.expect("reload");
    served
        .bus
        .run(Job::Start, "a.service")
        .await
        .expect("start");
    served
        .bus
        .run(Job::TryRestart, "b.service")
        .await
        .expect("restart");
    served.bus.reboot().await.expect("reboot");
    let expected = [
        "reload",
        "start a.service replace",
        "try-restart b.service replace",
        "start reboot.target replace-irreversibly",
    ];
    assert_eq!(served.calls(), expected);
}

#[tokio::test]
async fn boot_times_are_read_under_their_own_names() {
    let served = serve().await;
    let times = served.bus.boot_times().await.expect("answer");
    assert_eq!(times["FirmwareTimestampMonotonic"], 3_000_000);
    assert_eq!(times["FinishTimestampMonotonic"], 9_000_000);
    assert_eq!(times.len(), 6);
}

#[tokio::test]
async fn a_changed_unit_moves_the_counter() {
    let served = serve().await;
    let mut changes = served.bus.changes().await.expect("subscribed");
    assert_eq!(served.calls(), ["subscribe"]);
    let unit = served
        .server
        .object_server()
        .interface::<_, DockerUnit>(DOCKER_PATH)
        .await;
    let unit = unit.expect("served");
    unit.get_mut().await.active = "active";
    let changed = unit.get().await;
    changed
        .active_state_changed(unit.signal_emitter())
        .await
        .expect("sent");
    drop(changed);
    let limit = std::time::Duration::from_secs(10);
    tokio::time::timeout(limit, changes.changed())
        .await
        .expect("in time")
        .expect("connected");
    let unit = served.bus.unit("docker.service").await.expect("answer");
    assert_eq!(unit.active, Active::Active);
}
