//! Machines that do at once what their desired value says, without systemd.

use strake_agent::scheduler::keys::{self, Desired, Observed, Seen, State};
use strake_agent::scheduler::machine::{Machine, MachineId};
use strake_agent::store::etcd::Etcd;
use strake_agent::store::{Event, Store, Transaction, Write};
use strake_agent::systemd::Active;

pub(crate) async fn put(store: &Etcd, key: String, value: &impl serde::Serialize) {
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

#[allow(dead_code, reason = "some tests have machines with an address")]
pub(crate) async fn registered(store: &Etcd, id: &str) -> MachineId {
    let id: MachineId = id.parse().expect("id");
    put(store, keys::machine(&id), &Machine::new(id.clone())).await;
    id
}

/// Never ends.
pub(crate) async fn obeys(store: Etcd, id: MachineId) -> ! {
    let mut watch = store.watch(&keys::desired(&id), 1).await.expect("watch");
    loop {
        for event in watch.next().await.expect("event").events {
            if let Event::Put(entry) = event {
                let desired: Desired = serde_json::from_slice(&entry.value).expect("desired");
                put(&store, keys::observed(&id), &observed(&desired)).await;
            }
        }
    }
}

fn observed(desired: &Desired) -> Observed {
    let seen = desired.units.iter().map(|(name, unit)| {
        let started = unit.state == State::Launched;
        let (active, sub) = match started {
            true => (Active::Active, "running"),
            false => (Active::Inactive, "dead"),
        };
        let seen = Seen {
            digest: unit.digest.clone(),
            load: "loaded".to_string(),
            active,
            sub: sub.to_string(),
            started,
            run: unit.run,
            problem: None,
        };
        (name.clone(), seen)
    });
    Observed {
        generation: desired.generation,
        units: seen.collect(),
    }
}
