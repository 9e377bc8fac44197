//! A real etcd for tests: Debian's, from the tools tree, on loopback with ports of the kernel's
//! choice and its data in a temporary directory. Ended when it is dropped.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use strake_agent::store::Store;
use strake_agent::store::etcd::{Etcd, Settings};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(50);

pub(crate) struct Server {
    child: Child,
    endpoint: String,
    _data: TempDir,
}

/// `STRAKE_ETCD` names one; otherwise the newest tools tree below `target/strake` has it.
pub(crate) fn program() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("STRAKE_ETCD") {
        return Some(PathBuf::from(path));
    }
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/strake/tools");
    let trees = std::fs::read_dir(tools).ok()?.flatten();
    let programs = trees.map(|tree| tree.path().join("usr/bin/etcd"));
    programs.filter(|path| path.is_file()).max()
}

pub(crate) fn free_address(ip: &str) -> String {
    let listener = TcpListener::bind((ip, 0)).expect("a free port");
    format!("http://{}", listener.local_addr().expect("address"))
}

impl Server {
    /// Nothing, with the reason printed, where there is no etcd.
    #[allow(dead_code, reason = "not every test needs the usual address")]
    pub(crate) async fn start() -> Option<Server> {
        Server::start_on("127.0.0.1").await
    }

    pub(crate) async fn start_on(ip: &str) -> Option<Server> {
        let Some(program) = program() else {
            eprintln!("SKIPPED: no etcd: neither STRAKE_ETCD nor a tools tree");
            return None;
        };
        let data = TempDir::new().expect("temp dir");
        let (endpoint, peer) = (free_address(ip), free_address(ip));
        let child = Command::new(program)
            .arg("--data-dir")
            .arg(data.path())
            .args(["--name", "one", "--log-level", "error"])
            .args(["--listen-client-urls", &endpoint])
            .args(["--advertise-client-urls", &endpoint])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("one={peer}")])
            .arg("--unsafe-no-fsync")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd starts");
        let server = Server {
            child,
            endpoint,
            _data: data,
        };
        let store = server.store().await;
        let answers = async {
            while store.read("ready").await.is_err() {
                tokio::time::sleep(AGAIN).await;
            }
        };
        let in_time = tokio::time::timeout(LIMIT, answers).await;
        in_time.expect("etcd answers in time");
        Some(server)
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            endpoints: vec![self.endpoint.clone()],
            ca: None,
            cert: None,
            key: None,
        }
    }

    #[allow(dead_code, reason = "not every test stops it for a while")]
    pub(crate) fn signal(&self, signal: Signal) {
        let child = Pid::from_raw(self.child.id().cast_signed());
        kill(child, signal).expect("etcd runs");
    }

    pub(crate) async fn store(&self) -> Etcd {
        Etcd::connect(&self.settings()).await.expect("client")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
