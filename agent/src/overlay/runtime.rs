//! What container runtimes are told: pure texts.
//!
//! docker and CNI share one bridge (`docker0`; `ov-NAME` of a network with a name): its address is the subnet's first one, docker gives
//! addresses from the lower half, CNI from the upper one. Either may be there alone.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::cidr::Cidr;
use super::config::Config;
use super::lease::Subnets;
use super::named::Which;
use crate::apply::tree::{Node, Tree};

pub const DOCKER: &str = "/run/flannel/docker.env";
/// Bits of host addresses below which there is nothing worth halving.
const LEAST_HALVED: u8 = 4;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub which: Which,
    pub config: Config,
    pub subnets: Subnets,
    pub mtu: u32,
    pub masquerade: bool,
    /// Where containers ask for names.
    pub resolver: Option<IpAddr>,
}

impl Told {
    pub fn files(&self, subnet_file: &str) -> Tree {
        let conflist = PathBuf::from(self.which.conflist());
        let mut files = Tree::from([
            (PathBuf::from(subnet_file), Node::text(self.subnet_env())),
            (conflist, Node::text(self.conflist())),
        ]);
        if self.which == Which::Default {
            files.insert(PathBuf::from(DOCKER), Node::text(self.docker_env()));
        }
        files
    }

    /// As flannel writes it.
    pub fn subnet_env(&self) -> String {
        let mut text = String::new();
        let mut pair = |infix: &str, network: Option<Cidr>, subnet: Option<Cidr>| {
            if let (Some(network), Some(subnet)) = (network, subnet) {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "FLANNEL_{infix}NETWORK={network}");
                let (first, length) = (subnet.host(1), subnet.length());
                let _ = writeln!(text, "FLANNEL_{infix}SUBNET={first}/{length}");
            }
        };
        let config = &self.config;
        pair("", config.v4.map(|v4| v4.network), self.subnets.v4);
        pair("IPV6_", config.v6.map(|v6| v6.network), self.subnets.v6);
        let (mtu, masquerade) = (self.mtu, self.masquerade);
        let _ = writeln!(text, "FLANNEL_MTU={mtu}\nFLANNEL_IPMASQ={masquerade}");
        text
    }

    /// docker masquerades only where the overlay does not.
    pub fn docker_env(&self) -> String {
        let mut options = Vec::new();
        if let Some(v4) = self.subnets.v4 {
            options.push(format!("--bip={}/{}", v4.host(1), v4.length()));
            if let Some((lower, _)) = halves(v4) {
                options.push(format!("--fixed-cidr={lower}"));
            }
        }
        if let Some(v6) = self.subnets.v6 {
            let lower = halves(v6).map_or(v6, |(lower, _)| lower);
            options.push(format!("--ipv6 --fixed-cidr-v6={lower}"));
        }
        options.push(format!("--mtu={}", self.mtu));
        options.push(format!("--ip-masq={}", !self.masquerade));
        format!("DOCKER_OPTS=\"{}\"\n", options.join(" "))
    }

    pub fn conflist(&self) -> String {
        let subnets = [self.subnets.v4, self.subnets.v6].into_iter().flatten();
        let ranges: Vec<Value> = subnets.clone().map(range).collect();
        let routes: Vec<Value> = subnets
            .map(|subnet| match subnet.address().is_ipv4() {
                true => json!({"dst": "0.0.0.0/0"}),
                false => json!({"dst": "::/0"}),
            })
            .collect();
        let mut bridge = json!({
            "type": "bridge",
            "bridge": self.which.bridge(),
            "isGateway": true,
            // After a change of subnet the bridge is there with the address of before.
            "forceAddress": true,
            "ipMasq": !self.masquerade,
            "hairpinMode": true,
            "mtu": self.mtu,
            "ipam": {"type": "host-local", "ranges": ranges, "routes": routes},
        });
        if let Some(resolver) = self.resolver {
            bridge["dns"] = json!({"nameservers": [resolver]});
        }
        let list = json!({
            "cniVersion": "1.0.0",
            "name": self.which.in_cni(),
            "plugins": [
                bridge,
                {"type": "portmap", "capabilities": {"portMappings": true}},
            ],
        });
        format!("{list:#}\n")
    }
}

/// docker's half and CNI's.
pub(super) fn halves(subnet: Cidr) -> Option<(Cidr, Cidr)> {
    if subnet.length() > subnet.family().bits() - LEAST_HALVED {
        return None;
    }
    let half = |nth| subnet.nth(subnet.length() + 1, nth);
    Some((half(0)?, half(1)?))
}

