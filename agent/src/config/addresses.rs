//! The address variables: from the metadata, else which of the machine's addresses is the public
//! one and which the private one.
//!
//! Public: on the interface with the default route. Private: the first private address, another
//! one than the public if there is one. `strake.addresses` names an interface or a network
//! instead. Container bridges and tunnels are never asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result};
use strake_cloud_config::config::AddressSources;
use strake_cloud_config::{Address, Addresses};

use crate::root::Root;
use crate::source::described::Described;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    pub interface: String,
    pub ip: IpAddr,
}

/// What the metadata says, else what the kernel says.
pub fn of(root: &Root, wanted: &AddressSources, metadata: Option<&Described>) -> Result<Addresses> {
    let local = of_machine(root, wanted)?;
    Ok(match metadata {
        Some(described) => prefer(described.read().0.addresses, local),
        None => local,
    })
}

/// Family by family: a machine whose cloud names only a private address has no public one, and
/// that of an interface would be wrong.
fn prefer(metadata: Addresses, local: Addresses) -> Addresses {
    let has_v4 = metadata.public_ipv4.is_known() || metadata.private_ipv4.is_known();
    let has_v6 = metadata.public_ipv6.is_known() || metadata.private_ipv6.is_known();
    let v4 = if has_v4 { metadata } else { local };
    let v6 = if has_v6 { metadata } else { local };
    Addresses {
        public_ipv4: v4.public_ipv4,
        private_ipv4: v4.private_ipv4,
        public_ipv6: v6.public_ipv6,
        private_ipv6: v6.private_ipv6,
    }
    .settled()
}

/// Asks the kernel.
pub fn of_machine(root: &Root, wanted: &AddressSources) -> Result<Addresses> {
    let mut locals = Vec::new();
    for entry in nix::ifaddrs::getifaddrs().context("listing the interfaces' addresses")? {
        let Some(storage) = entry.address else {
            continue;
        };
        let v4 = storage
            .as_sockaddr_in()
            .map(|address| IpAddr::V4(address.ip()));
        let v6 = storage
            .as_sockaddr_in6()
            .map(|address| IpAddr::V6(address.ip()));
        locals.extend(v4.or(v6).map(|ip| Local {
            interface: entry.interface_name.clone(),
            ip,
        }));
    }
    let v4 = root.read_text("/proc/net/route").unwrap_or_default();
    let v6 = root.read_text("/proc/net/ipv6_route").unwrap_or_default();
    let uplink = default_interface(&v4).or_else(|| default_interface_v6(&v6));
    Ok(choose(&locals, uplink, wanted))
}

/// Pure choice among the addresses, in the kernel's order.
pub fn choose(locals: &[Local], uplink: Option<&str>, wanted: &AddressSources) -> Addresses {
    let usable = |local: &&Local| is_machine_own(&local.interface) && is_routable(local.ip);
    let usable: Vec<&Local> = locals.iter().filter(usable).collect();
    let public = |local: &Local| match &wanted.public {
        Some(place) => is_at(local, place),
        None => Some(local.interface.as_str()) == uplink,
    };
    let public_ipv4 = usable
        .iter()
        .filter(|local| public(local))
        .find_map(|local| v4(local));
    let public_ipv6 = usable
        .iter()
        .filter(|local| public(local))
        .find_map(|local| v6(local));
    let private = |local: &Local| match &wanted.private {
        Some(place) => is_at(local, place),
        None => is_private(local.ip),
    };
    let private: Vec<&Local> = usable
        .iter()
        .copied()
        .filter(|local| private(local))
        .collect();
    let other_v4 = private.iter().filter_map(|local| v4(local));
    let other_v6 = private.iter().filter_map(|local| v6(local));
    Addresses {
        public_ipv4: known(public_ipv4),
        public_ipv6: known(public_ipv6),
        private_ipv4: known(preferably_other(other_v4, public_ipv4)),
        private_ipv6: known(preferably_other(other_v6, public_ipv6)),
    }
    .settled()
}

fn known<T>(address: Option<T>) -> Address<T> {
    address.into()
}

fn preferably_other<T: PartialEq + Copy>(
    candidates: impl Iterator<Item = T>,
    public: Option<T>,
) -> Option<T> {
    let candidates: Vec<T> = candidates.collect();
    let other = candidates
        .iter()
        .find(|candidate| Some(**candidate) != public);
    other.or(candidates.first()).copied()
}

fn v4(local: &Local) -> Option<Ipv4Addr> {
    match local.ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

fn v6(local: &Local) -> Option<Ipv6Addr> {
    match local.ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => Some(ip),
    }
}

fn is_machine_own(interface: &str) -> bool {
    let foreign = [
        "lo", "docker", "br-", "veth", "cni", "flannel", "strake", "wg", "kube",
    ];
    !foreign.iter().any(|prefix| interface.starts_with(prefix))
}

fn is_routable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    }
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private(),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

