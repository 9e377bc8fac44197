//! Machines that answer each other, in this process: each with its own tree, its own certificate
//! of one authority, and programs that stand in for systemctl and journalctl.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use strake_agent::cluster::authority::{Authority, Request, Role};
use strake_agent::cluster::identity::Identity;
use strake_agent::peer::{self, Credentials, Local, Peers, Reach};
use strake_agent::root::Root;
use strake_agent::scheduler::keys::{self, Desired};
use strake_agent::scheduler::machine::{Machine, MachineId};
use strake_agent::scheduler::name::UnitName;
use strake_agent::store::{Store, Transaction, Write};
use tempfile::TempDir;

const LIFETIME: Duration = Duration::from_secs(3600);

pub(crate) struct Cluster {
    pub(crate) ca: String,
    authority: Authority,
}

impl Cluster {
    pub(crate) fn new() -> Cluster {
        let (ca, key) = Authority::create("lab", SystemTime::now()).expect("an authority");
        let authority = Authority::load(&ca, &key).expect("its own parts");
        Cluster { ca, authority }
    }

    pub(crate) fn credentials(&self, address: &str) -> Credentials {
        let request = Request::new(None).expect("a request");
        let address: IpAddr = address.parse().expect("an address");
        let who = (Role::Machine, &[address][..]);
        let now = SystemTime::now();
        let signed = self.authority.sign(&request.csr, who, now, LIFETIME);
        let identity = Identity::new(signed.expect("signed"), request.key);
        Credentials {
            ca: self.ca.clone(),
            identity: identity.expect("an identity"),
        }
    }
}

pub(crate) fn unit(name: &str) -> UnitName {
    name.parse().expect("a name")
}

pub(crate) async fn put(store: &impl Store, key: String, value: &impl serde::Serialize) {
    let write = Write::Put {
        key,
        value: serde_json::to_vec(value).expect("json"),
        lease: None,
    };
    let transaction = Transaction {
        compares: Vec::new(),
        writes: vec![write],
    };
    store.commit(&transaction).await.expect("written");
}

pub(crate) struct Node {
    pub(crate) id: MachineId,
    pub(crate) dir: TempDir,
    pub(crate) credentials: Credentials,
    pub(crate) peer: SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Node {
    /// Answers at a port of the kernel's choice as long as it is kept.
    pub(crate) async fn start(digit: char, credentials: Credentials) -> Node {
        let id = String::from(digit).repeat(32).parse().expect("an id");
        let dir = tempfile::tempdir().expect("temp dir");
        let mut address = credentials.address().expect("an address");
        address.set_port(0);
        let listener = peer::listen(address).await.expect("a listener");
        let peer = listener.local_addr().expect("an address");
        let mut node = Node {
            id,
            dir,
            credentials,
            peer,
            server: tokio::spawn(async {}),
        };
        node.program("systemctl", "echo \"systemctl $*\"; exit 3");
        let journalctl = "echo \"journalctl $*\"\n\
            case \"$*\" in *--follow*) echo $$ > \"$0.pid\"; exec cat \"$0.fifo\";; esac";
        node.program("journalctl", journalctl);
        let (local, credentials) = (node.local(), node.credentials.clone());
        node.server = tokio::spawn(async move {
            let ended = peer::serve(listener, local, &credentials).await;
            eprintln!("the listener ended: {ended:?}");
        });
        node
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn program(&self, name: &str, script: &str) {
        let path = self.path(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a program");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, mode).expect("a mode");
    }

    /// What the agent notes when it was given units.
    pub(crate) fn holds(&self, units: &[&str]) {
        let note = |name: &&str| {
            let digest = "0".repeat(40);
            (
                name.to_string(),
                serde_json::json!({"digest": digest, "started": true}),
            )
        };
        let notes: serde_json::Map<_, _> = units.iter().map(note).collect();
        std::fs::create_dir_all(self.path("run/strake")).expect("a directory");
        let text = serde_json::to_vec(&notes).expect("json");
        std::fs::write(self.path("run/strake/units.json"), text).expect("a file");
    }

    pub(crate) fn local(&self) -> Local {
        Local {
            root: Root::new(self.dir.path()),
            machine: self.id.clone(),
            systemctl: self.path("systemctl"),
            journalctl: self.path("journalctl"),
        }
    }

    pub(crate) fn reach<S: Store>(&self, store: &S) -> Reach<S> {
        let root = Root::new(self.dir.path());
        Reach {
            store: store.clone(),
            local: self.local(),
            peers: Some(Peers::new(&root, &self.credentials).expect("a way")),
        }
    }

    /// As its agent and the leader would write it.
    pub(crate) async fn register(&self, store: &impl Store, units: &[&str]) {
        let mut machine = Machine::new(self.id.clone());
        machine.peer = Some(self.peer);
        put(store, keys::machine(&self.id), &machine).await;
        put(store, keys::desired(&self.id), &desired(units)).await;
        self.holds(units);
    }
}

pub(crate) fn desired(units: &[&str]) -> Desired {
    let assignment = serde_json::json!({"digest": "0".repeat(40), "state": "launched"});
    let units: serde_json::Map<_, _> = units
        .iter()
        .map(|name| (name.to_string(), assignment.clone()))
        .collect();
    let desired = serde_json::json!({"generation": 1, "units": units});
    serde_json::from_value(desired).expect("a desired value")
}