fn range(subnet: Cidr) -> Value {
    let gateway = subnet.host(1);
    // The last one of IPv4 is everybody's.
    let last_host = |range: Cidr| {
        let most = range.highest(range.family().bits());
        range.host(most - 1)
    };
    let (first, last) = match halves(subnet) {
        Some((_, upper)) => (upper.address(), last_host(upper)),
        None => (subnet.host(2), last_host(subnet)),
    };
    json!([{
        "subnet": subnet,
        "rangeStart": first,
        "rangeEnd": last,
        "gateway": gateway,
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(config: &str, v4: Option<&str>, v6: Option<&str>) -> Told {
        let cidr = |text: &str| text.parse().expect(text);
        Told {
            which: Which::Default,
            config: Config::parse(config.as_bytes()).expect(config),
            subnets: Subnets {
                v4: v4.map(cidr),
                v6: v6.map(cidr),
            },
            mtu: 1450,
            masquerade: true,
            resolver: Some(IpAddr::from([169, 254, 53, 53])),
        }
    }

    const V4: &str = r#"{"Network":"10.5.0.0/16"}"#;
    const DUAL: &str = r#"{"EnableIPv6":true,"Network":"10.5.0.0/16","IPv6Network":"fd00:5::/48"}"#;

    #[test]
    fn subnet_env_is_flannels() {
        let one = told(V4, Some("10.5.3.0/24"), None);
        assert_eq!(
            one.subnet_env(),
            "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.3.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
        );
        let both = told(DUAL, Some("10.5.3.0/24"), Some("fd00:5:0:3::/64"));
        let v6 = "FLANNEL_IPV6_NETWORK=fd00:5::/48\nFLANNEL_IPV6_SUBNET=fd00:5:0:3::1/64\n";
        assert!(both.subnet_env().contains(v6), "{}", both.subnet_env());
    }

    #[test]
    fn docker_gets_the_lower_half() {
        let one = told(V4, Some("10.5.3.0/24"), None);
        assert_eq!(
            one.docker_env(),
            "DOCKER_OPTS=\"--bip=10.5.3.1/24 --fixed-cidr=10.5.3.0/25 --mtu=1450 --ip-masq=false\"\n"
        );
        let small = told(V4, Some("10.5.3.0/30"), None);
        assert!(!small.docker_env().contains("fixed"));
        let both = told(DUAL, Some("10.5.3.0/24"), Some("fd00:5:0:3::/64"));
        let v6 = "--ipv6 --fixed-cidr-v6=fd00:5:0:3::/65";
        assert!(both.docker_env().contains(v6), "{}", both.docker_env());
    }

    #[test]
    fn a_network_with_a_name_has_its_own_bridge_and_files() {
        let one = Told {
            which: Which::Named("db".parse().expect("name")),
            ..told(V4, Some("10.5.3.0/24"), None)
        };
        let files = one.files("/run/flannel/networks/db.env");
        let paths: Vec<&str> = files.keys().filter_map(|path| path.to_str()).collect();
        let expected = [
            "/etc/cni/net.d/20-strake-db.conflist",
            "/run/flannel/networks/db.env",
        ];
        assert_eq!(paths, expected);
        let list: Value = serde_json::from_str(&one.conflist()).expect("JSON");
        let names = (&list["name"], &list["plugins"][0]["bridge"]);
        assert_eq!(names, (&json!("strake-db"), &json!("ov-db")));
    }

    #[test]
    fn cni_gets_the_upper_half_of_the_same_bridge() {
        let both = told(DUAL, Some("10.5.3.0/24"), Some("fd00:5:0:3::/64"));
        let list: Value = serde_json::from_str(&both.conflist()).expect("JSON");
        let bridge = &list["plugins"][0];
        assert_eq!(bridge["bridge"], "docker0");
        assert_eq!(bridge["mtu"], 1450);
        assert_eq!(bridge["forceAddress"], true);
        assert_eq!(bridge["dns"], json!({"nameservers": ["169.254.53.53"]}));
        let v4 = json!([{"subnet": "10.5.3.0/24", "rangeStart": "10.5.3.128",
            "rangeEnd": "10.5.3.254", "gateway": "10.5.3.1"}]);
        assert_eq!(bridge["ipam"]["ranges"][0], v4);
        let v6 = &bridge["ipam"]["ranges"][1][0];
        assert_eq!(v6["rangeStart"], "fd00:5:0:3:8000::");
        let small = told(V4, Some("10.5.3.4/30"), None);
        let list: Value = serde_json::from_str(&small.conflist()).expect("JSON");
        let range = &list["plugins"][0]["ipam"]["ranges"][0][0];
        assert_eq!(
            (&range["rangeStart"], &range["rangeEnd"]),
            (&json!("10.5.3.6"), &json!("10.5.3.6"))
        );
    }
}
