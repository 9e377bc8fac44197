//! Masquerade, as one table of nftables of our own: pure. It is replaced in one step, and no other
//! table is touched.
//!
//! There is no rule that lets packets be forwarded: in nftables one table cannot let pass what
//! another one drops. Forwarding is turned on before docker starts, so that docker has no reason
//! to drop what is not its own.

use std::fmt::Write as _;

use super::cidr::{Cidr, Family};
use super::config::Config;
use super::lease::Subnets;

pub const TABLE: &str = "inet strake_overlay";
/// kube-proxy's sign on packets whose source it changes itself.
const KUBE_MARK: &str = "0x4000";

/// Ends with no table, whether there was one or not.
pub fn none() -> String {
    format!("table {TABLE}\ndelete table {TABLE}\n")
}

/// What leaves the network has the machine's address; what stays within keeps its own.
pub fn masquerade(config: &Config, subnets: &Subnets) -> String {
    let mut text = none();
    let mut line = |line: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    };
    line(&format!("table {TABLE} {{"));
    line("  chain postrouting {");
    // Before docker's, which would otherwise have the first word.
    line("    type nat hook postrouting priority srcnat - 5; policy accept;");
    line(&format!(
        "    meta mark & {KUBE_MARK} == {KUBE_MARK} return"
    ));
    for (family, ranges) in config.families() {
        if let Some(subnet) = subnets.of(family) {
            for rule in of_family(family, ranges.network, subnet) {
                line(&format!("    {rule}"));
            }
        }
    }
    line("  }");
    line("}");
    text
}

fn of_family(family: Family, network: Cidr, subnet: Cidr) -> [String; 4] {
    let (ip, multicast) = match family {
        Family::V4 => ("ip", "224.0.0.0/4"),
        Family::V6 => ("ip6", "ff00::/8"),
    };
    [
        format!("{ip} saddr {network} {ip} daddr {network} return"),
        // Who asks a container from outside is seen as who it is.
        format!("{ip} saddr != {network} {ip} daddr {subnet} return"),
        format!("{ip} saddr {network} {ip} daddr != {multicast} masquerade fully-random"),
        // To a container elsewhere by way of this machine: the answer has to come back here.
        format!("{ip} saddr != {network} {ip} daddr {network} masquerade fully-random"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_replaced_as_a_whole() {
        let config = r#"{"EnableIPv6":true,"Network":"10.5.0.0/16","IPv6Network":"fd00:5::/48"}"#;
        let config = Config::parse(config.as_bytes()).expect("config");
        let subnets = Subnets {
            v4: "10.5.3.0/24".parse().ok(),
            v6: "fd00:5:0:3::/64".parse().ok(),
        };
        assert_eq!(
            masquerade(&config, &subnets),
            "table inet strake_overlay
delete table inet strake_overlay
table inet strake_overlay {
  chain postrouting {
    type nat hook postrouting priority srcnat - 5; policy accept;
    meta mark & 0x4000 == 0x4000 return
    ip saddr 10.5.0.0/16 ip daddr 10.5.0.0/16 return
    ip saddr != 10.5.0.0/16 ip daddr 10.5.3.0/24 return
    ip saddr 10.5.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random
    ip saddr != 10.5.0.0/16 ip daddr 10.5.0.0/16 masquerade fully-random
    ip6 saddr fd00:5::/48 ip6 daddr fd00:5::/48 return
    ip6 saddr != fd00:5::/48 ip6 daddr fd00:5:0:3::/64 return
    ip6 saddr fd00:5::/48 ip6 daddr != ff00::/8 masquerade fully-random
    ip6 saddr != fd00:5::/48 ip6 daddr fd00:5::/48 masquerade fully-random
  }
}
"
        );
    }
}
