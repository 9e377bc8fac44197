//! Machines as network namespaces on one switch, each with the built `strake overlay run`, a real
//! etcd beside the switch, and the kernel's own vxlan between them.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use serde_json::{Value, json};
use strake_agent::overlay::cidr::Cidr;
use strake_agent::overlay::lease::Lease;
use strake_agent::store::{Entry, read_all};
use tempfile::TempDir;

use crate::real_etcd::Server;

const LIMIT: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(50);
pub(crate) const SWITCH: &str = "192.168.77.254";
pub(crate) const SUBNETS: &str = "/coreos.com/network/subnets/";

pub(crate) fn vxlan() -> Value {
    json!({"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}})
}

fn ip(args: &str) -> Result<String, String> {
    let done = Command::new("ip").args(args.split(' ')).output();
    let done = done.map_err(|error| format!("ip: {error}"))?;
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
        false => Err(format!(
            "ip {args}: {}",
            String::from_utf8_lossy(&done.stderr)
        )),
    }
}

#[track_caller]
pub(crate) fn must(args: &str) -> String {
    ip(args).expect("ip")
}

/// Why none of this can run here.
fn obstacle() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("only root may make network namespaces".to_string());
    }
    if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
        return Some(format!("no network namespace can be made: {error}"));
    }
    let probe = ip("link add probe type vxlan id 1 dstport 8472 dev lo");
    probe.and_then(|_| ip("link del probe")).err()
}

pub(crate) fn has_nft() -> bool {
    Command::new("nft").arg("--version").output().is_ok()
}

/// The switch, in a namespace that this thread is in and that ends with it.
pub(crate) struct Net {
    pub(crate) etcd: Server,
    config: Value,
    tag: String,
}

impl Net {
    pub(crate) async fn new(config: Value) -> Option<Net> {
        if let Some(why) = obstacle() {
            eprintln!("SKIPPED: {why}");
            return None;
        }
        must("link set lo up");
        must("link add br0 type bridge");
        must(&format!("address add {SWITCH}/24 dev br0"));
        must("link set br0 up");
        let inode = nix::sys::stat::stat("/proc/thread-self/ns/net").expect("a namespace");
        Some(Net {
            etcd: Server::start_on(SWITCH).await?,
            config,
            tag: format!("strake{}", inode.st_ino),
        })
    }

    /// A machine that has not started anything yet.
    pub(crate) fn node(&self, number: u8) -> Node {
        let name = format!("{}-{number}", self.tag);
        must(&format!("netns add {name}"));
        let dir = tempfile::tempdir().expect("temp dir");
        let root = dir.path();
        let write = |path: &str, text: String| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a directory")).expect("dir");
            fs::write(path, text).expect("file");
        };
        write("etc/machine-id", format!("{number:032x}\n"));
        let endpoints = self.etcd.settings().endpoints;
        write(
            "etc/strake/etcd.json",
            json!({ "endpoints": endpoints }).to_string(),
        );
        let settings = json!({
            "interface": "eth0",
            "network": self.config,
            "masquerade": has_nft(),
        });
        write("etc/strake/overlay.json", settings.to_string());
        let node = Node {
            number,
            name,
            dir,
            service: None,
            ttl: 3600,
        };
        node.must("link set lo up");
        self.plug(&node);
        node
    }

    /// A cable to the switch, and addresses at its end.
    pub(crate) fn plug(&self, node: &Node) {
        let number = node.number;
        let port = format!("p{number}");
        must(&format!(
            "link add {port} type veth peer name eth0 netns {}",
            node.name
        ));
        must(&format!("link set {port} master br0 up"));
        node.must("link set eth0 up");
        node.must(&format!("address add {}/24 dev eth0", node.address()));
        node.must(&format!("address add fd77::{number}/64 dev eth0 nodad"));
    }

    pub(crate) async fn leases(&self) -> Vec<Entry> {
        let store = self.etcd.store().await;
        let all = read_all(&store, SUBNETS).await.expect("an answer");
        all.entries
    }

    /// The lease of each machine, once all have one.
    pub(crate) async fn joined(&self, nodes: &[&Node]) -> Vec<Lease> {
        until("every machine has a lease", nodes, async || {
            let entries = self.leases().await;
            let leases: Vec<Lease> = entries.iter().filter_map(lease_of).collect();
            let of = |node: &&Node| {
                let id = format!("{:032x}", node.number);
                let own = leases
                    .iter()
                    .find(|lease| lease.machine.as_ref() == Some(&id));
                own.cloned()
            };
            let found: Vec<Lease> = nodes.iter().filter_map(of).collect();
            (found.len() == nodes.len())
                .then_some(found)
                .ok_or(format!("{leases:?}"))
        })
        .await
    }
}

