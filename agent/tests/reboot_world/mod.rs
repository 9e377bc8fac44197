//! A machine that may reboot: its root in a temporary directory, and a systemd and a logind that
//! are served to it peer to peer. Rebooting is noted; the machine goes on.

use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strake_agent::metrics::Registry;
use strake_agent::reboot::decision::Wanted;
use strake_agent::reboot::logind::Logind;
use strake_agent::reboot::service::{Doors, Ending, Service};
use strake_agent::reboot::settings::{Environment, Settings};
use strake_agent::reboot::socket::{Call, Order, Told};
use strake_agent::reboot::{need, obey, own};
use strake_agent::root::Root;
use strake_agent::store::Store;
use strake_agent::systemd::bus::Bus;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use zbus::wire::OwnedObjectPath;
use zbus::{Connection, Guid, connection, fdo, interface};

const LIMIT: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(20);

/// What the served systemd and logind say, and what they were told.
#[derive(Debug, Default)]
pub(crate) struct Says {
    pub(crate) is_healthy: bool,
    pub(crate) inhibitors: Vec<(String, String)>,
    pub(crate) users: Vec<String>,
    pub(crate) reboots: Vec<u64>,
}

type Shared = Arc<Mutex<Says>>;

struct Systemd;

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Systemd {
    fn load_unit(&self, name: String) -> OwnedObjectPath {
        assert_eq!(name, "boot-complete.target");
        path("/unit")
    }
}

struct BootComplete(Shared);

#[interface(name = "org.freedesktop.systemd1.Unit")]
impl BootComplete {
    #[zbus(property)]
    fn active_state(&self) -> &str {
        match self.0.lock().expect("lock").is_healthy {
            true => "active",
            false => "inactive",
        }
    }
}

struct Login(Shared);

#[interface(name = "org.freedesktop.login1.Manager")]
impl Login {
    fn list_sessions(&self) -> Vec<(String, u32, String, String, OwnedObjectPath)> {
        let says = self.0.lock().expect("lock");
        let session = |user: &String| {
            let seat = String::new();
            ("1".to_string(), 500, user.clone(), seat, path("/session"))
        };
        says.users.iter().map(session).collect()
    }

    fn list_inhibitors(&self) -> Vec<(String, String, String, String, u32, u32)> {
        let says = self.0.lock().expect("lock");
        let inhibitor = |(what, mode): &(String, String)| {
            let (who, why) = ("backup".to_string(), "runs".to_string());
            (what.clone(), who, why, mode.clone(), 0, 1)
        };
        says.inhibitors.iter().map(inhibitor).collect()
    }

    fn reboot_with_flags(&self, flags: u64) -> fdo::Result<()> {
        self.0.lock().expect("lock").reboots.push(flags);
        Ok(())
    }
}

struct Session;

#[interface(name = "org.freedesktop.login1.Session")]
impl Session {
    #[zbus(property)]
    fn class(&self) -> &str {
        "user"
    }

    #[zbus(property)]
    fn state(&self) -> &str {
        "active"
    }

    #[zbus(property, name = "TTY")]
    fn tty(&self) -> &str {
        ""
    }
}

fn path(text: &str) -> OwnedObjectPath {
    OwnedObjectPath::try_from(text).expect("path")
}

pub(crate) struct Machine {
    dir: tempfile::TempDir,
    pub(crate) says: Shared,
    boot: u32,
}

/// One start of the service.
pub(crate) struct Running {
    calls: mpsc::Sender<Call>,
    stop: mpsc::Sender<()>,
    task: JoinHandle<Ending>,
    pub(crate) figures: Registry,
    _served: [Connection; 2],
}

