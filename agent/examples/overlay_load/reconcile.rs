//! The service with a store in memory and a kernel that only remembers: what many leases cost it.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use strake_agent::metrics::Registry;
use strake_agent::overlay::cidr::{Cidr, Family};
use strake_agent::overlay::client::{Client, DEFAULT_PREFIX, TTL};
use strake_agent::overlay::figures::Figures;
use strake_agent::overlay::kernel::{
    Choice, Connection, Counters, Error, Kernel, Made, Place, Tunnel, Uplink,
};
use strake_agent::overlay::named::Which;
use strake_agent::overlay::report::Report;
use strake_agent::overlay::restart::Nobody;
use strake_agent::overlay::service::{Pace, Service};
use strake_agent::overlay::settings::Settings;
use strake_agent::overlay::state::{Change, State};
use strake_agent::root::Root;
use strake_agent::store::memory::Memory;
use strake_agent::store::{MAX_OPERATIONS, Store, Transaction, Write};

use crate::on_one_thread;

const CONFIG: &str = r#"{"Network":"10.0.0.0/8","SubnetLen":24,"SubnetMin":"10.200.0.0"}"#;

/// What it was told, and when it was told something last.
#[derive(Debug, Clone, Default)]
struct Recording(Rc<RefCell<(State, Option<Instant>)>>);

impl Kernel for Recording {
    fn uplink(&mut self, _: &Choice) -> Result<Option<Uplink>, Error> {
        let address = IpAddr::from([172, 16, 255, 254]);
        Ok(Some(Uplink {
            index: 2,
            name: "eth0".to_string(),
            mtu: 1500,
            addresses: vec![(address, Cidr::single(address))],
        }))
    }

    fn make_tunnel(&mut self, _: &Tunnel) -> Result<(u32, Made), Error> {
        Ok((3, Made::Kept))
    }

    fn remove_tunnel(&mut self, _: &str) -> Result<bool, Error> {
        Ok(false)
    }

    fn observe(&mut self, _: &Place) -> Result<State, Error> {
        Ok(self.0.borrow().0.clone())
    }

    fn apply(&mut self, _: &Place, changes: &[Change]) -> Result<Vec<(Change, io::Error)>, Error> {
        let (state, at) = &mut *self.0.borrow_mut();
        for change in changes {
            match change {
                Change::PutPeer(one) => {
                    state.peers.insert(*one);
                }
                Change::RemovePeer(one) => {
                    state.peers.remove(one);
                }
                Change::PutNeighbour(one) => {
                    state.neighbours.insert(*one);
                }
                Change::RemoveNeighbour(one) => {
                    state.neighbours.remove(one);
                }
                Change::PutForwarding(one) => {
                    state.forwardings.insert(*one);
                }
                Change::RemoveForwarding(one) => {
                    state.forwardings.remove(one);
                }
                Change::PutRoute(one) => {
                    state.routes.insert(*one);
                }
                Change::RemoveRoute(one) => {
                    state.routes.remove(one);
                }
            }
        }
        *at = Some(Instant::now());
        Ok(Vec::new())
    }

    fn other_routes(&mut self, _: &Place) -> Result<Vec<Cidr>, Error> {
        Ok(Vec::new())
    }

    fn counters(&mut self, _: &str) -> Result<Option<Counters>, Error> {
        Ok(None)
    }

    fn connections(&mut self, _: &str) -> Result<Vec<Connection>, Error> {
        Ok(Vec::new())
    }

    fn load_rules(&mut self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    fn docker_rules(&mut self, _: Family) -> Result<Option<Value>, Error> {
        Ok(None)
    }

    fn rules_generation(&mut self) -> Result<u32, Error> {
        Ok(1)
    }
}

impl Recording {
    /// Waits for so many routes; the moment of the last change.
    async fn routes(&self, count: usize) -> Result<Instant> {
        let there = async {
            loop {
                if let (state, Some(at)) = &*self.0.borrow()
                    && state.routes.len() == count
                {
                    return *at;
                }
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(120), there).await;
        in_time.context("the routes do not come")
    }
}

pub(crate) fn run(leases: usize) -> Result<Value> {
    on_one_thread(measured(leases))?
}

async fn measured(leases: usize) -> Result<Value> {
    let memory = Memory::default();
    let put = |key: String, value: String| Write::Put {
        key,
        value: value.into_bytes(),
        lease: None,
    };
    let mut writes = vec![put(format!("{DEFAULT_PREFIX}/config"), CONFIG.to_string())];
    writes.extend((0..leases).map(|number| put(key(number), value(number))));
    for some in writes.chunks(MAX_OPERATIONS) {
        write(&memory, some.to_vec()).await?;
    }
    let dir = tempfile::tempdir()?;
    let kernel = Recording::default();
    let settings = Settings::read(&Root::new(dir.path()), |_| None)?;
    let mut service = Service {
        root: Root::new(dir.path()),
        which: Which::Default,
        shared: Rc::default(),
        settings,
        machine: "f".repeat(32),
        towards: None,
        pace: Pace::default(),
        client: Client::new(memory.clone(), DEFAULT_PREFIX, TTL),
        kernel: kernel.clone(),
        runtimes: Nobody,
        report: Report::default(),
        told: None,
        outdated: false,
        key: None,
        figures: Figures::new(&Registry::default(), "default"),
    };
    let start = Instant::now();
    let running = tokio::task::spawn_local(async move { service.run().await });
    let all = kernel.routes(leases).await? - start;
    let mut one = Vec::new();
    for number in leases..leases + 5 {
        let start = Instant::now();
        write(&memory, vec![put(key(number), value(number))]).await?;
        one.push((kernel.routes(number + 1).await? - start).as_secs_f64());
    }
    running.abort();
    one.sort_by(f64::total_cmp);
    Ok(json!({
        "leases": leases,
        "all_seconds": all.as_secs_f64(),
        "one_more_seconds": one[one.len() / 2],
    }))
}

async fn write(memory: &Memory, writes: Vec<Write>) -> Result<()> {
    let transaction = Transaction {
        compares: Vec::new(),
        writes,
    };
    memory.commit(&transaction).await?;
    Ok(())
}

fn key(number: usize) -> String {
    let [high, low] = [number / 256, number % 256];
    format!("{DEFAULT_PREFIX}/subnets/10.{high}.{low}.0-24")
}

fn value(number: usize) -> String {
    let [high, low] = [number / 250, number % 250 + 1];
    format!(
        r#"{{"PublicIP":"172.16.{high}.{low}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{{"VNI":1,"VtepMAC":"02:00:00:00:{:02x}:{:02x}"}}}}"#,
        number / 256,
        number % 256
    )
}
