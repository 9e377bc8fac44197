//! `strake scheduler run`: this machine's agent and its candidate for the leader, in one task.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::agent::{Agent, Doors, Pace};
use super::cache::OnState;
use super::engine::{self, Engine};
use super::facts;
use super::host::systemd::Systemd;
use super::leave;
use super::machine::Machine;
use crate::cluster::clock::Clock;
use crate::cluster::settings::Settings as Cluster;
use crate::fleet::{self, Api};
use crate::journal::{Journal, Log};
use crate::metrics::{self, Registry};
use crate::names::service as names;
use crate::peer::{Credentials, Door};
use crate::root::Root;
use crate::store::Store;
use crate::store::etcd::{Etcd, SETTINGS, Settings};
use crate::store::measured::Measured;
use crate::systemd::bus::Bus;

/// Between two looks at the facts.
const FACTS_EVERY: Duration = Duration::from_secs(30);
/// Between two looks for the machine's certificate, while it has none.
const CERTIFICATE_EVERY: Duration = Duration::from_secs(1);
/// Between two looks whether it is another one.
const RENEWAL_EVERY: Duration = Duration::from_secs(60);

/// What is not in any file: fleet's own settings, from the environment.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `FLEET_METADATA`: `key=value,key=value`.
    pub metadata: String,
    /// `FLEET_PUBLIC_IP`: before any other.
    pub public_address: String,
    /// The first address that `/etc/environment` has: when nothing better is known.
    pub address: String,
}

impl Environment {
    pub fn read() -> Environment {
        let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let addresses = ["COREOS_PRIVATE_IPV4", "COREOS_PUBLIC_IPV4"];
        Environment {
            metadata: value("FLEET_METADATA").unwrap_or_default(),
            public_address: value("FLEET_PUBLIC_IP").unwrap_or_default(),
            address: addresses.into_iter().find_map(value).unwrap_or_default(),
        }
    }
}

/// Ends when the machine cannot be known or systemd cannot be reached, and when the machine has a
/// new certificate: the next start uses it.
pub async fn run(root: &Root, environment: &Environment) -> Result<()> {
    names::start(root, own_address(root, environment).parse().ok());
    until_certified(root).await;
    let mut machine = describe(root, environment)?;
    let id = machine.id.clone();
    let settings = Settings::read(root)?;
    let door = Door::open(root, &settings, id.clone()).await;
    machine.peer = door.address();
    let figures = Registry::default();
    let store = Measured::new(Etcd::connect(&settings).await?, &figures);
    let socket = root
        .locate(fleet::SOCKET.as_ref())
        .context("placing the API's socket")?;
    let listener = fleet::bind(&socket, group_of_users(root))?;
    let api = Api::new(store.clone()).reaching(door.reach(store.clone()));
    let credentials = door.credentials().cloned();
    let bus = Bus::system().await.context("reaching systemd")?;
    let host = Systemd::new(bus, root.clone()).await?;
    let (told, machine) = watch::channel(machine);
    let log = || -> Log {
        let journal = Journal::of_service("strake-scheduler");
        Box::new(move |note| journal.tell(note))
    };
    let agent = Agent::new(
        Doors {
            store: store.clone(),
            host,
            cache: OnState::new(root.clone()),
            machine,
        },
        Pace::default(),
        log(),
    )
    .counted(&figures);
    let engine = Engine::new(store.clone(), &id, engine::Pace::default(), log()).counted(&figures);
    tokio::select! {
        never = fleet::serve(listener, api.clone()) => never,
        never = over_tcp(root, api, credentials) => never,
        never = agent.run() => never,
        never = engine.run() => never,
        never = metrics::offer(root, "scheduler", &figures) => never,
        ended = door.serve() => ended.map(|never| match never {}),
        ended = follow_facts(root, environment, &told) => ended,
        told_to_end = leave::when_told(&store, &told) => told_to_end.context("waiting for a signal"),
        () = until_renewed(root, &settings) => {
            eprintln!("the machine has another certificate: beginning anew with it");
            Ok(())
        }
    }
}

/// What does not work is said once; the socket is served all the same.
async fn over_tcp(root: &Root, api: Api<impl Store>, credentials: Option<Credentials>) -> ! {
    let address = std::env::var(fleet::LISTEN).unwrap_or_default();
    let listener = match address.as_str() {
        "" => std::future::pending().await,
        address => TcpListener::bind(address).await,
    };
    match (listener, credentials) {
        (Ok(listener), Some(credentials)) => {
            fleet::serve_users(listener, api, credentials, Clock::load(root)).await
        }
        (Ok(_), None) => eprintln!("fleet API: not over TCP: this machine has no certificate"),
        (Err(error), _) => eprintln!("fleet API: listening at {address}: {error}"),
    }
    std::future::pending().await
}

/// May use the API without being root, as on the original. Read by hand: libc's own way loads
/// libraries, which a static program cannot.
pub(crate) fn group_of_users(root: &Root) -> Option<u32> {
    let groups = root.read_text("/etc/group").ok()?;
    let mut lines = groups
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let core = lines.find(|fields| fields.first() == Some(&"core"))?;
    core.get(2)?.parse().ok()
}

/// A machine of a cluster gets its way to the store with its certificate, at its first boot.
pub(crate) async fn until_certified(root: &Root) {
    if Cluster::load(root).is_err() {
        return;
    }
    while !root
        .locate(SETTINGS.as_ref())
        .is_ok_and(|path| path.exists())
    {
        tokio::time::sleep(CERTIFICATE_EVERY).await;
    }
}

pub(crate) async fn until_renewed(root: &Root, settings: &Settings) {
    let read = || {
        let files = [&settings.ca, &settings.cert, &settings.key];
        let read = |path: &&Option<_>| path.as_ref().and_then(|path| root.read(path).ok());
        (root.read(SETTINGS).ok(), files.each_ref().map(read))
    };
    let before = read();
    loop {
        tokio::time::sleep(RENEWAL_EVERY).await;
        if read() != before {
            return;
        }
    }
}

/// From which address this machine reaches the cluster. Nothing is sent.
pub fn address_towards_cluster(root: &Root) -> Option<IpAddr> {
    let cluster = Cluster::load(root).ok()?;
    let address = |seed: &IpAddr| {
        let any = match seed {
            IpAddr::V4(_) => "0.0.0.0:0",
            IpAddr::V6(_) => "[::]:0",
        };
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(SocketAddr::new(*seed, 2379)).ok()?;
        socket.local_addr().ok()
    };
    cluster
        .seeds
        .iter()
        .find_map(address)
        .map(|found| found.ip())
}

fn own_address(root: &Root, environment: &Environment) -> String {
    match &environment.public_address {
        given if !given.is_empty() => given.clone(),
        _ => address_towards_cluster(root)
            .map_or_else(|| environment.address.clone(), |found| found.to_string()),
    }
}

pub(super) fn describe(root: &Root, environment: &Environment) -> Result<Machine> {
    let mut machine = Machine::new(facts::machine_id(root)?);
    machine.address = own_address(root, environment);
    machine.metadata = facts::metadata(&environment.metadata);
    machine.facts = facts::read(root);
    Ok(machine)
}

pub(super) async fn follow_facts(
    root: &Root,
    environment: &Environment,
    told: &watch::Sender<Machine>,
) -> Result<()> {
    loop {
        tokio::time::sleep(FACTS_EVERY).await;
        let mut now = describe(root, environment)?;
        (now.peer, now.duty) = (told.borrow().peer, told.borrow().duty);
        told.send_if_modified(|before| {
            let material = facts::is_material(before, &now);
            if material {
                *before = now;
            }
            material
        });
    }
}