/// `place` is an interface's name or a network such as `10.9.0.0/24`.
fn is_at(local: &Local, place: &str) -> bool {
    let Some((network, length)) = place.split_once('/') else {
        return local.interface == place;
    };
    let (Ok(network), Ok(length)) = (network.parse::<IpAddr>(), length.parse::<u32>()) else {
        return false;
    };
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => (u128::from(u32::from(ip)) << 96, 32),
        IpAddr::V6(ip) => (u128::from(ip), 128),
    };
    let ((network, width), (address, own_width)) = (bits(network), bits(local.ip));
    let mask = u128::MAX.checked_shl(128 - length.min(128)).unwrap_or(0);
    width == own_width && length <= width && network & mask == address & mask
}

/// Interface of the first default route in the format of `/proc/net/route`.
fn default_interface(table: &str) -> Option<&str> {
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let interface = fields.next()?;
        let destination = fields.next()?;
        let mask = fields.nth(5)?;
        (destination == "00000000" && mask == "00000000").then_some(interface)
    })
}

/// The same in the format of `/proc/net/ipv6_route`.
fn default_interface_v6(table: &str) -> Option<&str> {
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_default = fields.first()?.bytes().all(|digit| digit == b'0') && fields[1] == "00";
        let interface = *fields.last()?;
        (is_default && interface != "lo").then_some(interface)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(interface: &str, ip: &str) -> Local {
        Local {
            interface: interface.into(),
            ip: ip.parse().expect("address"),
        }
    }

    fn two_networks() -> Vec<Local> {
        vec![
            local("lo", "127.0.0.1"),
            local("docker0", "172.17.0.1"),
            local("eth0", "10.0.2.15"),
            local("eth0", "fe80::1"),
            local("eth0", "2001:db8::5"),
            local("eth1", "10.9.0.11"),
        ]
    }

    #[track_caller]
    fn check(locals: &[Local], wanted: AddressSources, expected: [Option<&str>; 3]) {
        let found = choose(locals, Some("eth0"), &wanted);
        let text = |ip: Option<String>| ip.filter(|ip| !ip.is_empty());
        use strake_cloud_config::context::Variable::{PrivateIpv4, PublicIpv4, PublicIpv6};
        let found = [PublicIpv4, PrivateIpv4, PublicIpv6].map(|which| text(found.text(which)));
        assert_eq!(found, expected.map(|ip| ip.map(str::to_string)));
    }

    #[test]
    fn the_private_address_is_preferably_not_the_public_one() {
        let none = AddressSources::default;
        let expected = [Some("10.0.2.15"), Some("10.9.0.11"), Some("2001:db8::5")];
        check(&two_networks(), none(), expected);
        let one = [local("eth0", "192.168.1.4")];
        check(
            &one,
            none(),
            [Some("192.168.1.4"), Some("192.168.1.4"), None],
        );
        check(
            &[local("eth0", "203.0.113.9")],
            none(),
            [Some("203.0.113.9"), None, None],
        );
    }

    #[test]
    fn a_named_interface_or_network_is_taken() {
        let wanted = |public: &str, private: &str| AddressSources {
            public: Some(public.into()),
            private: Some(private.into()),
        };
        let locals = two_networks();
        check(
            &locals,
            wanted("eth1", "10.0.0.0/16"),
            [Some("10.9.0.11"), Some("10.0.2.15"), None],
        );
        check(&locals, wanted("eth7", "10.9.0.0/33"), [None, None, None]);
        check(
            &locals,
            wanted("2001:db8::/32", "0.0.0.0/0"),
            [None, Some("10.0.2.15"), Some("2001:db8::5")],
        );
    }

    #[test]
    fn metadata_goes_before_interfaces_family_by_family() {
        let known = |ip: &str| Address::Known(ip.parse().expect("address"));
        let local = Addresses {
            public_ipv4: known("10.0.0.4"),
            private_ipv4: known("10.0.0.4"),
            public_ipv6: Address::Known("2001:db8::4".parse().expect("address")),
            ..Addresses::default()
        };
        assert_eq!(prefer(Addresses::default(), local), local.settled());
        let metadata = Addresses {
            private_ipv4: known("10.1.1.1"),
            ..Addresses::default()
        };
        let expected = Addresses {
            public_ipv4: Address::Absent,
            private_ipv4: known("10.1.1.1"),
            ..local.settled()
        };
        assert_eq!(prefer(metadata, local), expected);
    }

    #[test]
    fn the_default_route_is_found() {
        let v4 = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n\
                  eth1\t0000090A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\n\
                  eth0\t00000000\t0202000A\t0003\t0\t0\t1024\t00000000\t0\n";
        assert_eq!(default_interface(v4), Some("eth0"));
        assert_eq!(default_interface(""), None);
        let zero = "0".repeat(32);
        let v6 = format!(
            "{zero} 00 {zero} 00 {zero} ffffffff 1 0 00200200 lo\n{zero} 00 {zero} 00 fe8000 0 1 0 3 eth2\n"
        );
        assert_eq!(default_interface_v6(&v6), Some("eth2"));
    }
}