impl Machine {
    /// Healthy, with release 1.1.0 waiting in the passive slot of 1.0.0.
    pub(crate) fn new(id: char, conf: &str) -> Machine {
        let mut machine = Machine {
            dir: tempfile::tempdir().expect("temp dir"),
            says: Shared::default(),
            boot: 0,
        };
        machine.put(
            "etc/machine-id",
            &format!("{}\n", id.to_string().repeat(32)),
        );
        machine.put("etc/coreos/update.conf", conf);
        machine.put("usr/lib/os-release", "ID=strake\nIMAGE_VERSION=1.0.0\n");
        machine.put("efi/EFI/Linux/strake_1.0.0.efi", "uki");
        machine.put("efi/EFI/Linux/strake_1.1.0+3.efi", "uki");
        machine.put(
            "state/update/node.json",
            r#"{"attempt":{"version":"1.1.0","from":"1.0.0","channel":"stable","kind":"update",
                "time":"2026-11-21T00:00:00Z","boot_id":"b"}}"#,
        );
        machine.put("dev/pts/0", "");
        machine.put("run/strake/here", "");
        machine.boot();
        machine.says.lock().expect("lock").is_healthy = true;
        machine
    }

    /// Comes up again, not yet known to be healthy.
    pub(crate) fn boot(&mut self) {
        self.boot += 1;
        let boot = format!("{:032x}\n", self.boot);
        self.put("proc/sys/kernel/random/boot_id", &boot);
        self.says.lock().expect("lock").is_healthy = false;
    }

    pub(crate) fn put(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("dir");
        std::fs::write(path, text).expect("file");
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(path)).unwrap_or_default()
    }

    pub(crate) fn path(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path)
    }

    /// Nothing waits in the passive slot any more.
    pub(crate) fn has_no_update(&self) {
        std::fs::remove_file(self.path("efi/EFI/Linux/strake_1.1.0+3.efi")).expect("removed");
    }

    pub(crate) fn reboots(&self) -> usize {
        self.says.lock().expect("lock").reboots.len()
    }

    async fn serve(&self) -> (Connection, Connection) {
        let (ours, theirs) = UnixStream::pair().expect("sockets");
        let manager = "/org/freedesktop/systemd1";
        let server = connection::Builder::unix_stream(ours)
            .server(Guid::generate())
            .p2p()
            .serve_at(manager, Systemd)
            .serve_at("/unit", BootComplete(self.says.clone()))
            .serve_at("/org/freedesktop/login1", Login(self.says.clone()))
            .serve_at("/session", Session)
            .build();
        let client = connection::Builder::unix_stream(theirs).p2p().build();
        let (server, client) = tokio::join!(server, client);
        (server.expect("server"), client.expect("client"))
    }

    /// Starts the service, as strake-reboot.service does at each boot.
    pub(crate) async fn start(&self, store: Option<impl Store>) -> Running {
        self.start_wanting(store, None).await
    }

    pub(crate) async fn start_wanting(
        &self,
        store: Option<impl Store>,
        wanted: Option<Wanted>,
    ) -> Running {
        let root = Root::new(self.dir.path());
        let (server, client) = self.serve().await;
        let (ours, theirs) = UnixStream::pair().expect("sockets");
        let systemd_server = connection::Builder::unix_stream(ours)
            .server(Guid::generate())
            .p2p()
            .serve_at("/org/freedesktop/systemd1", Systemd)
            .serve_at("/unit", BootComplete(self.says.clone()))
            .build();
        let systemd = Bus::over(connection::Builder::unix_stream(theirs).p2p());
        let (systemd_server, systemd) = tokio::join!(systemd_server, systemd);
        let (calls, queue) = mpsc::channel(1);
        let (stop, stopped) = mpsc::channel(1);
        let refused = match &store {
            Some(store) => obey::follow(store.clone()),
            None => watch::channel(BTreeSet::new()).1,
        };
        let figures = Registry::default();
        let doors = Doors {
            refused,
            systemd: systemd.expect("systemd"),
            logind: Logind::new(client.clone()).await.expect("logind"),
            store,
            heard: need::listen(&client).await.expect("signals"),
            calls: queue,
            stop: stopped,
            figures: figures.clone(),
        };
        let settings = Settings::read(&root, &Environment::default()).expect("settings");
        let who = own::claimant(&root).expect("claimant");
        let task = tokio::task::spawn_local(async move {
            let log = |line: &str| eprintln!("{line}");
            let mut service = Service::new(&root, settings, doors, who, log).expect("service");
            if let Some(wanted) = wanted {
                service.want(wanted);
            }
            service.run().await.expect("it runs")
        });
        Running {
            calls,
            stop,
            task,
            figures,
            _served: [server, systemd_server.expect("server")],
        }
    }

    /// Says on D-Bus what the updater says when a release is installed.
    pub(crate) async fn say_need(running: &Running) {
        let status = (
            0_i64,
            1.0_f64,
            "UPDATE_STATUS_UPDATED_NEED_REBOOT",
            "",
            0_i64,
        );
        let nobody: Option<&str> = None;
        let sent = running._served[0].emit_signal(
            nobody,
            "/com/coreos/update1",
            "com.coreos.update1.Manager",
            "StatusUpdate",
            &status,
        );
        sent.await.expect("sent");
    }
}

impl Running {
    pub(crate) async fn order(&self, order: Order) -> Told {
        let (answer, told) = oneshot::channel();
        let call = Call { order, answer };
        self.calls.send(call).await.expect("the service listens");
        told.await.expect("an answer")
    }

    /// Until the service says that it does this.
    #[track_caller]
    pub(crate) fn until_doing(&self, words: &'static str) -> impl Future<Output = Told> + '_ {
        let place = std::panic::Location::caller();
        let look = async move {
            loop {
                let told = self.order(Order::When).await;
                if told.doing.contains(words) {
                    return told;
                }
                tokio::time::sleep(AGAIN).await;
            }
        };
        async move {
            match tokio::time::timeout(LIMIT, look).await {
                Ok(told) => told,
                Err(_) => panic!(
                    "{place}: never {words}: {:?}",
                    self.order(Order::When).await
                ),
            }
        }
    }

    /// Asks it to end, as systemd does.
    pub(crate) async fn end(self) -> Ending {
        let _ = self.stop.send(()).await;
        self.task.await.expect("it ends")
    }

    pub(crate) async fn ended(self) -> Ending {
        self.task.await.expect("it ends")
    }

    /// As when the machine loses power.
    pub(crate) fn kill(self) {
        self.task.abort();
    }
}

pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(AGAIN).await;
        }
    };
    let in_time = tokio::time::timeout(LIMIT, waiting).await;
    assert!(in_time.is_ok(), "never: {what}");
}
