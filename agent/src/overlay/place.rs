//! This machine's place in the network: what it offers peers, and its devices. Pure.

use std::net::IpAddr;

use super::cidr::Family;
use super::config::{Backend, Config};
use super::kernel::{Tunnel, Uplink};
use super::lease::{Lease, Subnets, TunnelEnd};
use super::mac::Mac;

/// What the tunnel adds to each packet: the outer IP header, UDP, vxlan, and Ethernet's.
const VXLAN_OVER_V4: u32 = 50;
const VXLAN_OVER_V6: u32 = 70;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{interface} has no {family} address, which the network needs")]
pub struct NoAddress {
    interface: String,
    family: Family,
}

/// The lease that this machine wants, with the subnets of before.
pub fn offer(
    config: &Config,
    machine: &str,
    uplink: &Uplink,
    public: Option<IpAddr>,
    before: Subnets,
) -> Result<Lease, NoAddress> {
    let mut lease = Lease {
        subnets: before,
        public_v4: None,
        public_v6: None,
        backend: config.backend.name().to_string(),
        v4: TunnelEnd::default(),
        v6: TunnelEnd::default(),
        machine: Some(machine.to_string()),
    };
    for (family, _) in config.families() {
        let given = public.filter(|address| Family::of(*address) == family);
        let missing = || NoAddress {
            interface: uplink.name.clone(),
            family,
        };
        let own = uplink.address(family).ok_or_else(missing)?;
        let end = match &config.backend {
            Backend::Vxlan(vxlan) => TunnelEnd {
                vni: Some(vxlan.vni),
                mac: Some(Mac::of_machine(machine, vxlan.vni, family)),
            },
            Backend::HostGw => TunnelEnd::default(),
        };
        match given.unwrap_or(own) {
            IpAddr::V4(address) => (lease.public_v4, lease.v4) = (Some(address), end),
            IpAddr::V6(address) => (lease.public_v6, lease.v6) = (Some(address), end),
        }
    }
    Ok(lease)
}

/// Of packets in the overlay: what fits the uplink in every family there is.
pub fn mtu(config: &Config, uplink: &Uplink) -> u32 {
    match &config.backend {
        Backend::HostGw => uplink.mtu,
        Backend::Vxlan(vxlan) => {
            let outer = vxlan.mtu.unwrap_or(uplink.mtu);
            let most = match config.v6 {
                Some(_) => VXLAN_OVER_V6,
                None => VXLAN_OVER_V4,
            };
            outer.saturating_sub(most)
        }
    }
}

/// The devices that the backend needs.
pub fn tunnels(config: &Config, lease: &Lease, uplink: &Uplink) -> Vec<(Family, Tunnel)> {
    let Backend::Vxlan(vxlan) = &config.backend else {
        return Vec::new();
    };
    let tunnel = |family| {
        let subnet = lease.subnets.of(family)?;
        Some(Tunnel {
            name: Tunnel::name(vxlan.vni, family),
            vni: vxlan.vni,
            port: vxlan.port,
            local: uplink.address(family)?,
            uplink: uplink.index,
            mtu: mtu(config, uplink),
            mac: lease.end(family).mac?,
            gbp: vxlan.gbp,
            learning: vxlan.learning,
            address: subnet.address(),
        })
    };
    let families = config.families().map(|(family, _)| family);
    families
        .filter_map(|family| Some((family, tunnel(family)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text.as_bytes()).expect(text)
    }

    fn uplink(addresses: &[&str]) -> Uplink {
        let address = |text: &&str| {
            let (address, _) = text.split_once('/').expect("address/length");
            let address: IpAddr = address.parse().expect("address");
            let network = crate::overlay::cidr::Cidr::single(address);
            (address, network)
        };
        Uplink {
            index: 3,
            name: "eth0".to_string(),
            mtu: 1500,
            addresses: addresses.iter().map(address).collect(),
        }
    }

    const V4: &str = r#"{"Network":"10.5.0.0/16"}"#;
    const DUAL: &str = r#"{"EnableIPv6":true,"Network":"10.5.0.0/16","IPv6Network":"fd00:5::/48"}"#;
    const NONE: Subnets = Subnets { v4: None, v6: None };

    #[test]
    fn packets_fit_the_uplink_with_the_outer_header_of_the_longer_family() {
        let eth = uplink(&["192.168.0.1/24"]);
        let cases = [
            (V4, 1450),
            (DUAL, 1430),
            (
                r#"{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","MTU":1400}}"#,
                1350,
            ),
            (
                r#"{"Network":"10.5.0.0/16","Backend":{"Type":"host-gw"}}"#,
                1500,
            ),
            (
                r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00:5::/48"}"#,
                1430,
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(mtu(&config(text), &eth), expected, "{text}");
        }
    }

    #[test]
    fn a_machine_offers_its_address_and_the_same_end_at_each_start() {
        let eth = uplink(&["192.168.0.1/24", "192.168.0.2/24"]);
        let one = offer(&config(V4), "m1", &eth, None, NONE).expect("offer");
        assert_eq!(one.public_v4, "192.168.0.1".parse().ok());
        let public = "203.0.113.7".parse().ok();
        let behind = offer(&config(V4), "m1", &eth, public, NONE).expect("offer");
        assert_eq!(behind.public_v4, "203.0.113.7".parse().ok());
        assert_eq!(one.v4, behind.v4);
        let error = offer(&config(DUAL), "m1", &eth, None, NONE).expect_err("no IPv6");
        let text = "eth0 has no IPv6 address, which the network needs";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn each_family_has_its_device_at_the_uplinks_own_address() {
        let eth = uplink(&["192.168.0.1/24", "fd01::1/64"]);
        let dual = config(DUAL);
        let before = Subnets {
            v4: "10.5.3.0/24".parse().ok(),
            v6: "fd00:5:0:3::/64".parse().ok(),
        };
        let public = "203.0.113.7".parse().ok();
        let lease = offer(&dual, "m1", &eth, public, before).expect("offer");
        let all = tunnels(&dual, &lease, &eth);
        let told: Vec<String> = all
            .iter()
            .map(|(_, one)| format!("{} {} {}", one.name, one.local, one.address))
            .collect();
        assert_eq!(
            told,
            [
                "flannel.1 192.168.0.1 10.5.3.0",
                "flannel-v6.1 fd01::1 fd00:5:0:3::",
            ]
        );
    }
}