pub(crate) fn lease_of(entry: &Entry) -> Option<Lease> {
    let name = entry.key.strip_prefix(SUBNETS)?;
    Lease::parse(name, &entry.value).ok()
}

pub(crate) struct Node {
    pub(crate) number: u8,
    name: String,
    dir: TempDir,
    service: Option<Child>,
    /// Of its lease, in seconds.
    pub(crate) ttl: u32,
}

impl Node {
    pub(crate) fn address(&self) -> String {
        format!("192.168.77.{}", self.number)
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    #[track_caller]
    pub(crate) fn must(&self, args: &str) -> String {
        must(&format!("-n {} {args}", self.name))
    }

    fn strake(&self, args: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args([
            "netns",
            "exec",
            &self.name,
            env!("CARGO_BIN_EXE_strake"),
            "overlay",
        ]);
        command.args(args).arg("--root").arg(self.dir.path());
        command
    }

    pub(crate) fn start(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .expect("log");
        let service = self
            .strake(&["run", "--lease-ttl", &self.ttl.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.service = Some(service.expect("strake starts"));
    }

    /// As a crash: nothing is put in order.
    pub(crate) fn kill(&mut self) {
        if let Some(mut service) = self.service.take() {
            let _ = service.kill();
            let _ = service.wait();
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn status(&self) -> Value {
        let done = self
            .strake(&["status", "-o", "json"])
            .output()
            .expect("strake");
        serde_json::from_slice(&done.stdout).unwrap_or_default()
    }

    /// Exit code, and each finding's fault.
    pub(crate) fn check(&self) -> (Option<i32>, Vec<Value>) {
        let (code, findings) = self.findings(&[]);
        let faults = findings.iter().map(|finding| finding["fault"].clone());
        (code, faults.collect())
    }

    pub(crate) fn findings(&self, more: &[&str]) -> (Option<i32>, Vec<Value>) {
        let mut check = self.strake(&["check", "-o", "json"]);
        let done = check.args(more).output().expect("strake");
        let told: Value = serde_json::from_slice(&done.stdout).unwrap_or_default();
        (
            done.status.code(),
            told.as_array().cloned().unwrap_or_default(),
        )
    }

    /// What is told to Prometheus.
    pub(crate) fn figures(&self) -> String {
        let mut text = String::new();
        let told = UnixStream::connect(self.path("run/strake/metrics/overlay.sock")).and_then(
            |mut stream| {
                stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
                stream.read_to_string(&mut text)
            },
        );
        told.map_or_else(|error| error.to_string(), |_| text)
    }

    pub(crate) fn check_table(&self) -> String {
        let done = self.strake(&["check"]).output().expect("strake");
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    pub(crate) fn table(&self) -> String {
        self.table_of("default")
    }

    pub(crate) fn table_of(&self, network: &str) -> String {
        let mut status = self.strake(&["status", "--network", network]);
        let done = status.output().expect("strake");
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// What the kernel knows of peers: routes, neighbours and forwarding entries, sorted.
    pub(crate) fn kernel(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let show = |program: &str, args: &str| {
            let done = Command::new(program)
                .args(["-n", &self.name])
                .args(args.split(' '))
                .output();
            String::from_utf8_lossy(&done.expect("iproute2").stdout).into_owned()
        };
        for line in show("ip", "route show table main").lines() {
            if line.contains("flannel") || line.contains("proto 91") {
                lines.push(format!("route {}", line.trim()));
            }
        }
        for line in show("ip", "neigh show dev flannel.1 nud permanent").lines() {
            lines.push(format!("neighbour {}", line.trim()));
        }
        for line in show("bridge", "fdb show dev flannel.1").lines() {
            lines.push(format!("forwarding {}", line.trim()));
        }
        lines.sort();
        lines
    }

    pub(crate) fn routes(&self, family: &str) -> Vec<String> {
        let all = self.must(&format!("{family} route show proto 91"));
        let mut lines: Vec<String> = all.lines().map(|line| line.trim().to_string()).collect();
        lines.sort();
        lines
    }

    /// A socket of a container: at the first address of the machine's subnet.
    pub(crate) fn container(&self, lease: &Lease) -> UdpSocket {
        self.container_in(lease.subnets.v4.expect("IPv4"))
    }

    pub(crate) fn container_in(&self, subnet: Cidr) -> UdpSocket {
        let address = subnet.host(1);
        let added = Cidr::single(address);
        // There already when the machine has had one before.
        let _ = ip(&format!("-n {} address add {added} dev lo", self.name));
        self.socket(address)
    }

    pub(crate) fn exec(&self, program: &str, args: &str) -> String {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        let done = command.args(args.split(' ')).output().expect(program);
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    fn socket(&self, address: IpAddr) -> UdpSocket {
        let path = Path::new("/run/netns").join(&self.name);
        // A socket stays in the namespace of the thread that made it.
        let made = std::thread::spawn(move || {
            let namespace = fs::File::open(path).expect("a namespace");
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).expect("entered");
            UdpSocket::bind((address, 0)).expect("a socket")
        });
        let socket = made.join().expect("a socket");
        let limit = Some(Duration::from_millis(500));
        socket.set_read_timeout(limit).expect("a limit");
        socket
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        let _ = ip(&format!("netns del {}", self.name));
    }
}

/// What the kernel of one machine has to know of the others, and nothing else.
pub(crate) fn expected(peers: &[&Lease]) -> Vec<String> {
    let mut lines = Vec::new();
    for lease in peers {
        let subnet = lease.subnets.v4.expect("IPv4");
        let (first, mac) = (subnet.address(), lease.v4.mac.expect("a hardware address"));
        let to = lease.public_v4.expect("an address");
        lines.push(format!(
            "route {subnet} via {first} dev flannel.1 proto 91 onlink"
        ));
        lines.push(format!("neighbour {first} lladdr {mac} PERMANENT"));
        lines.push(format!("forwarding {mac} dst {to} self permanent"));
    }
    lines.sort();
    lines
}

/// Whether a packet comes through, and one comes back.
pub(crate) fn answers(one: &UdpSocket, other: &UdpSocket) -> Result<(), String> {
    let error = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
    let mut bytes = [0; 2048];
    let payload = [7; 1200];
    for (from, to) in [(one, other), (other, one)] {
        let address = to.local_addr().map_err(error("address"))?;
        from.send_to(&payload, address).map_err(error("sending"))?;
        let received = to.recv(&mut bytes).map_err(error("receiving"))?;
        if received != payload.len() {
            return Err(format!("{received} bytes came"));
        }
    }
    Ok(())
}

/// Asks until it holds, and shows the last answer and all logs when it never does.
pub(crate) async fn until<T>(
    what: &str,
    nodes: &[&Node],
    mut ask: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        match ask().await {
            Ok(value) => return value,
            Err(last) if start.elapsed() > LIMIT => {
                let logs = nodes.iter().take(4);
                let logs: Vec<String> = logs
                    .map(|node| format!("--- {}\n{}", node.number, node.log()))
                    .collect();
                panic!("{what}: {last}\n{}", logs.join("\n"));
            }
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// Waits until each machine's kernel knows exactly the others.
pub(crate) async fn all_know_all(nodes: &[&Node], leases: &[Lease]) {
    for node in nodes {
        let others = leases
            .iter()
            .filter(|lease| lease.machine != Some(format!("{:032x}", node.number)));
        let wanted = expected(&others.collect::<Vec<_>>());
        until("the kernel is as the leases say", nodes, async || {
            let has = node.kernel();
            (has == wanted)
                .then_some(())
                .ok_or_else(|| format!("machine {}:\n{has:#?}\nwanted:\n{wanted:#?}", node.number))
        })
        .await;
    }
}
