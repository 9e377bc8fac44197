//! Namespaces on one switch. Everything is gone when the value goes.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, unshare};
use serde_json::json;
use strake_agent::store::etcd::{Etcd, Settings};
use tempfile::TempDir;

use crate::Site;

const SWITCH: &str = "10.200.255.254";
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn ip(arguments: &str) -> Result<()> {
    let done = Command::new("ip").args(arguments.split(' ')).output();
    let done = done.context("running ip")?;
    let told = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "ip {arguments}: {told}");
    Ok(())
}

/// Ended when it goes.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Result<Process> {
        let child = command.stdin(Stdio::null()).spawn();
        Ok(Process(
            child.with_context(|| format!("starting {command:?}"))?,
        ))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) struct Net {
    _etcd: Process,
    dir: TempDir,
    strake: String,
}

impl Net {
    /// This thread is in the switch's namespace from now on.
    pub(crate) fn new(site: &Site) -> Result<Net> {
        unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace (as root)")?;
        ip("link set lo up")?;
        ip("link add br0 type bridge")?;
        ip(&format!("address add {SWITCH}/16 dev br0"))?;
        ip("link set br0 up")?;
        let dir = tempfile::tempdir()?;
        let [client, peer] = [2379, 2380].map(|port| format!("http://{SWITCH}:{port}"));
        let (program, first) = site.etcd.split_first().context("no etcd was named")?;
        let log = fs::File::create(dir.path().join("etcd.log"))?;
        let etcd = Process::start(
            Command::new(program)
                .args(first)
                .arg("--data-dir")
                .arg(dir.path().join("etcd"))
                .args(["--name", "one", "--log-level", "error", "--unsafe-no-fsync"])
                .args(["--listen-client-urls", &client])
                .args(["--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer])
                .args(["--initial-advertise-peer-urls", &peer])
                .args(["--initial-cluster", &format!("one={peer}")])
                .stdout(Stdio::null())
                .stderr(log),
        )?;
        let start = Instant::now();
        let address = format!("{SWITCH}:2379").parse()?;
        while TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_err() {
            ensure!(start.elapsed() < LIMIT, "etcd does not answer");
        }
        Ok(Net {
            _etcd: etcd,
            dir,
            strake: site.strake.clone(),
        })
    }

    pub(crate) async fn store(&self) -> Result<Etcd> {
        let settings = Settings {
            endpoints: vec![format!("http://{SWITCH}:2379")],
            ca: None,
            cert: None,
            key: None,
        };
        Ok(Etcd::connect(&settings).await?)
    }

    pub(crate) fn node(&self, number: usize) -> Result<Node> {
        let name = format!("sb{}x{number}", std::process::id());
        let root = self.dir.path().join(number.to_string());
        fs::create_dir_all(root.join("etc/strake"))?;
        let write = |path: &str, text: String| fs::write(root.join(path), text);
        write("etc/machine-id", format!("{number:032x}\n"))?;
        let etcd = json!({"endpoints": [format!("http://{SWITCH}:2379")]});
        write("etc/strake/etcd.json", etcd.to_string())?;
        let overlay = json!({
            "interface": "eth0",
            "network": {"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}},
            // A program of the host's, whose start would be measured.
            "masquerade": false,
        });
        write("etc/strake/overlay.json", overlay.to_string())?;
        ip(&format!("netns add {name}"))?;
        let node = Node {
            number,
            name,
            root,
            strake: self.strake.clone(),
        };
        let (name, address) = (&node.name, node.address());
        ip(&format!(
            "link add p{number} type veth peer name eth0 netns {name}"
        ))?;
        ip(&format!("link set p{number} master br0 up"))?;
        ip(&format!("-n {name} link set lo up"))?;
        ip(&format!("-n {name} address add {address}/16 dev eth0"))?;
        ip(&format!("-n {name} link set eth0 up"))?;
        Ok(node)
    }
}

pub(crate) struct Node {
    pub(crate) number: usize,
    pub(crate) name: String,
    root: PathBuf,
    strake: String,
}

impl Node {
    pub(crate) fn address(&self) -> String {
        format!("10.200.{}.{}", self.number / 250, self.number % 250 + 1)
    }

    pub(crate) fn namespace(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    pub(crate) fn start(&self, lease: u64) -> Result<Process> {
        let log = fs::File::create(self.root.join("log"))?;
        let mut command = self.command(&self.strake);
        command
            .args([
                "overlay",
                "run",
                "--lease-ttl",
                &lease.to_string(),
                "--root",
            ])
            .arg(&self.root)
            .env_remove("NOTIFY_SOCKET")
            .stdout(Stdio::null())
            .stderr(log);
        Process::start(&mut command)
    }

    /// The machine's subnet, once it has one.
    pub(crate) fn subnet(&self) -> Result<String> {
        let path = self.root.join("run/flannel/subnet.env");
        let start = Instant::now();
        loop {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("FLANNEL_SUBNET="));
            if let Some((first, _)) = line.and_then(|line| line.split_once('/')) {
                return Ok(first.to_string());
            }
            if start.elapsed() > LIMIT {
                let log = fs::read_to_string(self.root.join("log")).unwrap_or_default();
                bail!("machine {} gets no subnet:\n{log}", self.number);
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = ip(&format!("netns del {}", self.name));
    }
}
