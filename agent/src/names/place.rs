//! Where a machine's units are, as it tells the others: pure.
//!
//! Key `/strake/v1/names/MACHINE`, under the machine's lease. A unit without an address is there
//! and does not run, or not well.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::overlay::cidr::Cidr;
use crate::scheduler::keys::ALL;
use crate::scheduler::machine::MachineId;
use crate::scheduler::name::UnitName;

pub fn prefix() -> String {
    format!("{ALL}names/")
}

pub fn key(machine: &MachineId) -> String {
    format!("{}{machine}", prefix())
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Places {
    pub units: BTreeMap<UnitName, Vec<IpAddr>>,
}

/// A container that says which unit it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    pub unit: UnitName,
    /// It runs, and its health check, if there is one, is content.
    pub is_well: bool,
    pub addresses: Vec<IpAddr>,
}

/// Where the machine itself and its containers are reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Machine {
    pub addresses: Vec<IpAddr>,
    /// Networks of containers that other machines have a way to.
    pub networks: Vec<Cidr>,
}

impl Machine {
    /// A container that only this machine reaches is reached through the machine, if at all.
    fn of_container(&self, container: &Container) -> Vec<IpAddr> {
        let reached = |address: &&IpAddr| {
            let single = Cidr::single(**address);
            self.networks.iter().any(|network| network.covers(&single))
        };
        let own: Vec<IpAddr> = container
            .addresses
            .iter()
            .filter(reached)
            .copied()
            .collect();
        match own.is_empty() {
            true => self.addresses.clone(),
            false => own,
        }
    }
}

/// Which units there are, and whether they run.
pub fn places(
    units: &BTreeMap<UnitName, bool>,
    containers: &[Container],
    machine: &Machine,
) -> Places {
    let place = |(name, runs): (&UnitName, &bool)| {
        if super::zone::names(name).is_empty() {
            return None;
        }
        let own: Vec<&Container> = containers.iter().filter(|one| one.unit == *name).collect();
        let mut addresses = match (runs, own.is_empty()) {
            (false, _) => Vec::new(),
            // Its container is not there yet.
            (true, true) if name.is_container() => Vec::new(),
            (true, true) => machine.addresses.clone(),
            (true, false) => {
                let well = own.into_iter().filter(|container| container.is_well);
                well.flat_map(|container| machine.of_container(container))
                    .collect()
            }
        };
        addresses.sort();
        addresses.dedup();
        Some((name.clone(), addresses))
    };
    Places {
        units: units.iter().filter_map(place).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &[&str]) -> Vec<IpAddr> {
        text.iter().map(|one| one.parse().expect(one)).collect()
    }

    fn container(unit: &str, is_well: bool, at: &[&str]) -> Container {
        Container {
            unit: unit.parse().expect(unit),
            is_well,
            addresses: addresses(at),
        }
    }

    #[test]
    fn each_unit_is_where_it_is_reached() {
        let units = [
            ("web@1.container", true),
            ("web@2.container", true),
            ("web@3.container", false),
            ("starting.container", true),
            ("host.container", true),
            ("private.container", true),
            ("db.service", true),
            ("boxed.service", true),
            ("down.service", false),
            ("tick.timer", true),
            ("web@.container", true),
        ];
        let units = units.map(|(name, runs)| (name.parse().expect(name), runs));
        let containers = [
            container("web@1.container", true, &["10.5.3.2", "fd00:5:0:3::2"]),
            container("web@2.container", false, &["10.5.3.3"]),
            container("web@3.container", true, &["10.5.3.4"]),
            container("host.container", true, &[]),
            container("private.container", true, &["172.18.0.2"]),
            container("boxed.service", true, &["10.5.3.9"]),
            container("boxed.service", true, &["10.5.3.8", "172.18.0.3"]),
        ];
        let machine = Machine {
            addresses: addresses(&["10.5.3.0"]),
            networks: ["10.5.3.0/24", "fd00:5:0:3::/64"]
                .map(|text| text.parse().expect(text))
                .to_vec(),
        };
        let found = places(&BTreeMap::from(units), &containers, &machine);
        let expected: [(&str, &[&str]); 9] = [
            ("boxed.service", &["10.5.3.8", "10.5.3.9"]),
            ("db.service", &["10.5.3.0"]),
            ("down.service", &[]),
            ("host.container", &["10.5.3.0"]),
            ("private.container", &["10.5.3.0"]),
            ("starting.container", &[]),
            ("web@1.container", &["10.5.3.2", "fd00:5:0:3::2"]),
            ("web@2.container", &[]),
            ("web@3.container", &[]),
        ];
        let expected = expected.map(|(name, at)| (name.parse().expect(name), addresses(at)));
        assert_eq!(found.units, BTreeMap::from(expected));
        let text = serde_json::to_string(&found).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Places>(&text).expect("places"),
            found
        );
    }
}
