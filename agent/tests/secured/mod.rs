//! An etcd that asks for certificates, and the built program with those of a machine.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::json;
use strake_agent::peer::Credentials;
use strake_agent::store::Store;
use strake_agent::store::etcd::{Etcd, Settings};
use tempfile::TempDir;
use tokio::process::Command;

use crate::peer::Cluster;
use crate::real_etcd;

const LIMIT: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(50);
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_strake");

/// etcd that asks for certificates, and the settings of a machine that has one.
pub(crate) struct Secured {
    child: Child,
    pub(crate) settings: Settings,
    pub(crate) dir: TempDir,
}

impl Drop for Secured {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Secured {
    pub(crate) async fn start(cluster: &Cluster) -> Option<Secured> {
        let Some(program) = real_etcd::program() else {
            eprintln!("SKIPPED: no etcd: neither STRAKE_ETCD nor a tools tree");
            return None;
        };
        let dir = TempDir::new().expect("temp dir");
        let Credentials { ca, identity } = cluster.credentials("127.0.0.1");
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path
        };
        let ca = file("ca.pem", &ca);
        let cert = file("cert.pem", &identity.certificate);
        let key = file("key.pem", &identity.key);
        let endpoint = real_etcd::free_address("127.0.0.1").replace("http:", "https:");
        let peer = real_etcd::free_address("127.0.0.1");
        let child = std::process::Command::new(program)
            .arg("--data-dir")
            .arg(dir.path().join("data"))
            .args(["--name", "one", "--log-level", "error", "--unsafe-no-fsync"])
            .args(["--listen-client-urls", &endpoint])
            .args(["--advertise-client-urls", &endpoint])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("one={peer}")])
            .arg("--client-cert-auth")
            .args([Path::new("--trusted-ca-file"), &ca])
            .args([Path::new("--cert-file"), &cert])
            .args([Path::new("--key-file"), &key])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd starts");
        let settings = Settings {
            endpoints: vec![endpoint],
            ca: Some(ca),
            cert: Some(cert),
            key: Some(key),
        };
        let secured = Secured {
            child,
            settings,
            dir,
        };
        let store = secured.store().await;
        let answers = async {
            while store.read("ready").await.is_err() {
                tokio::time::sleep(AGAIN).await;
            }
        };
        tokio::time::timeout(LIMIT, answers).await.expect("in time");
        Some(secured)
    }

    pub(crate) async fn store(&self) -> Etcd {
        Etcd::connect(&self.settings).await.expect("a client")
    }

    /// `/etc/strake/etcd.json` of a machine.
    fn file(&self) -> PathBuf {
        let Settings {
            endpoints,
            ca,
            cert,
            key,
        } = &self.settings;
        let value = json!({"endpoints": endpoints, "ca": ca, "cert": cert, "key": key});
        let path = self.dir.path().join("etcd.json");
        std::fs::write(&path, value.to_string()).expect("a file");
        path
    }

    pub(crate) fn strake(&self, line: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(line.split_whitespace());
        command.env("STRAKE_ETCD_SETTINGS", self.file());
        command.kill_on_drop(true);
        command
    }

    /// Standard output and standard error of a command that has to end with this code.
    pub(crate) async fn run(&self, line: &str, code: i32) -> (String, String) {
        ended(self.strake(line), line, code).await
    }
}

pub(crate) async fn ended(mut command: Command, line: &str, code: i32) -> (String, String) {
    let output = tokio::time::timeout(LIMIT, command.output()).await;
    let output = output.expect("in time").expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let (out, error) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{line}: {out}{error}");
    (out, error)
}
