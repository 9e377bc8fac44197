//! From a unit to the machine that holds it, and to what that machine says.

use std::net::SocketAddr;

use super::client::Peers;
use super::local::Local;
use super::stream::Stream;
use super::wire::{Report, Wanted};
use crate::scheduler::keys::{self, Desired};
use crate::scheduler::machine::{Machine, MachineId};
use crate::scheduler::name::UnitName;
use crate::store::{self, Store, read_all};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("unit {0} is not known")]
    NoUnit(UnitName),
    #[error("unit {0} is on no machine")]
    Nowhere(UnitName),
    #[error("machine {machine} does not hold {unit}")]
    NotThere { unit: UnitName, machine: String },
    #[error("unit {unit} is on {count} machines: name one of them, such as {example}")]
    Several {
        unit: UnitName,
        count: usize,
        example: MachineId,
    },
    #[error("machine {machine} is away: its lease is over, {unit} is not moved yet")]
    Away { unit: UnitName, machine: MachineId },
    #[error("this machine has no certificate of the cluster, and {unit} is on {machine}")]
    NoCredentials { unit: UnitName, machine: MachineId },
    #[error("machine {0} takes no questions of other machines: it has no certificate")]
    NoListener(MachineId),
    #[error("asking machine {machine} at {address}: {cause:#}")]
    Peer {
        machine: MachineId,
        address: SocketAddr,
        cause: anyhow::Error,
    },
    #[error("asking this machine: {0:#}")]
    Own(anyhow::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Holder {
    pub id: MachineId,
    /// None: its lease is over.
    pub machine: Option<Machine>,
}

/// The machines that hold the unit or are told to. Only the desired values are read.
pub async fn holders(store: &impl Store, unit: &UnitName) -> Result<Vec<Holder>, Error> {
    let prefix = format!("{}desired/", keys::ALL);
    let mut holders = Vec::new();
    for entry in read_all(store, &prefix).await?.entries {
        // What is not understood was written by a newer version.
        let Ok(desired) = serde_json::from_slice::<Desired>(&entry.value) else {
            continue;
        };
        let id = entry.key[prefix.len()..].parse::<MachineId>();
        if let (true, Ok(id)) = (desired.units.contains_key(unit), id) {
            let found = store.read(&keys::machine(&id)).await?;
            let machine = found.and_then(|found| serde_json::from_slice(&found.value).ok());
            holders.push(Holder { id, machine });
        }
    }
    if holders.is_empty() && store.read(&keys::unit(unit)).await?.is_none() {
        return Err(Error::NoUnit(unit.clone()));
    }
    Ok(holders)
}

/// Where to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    Here,
    At(MachineId, SocketAddr),
}

#[derive(Debug, Clone)]
pub struct Reach<S> {
    pub store: S,
    pub local: Local,
    /// None: this machine has no certificate.
    pub peers: Option<Peers>,
}

impl<S: Store> Reach<S> {
    /// The one machine, or the one that is named by its id or the first 8 characters.
    pub async fn locate(&self, unit: &UnitName, named: Option<&str>) -> Result<Whereabouts, Error> {
        // What runs here is told here, also when the store is silent.
        let is_here = self.local.holds(unit).unwrap_or_default();
        if is_here && named.is_some_and(|named| self.local.machine.is_named(named)) {
            return Ok(Whereabouts::Here);
        }
        let mut holders = match holders(&self.store, unit).await {
            Err(Error::Store(_)) if is_here && named.is_none() => return Ok(Whereabouts::Here),
            other => other?,
        };
        if let Some(named) = named {
            holders.retain(|holder| holder.id.is_named(named));
            if holders.is_empty() {
                return Err(Error::NotThere {
                    unit: unit.clone(),
                    machine: named.to_string(),
                });
            }
        }
        let holder = match holders.as_slice() {
            [] => return Err(Error::Nowhere(unit.clone())),
            [one] => one,
            [first, ..] => {
                return Err(Error::Several {
                    unit: unit.clone(),
                    count: holders.len(),
                    example: first.id.clone(),
                });
            }
        };
        self.whereabouts(unit, holder)
    }

    fn whereabouts(&self, unit: &UnitName, holder: &Holder) -> Result<Whereabouts, Error> {
        let (unit, id) = (unit.clone(), holder.id.clone());
        if id == self.local.machine {
            return Ok(Whereabouts::Here);
        }
        let Some(machine) = &holder.machine else {
            return Err(Error::Away { unit, machine: id });
        };
        match machine.peer {
            Some(address) => Ok(Whereabouts::At(id, address)),
            None => Err(Error::NoListener(id)),
        }
    }

    fn peers(&self, unit: &UnitName, machine: &MachineId) -> Result<&Peers, Error> {
        self.peers.as_ref().ok_or_else(|| Error::NoCredentials {
            unit: unit.clone(),
            machine: machine.clone(),
        })
    }

    pub async fn status(&self, unit: &UnitName, named: Option<&str>) -> Result<Report, Error> {
        match self.locate(unit, named).await? {
            Whereabouts::Here => self.local.status(unit).await.map_err(Error::Own),
            Whereabouts::At(id, address) => {
                let peers = self.peers(unit, &id)?;
                let answer = peers.status(address, unit).await;
                answer.map_err(|cause| Error::Peer {
                    machine: id,
                    address,
                    cause,
                })
            }
        }
    }

    pub async fn journal(
        &self,
        unit: &UnitName,
        named: Option<&str>,
        wanted: &Wanted,
    ) -> Result<Stream, Error> {
        match self.locate(unit, named).await? {
            Whereabouts::Here => self.local.journal(unit, wanted, ()).map_err(Error::Own),
            Whereabouts::At(id, address) => {
                let peers = self.peers(unit, &id)?;
                let answer = peers.journal(address, unit, wanted).await;
                answer.map_err(|cause| Error::Peer {
                    machine: id,
                    address,
                    cause,
                })
            }
        }
    }
}
