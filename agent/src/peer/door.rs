//! What a machine has with others, by the certificate it has. Without one it does what it can: a
//! cluster whose etcd takes anybody has no certificates.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::net::TcpListener;

use super::client::Peers;
use super::credentials::Credentials;
use super::local::Local;
use super::reach::Reach;
use super::serve::{listen, serve};
use crate::root::Root;
use crate::scheduler::machine::MachineId;
use crate::store::Store;
use crate::store::etcd::Settings;

#[derive(Debug)]
pub struct Door {
    local: Local,
    ways: Option<Ways>,
}

#[derive(Debug)]
struct Ways {
    credentials: Credentials,
    peers: Peers,
    listener: TcpListener,
    address: SocketAddr,
}

impl Door {
    /// What does not work is said once, and the units run all the same.
    pub async fn open(root: &Root, settings: &Settings, machine: MachineId) -> Door {
        let ways = Ways::open(root, settings).await.unwrap_or_else(|error| {
            eprintln!("strake: peers: {error:#}");
            None
        });
        Door {
            local: Local::new(root.clone(), machine),
            ways,
        }
    }

    /// Where others may ask this machine.
    pub fn address(&self) -> Option<SocketAddr> {
        self.ways.as_ref().map(|ways| ways.address)
    }

    /// The machine's certificate, for whatever else it is shown.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.ways.as_ref().map(|ways| &ways.credentials)
    }

    pub fn reach<S: Store>(&self, store: S) -> Reach<S> {
        Reach {
            store,
            local: self.local.clone(),
            peers: self.ways.as_ref().map(|ways| ways.peers.clone()),
        }
    }

    /// Answers others; without a certificate there is nobody to answer.
    pub async fn serve(self) -> Result<Infallible> {
        match self.ways {
            Some(ways) => serve(ways.listener, self.local, &ways.credentials).await,
            None => std::future::pending().await,
        }
    }
}

impl Ways {
    async fn open(root: &Root, settings: &Settings) -> Result<Option<Ways>> {
        let Some(credentials) = Credentials::read(root, settings)? else {
            return Ok(None);
        };
        let address = credentials.address();
        let address = address.context("this machine's certificate is for no address")?;
        Ok(Some(Ways {
            peers: Peers::new(root, &credentials)?,
            listener: listen(address).await?,
            credentials,
            address,
        }))
    }
}
