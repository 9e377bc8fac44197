//! What the service tells: lines in the journal when something changes, and the file that
//! `strake overlay status` shows.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use strake_updates::time::Timestamp;

use super::cidr::{Cidr, Family};
use super::lease::Subnets;
use super::named::Which;
use crate::apply::tree::Node;
use crate::apply::write::{self, write_one};
use crate::root::Root;

pub const PATH: &str = "/run/strake/overlay/status.json";
/// Where there is one for each network with a name.
pub const NAMED: &str = "/run/strake/overlay/networks";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub state: State,
    pub backend: Option<String>,
    pub networks: Vec<Cidr>,
    pub subnets: Option<Subnets>,
    /// Whether the lease is a reservation, which has no time limit.
    pub reserved: bool,
    pub public_addresses: Vec<String>,
    pub uplink: Option<String>,
    pub devices: Vec<String>,
    /// Where checks are answered, and asked from.
    #[serde(default)]
    pub doors: Vec<IpAddr>,
    /// Of packets in the overlay, in bytes.
    pub mtu: Option<u32>,
    /// What the tunnel adds to each, in bytes.
    #[serde(default)]
    pub overhead: Option<u32>,
    pub lease_renewed: Option<Timestamp>,
    pub peers: Vec<Peer>,
    /// What is wrong now, by subject.
    pub problems: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// There is no subnet yet.
    Joining,
    /// The subnet is one remembered from before; the store has not answered yet.
    Remembered,
    Joined,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            State::Joining => "joining",
            State::Remembered => "remembered",
            State::Joined => "joined",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// As it is shown; the key where there is no subnet in it.
    pub subnet: String,
    pub subnets: Option<Subnets>,
    pub public_addresses: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// Of wireguard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    pub way: PeerWay,
    /// Why it is not reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerWay {
    Tunnel,
    Direct,
    Ignored,
}

impl PeerWay {
    pub fn word(self) -> &'static str {
        match self {
            PeerWay::Tunnel => "tunnel",
            PeerWay::Direct => "direct",
            PeerWay::Ignored => "ignored",
        }
    }
}

impl Default for Status {
    fn default() -> Status {
        Status {
            state: State::Joining,
            backend: None,
            networks: Vec::new(),
            subnets: None,
            reserved: false,
            public_addresses: Vec::new(),
            uplink: None,
            devices: Vec::new(),
            doors: Vec::new(),
            mtu: None,
            overhead: None,
            lease_renewed: None,
            peers: Vec::new(),
            problems: BTreeMap::new(),
        }
    }
}

impl Peer {
    /// Where it is asked: in the tunnel, or without one at its own address.
    fn door(&self, family: Family, has_tunnel: bool) -> Option<IpAddr> {
        if has_tunnel {
            return Some(self.subnets?.of(family)?.address());
        }
        let addresses = self.public_addresses.iter();
        let mut addresses = addresses.filter_map(|text| text.parse().ok());
        addresses.find(|address| Family::of(*address) == family)
    }
}

impl Status {
    /// From where peers are asked in a family, and each that is reached in it, with its address.
    pub fn asked(&self, family: Family) -> Option<(IpAddr, Vec<(&Peer, IpAddr)>)> {
        let mut doors = self.doors.iter().copied();
        let own = doors.find(|door| Family::of(*door) == family)?;
        let has_tunnel = !self.devices.is_empty();
        let reached = self
            .peers
            .iter()
            .filter(|peer| peer.way != PeerWay::Ignored);
        let asked = reached.filter_map(|peer| Some((peer, peer.door(family, has_tunnel)?)));
        Some((own, asked.collect()))
    }

    /// Nothing while the service has not written one since the boot.
    pub fn load(root: &Root, which: &Which) -> std::io::Result<Option<Status>> {
        let Some(text) = root.read_optional(which.status())? else {
            return Ok(None);
        };
        Ok(Some(serde_json::from_str(&text)?))
    }

    pub fn save(&self, root: &Root, which: &Which) -> Result<(), write::Error> {
        // A type of ours, whose serialisation cannot fail.
        let text = serde_json::to_vec(self).unwrap_or_default();
        write_one(root, &which.status(), Node::text(text))
    }
}

/// The status being told, and which of its problems the journal has heard of.
#[derive(Debug, Default)]
pub struct Report {
    which: Which,
    pub status: Status,
    told: Status,
}

impl Report {
    pub fn new(which: Which) -> Report {
        Report {
            which,
            ..Report::default()
        }
    }

    /// A line in the journal.
    pub fn say(&self, line: &str) {
        eprintln!("strake: {}: {line}", self.which.label());
    }

    /// Says it once, and once more when it is over.
    pub fn problem(&mut self, subject: &str, problem: Option<String>) {
        let problems = &mut self.status.problems;
        match problem {
            Some(text) => {
                if problems.get(subject) != Some(&text) {
                    let line = format!("{subject}: {text}");
                    problems.insert(subject.to_string(), text);
                    self.say(&line);
                }
            }
            None => {
                if problems.remove(subject).is_some() {
                    self.say(&format!("{subject}: well again"));
                }
            }
        }
    }

    pub fn is_news(&self) -> bool {
        self.status != self.told
    }

    /// A status that cannot be written is only a status less.
    pub fn write(&mut self, root: &Root) {
        self.told = self.status.clone();
        if let Err(error) = self.status.save(root, &self.which) {
            self.say(&format!("writing {}: {error}", self.which.status()));
        }
    }
}
