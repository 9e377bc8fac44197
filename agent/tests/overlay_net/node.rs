//! A machine: a network namespace with a root directory of its own, and the built program in it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use strake_agent::overlay::cidr::Cidr;
use strake_agent::overlay::lease::Lease;
use tempfile::TempDir;

use super::space::{ip, must, socket};

pub(crate) struct Node {
    pub(crate) number: u8,
    pub(super) name: String,
    dir: TempDir,
    service: Option<Child>,
    /// Of its lease, in seconds.
    pub(crate) ttl: u32,
}

impl Node {
    /// In a namespace of this name, with nothing started.
    pub(super) fn new(number: u8, name: String, endpoints: &[String], settings: &Value) -> Node {
        must(&format!("netns add {name}"));
        let node = Node {
            number,
            name,
            dir: tempfile::tempdir().expect("temp dir"),
            service: None,
            ttl: 3600,
        };
        let write = |path: &str, text: String| {
            let path = node.path(path);
            fs::create_dir_all(path.parent().expect("a directory")).expect("dir");
            fs::write(path, text).expect("file");
        };
        write("etc/machine-id", format!("{}\n", node.id()));
        let store = json!({ "endpoints": endpoints });
        write("etc/strake/etcd.json", store.to_string());
        write("etc/strake/overlay.json", settings.to_string());
        node.must("link set lo up");
        node
    }

    pub(crate) fn id(&self) -> String {
        format!("{:032x}", self.number)
    }

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
        let flags = if address.is_ipv6() { " nodad" } else { "" };
        let _ = ip(&format!(
            "-n {} address add {added} dev lo{flags}",
            self.name
        ));
        socket(&self.name, address)
    }

    pub(crate) fn exec(&self, program: &str, args: &str) -> String {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        let done = command.args(args.split(' ')).output().expect(program);
        String::from_utf8_lossy(&done.stdout).into_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        let _ = ip(&format!("netns del {}", self.name));
    }
}
