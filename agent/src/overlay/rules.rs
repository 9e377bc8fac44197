//! Masquerade, and who may talk to whom, as one table of nftables of our own: pure. It is replaced
//! in one step, and no other table is touched.
//!
//! There is no rule that lets packets be forwarded: in nftables one table cannot let pass what
//! another one drops. Forwarding is turned on before docker starts, so that docker has no reason
//! to drop what is not its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::cidr::{Cidr, Family};
use super::config::Config;
use super::lease::Subnets;
use super::named::{Pair, Which, pair};

pub const TABLE: &str = "inet strake_overlay";
/// kube-proxy's sign on packets whose source it changes itself.
const KUBE_MARK: &str = "0x4000";

/// One network of this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub config: Config,
    pub subnets: Subnets,
    /// Whether what leaves the network has the machine's address.
    pub masquerade: bool,
}

/// Ends with no table, whether there was one or not.
fn none() -> String {
    format!("table {TABLE}\ndelete table {TABLE}\n")
}

/// What stays within the networks keeps its source. What goes from one network to another is
/// dropped, unless the pair is allowed: here already, and on the other machine as well.
pub fn table(parts: &BTreeMap<Which, Part>, allowed: &BTreeSet<Pair>) -> String {
    let mut text = none();
    let has_masquerade = parts.values().any(|part| part.masquerade);
    if !has_masquerade && parts.len() < 2 {
        return text;
    }
    let mut line = |line: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    };
    line(&format!("table {TABLE} {{"));
    if has_masquerade {
        line("  chain postrouting {");
        // Before docker's, which would otherwise have the first word.
        line("    type nat hook postrouting priority srcnat - 5; policy accept;");
        line(&format!(
            "    meta mark & {KUBE_MARK} == {KUBE_MARK} return"
        ));
        for rule in within(parts) {
            line(&format!("    {rule}"));
        }
        for part in parts.values().filter(|part| part.masquerade) {
            for (family, ranges) in part.config.families() {
                if let Some(subnet) = part.subnets.of(family) {
                    for rule in leaving(family, ranges.network, subnet) {
                        line(&format!("    {rule}"));
                    }
                }
            }
        }
        line("  }");
    }
    if parts.len() > 1 {
        line("  chain forward {");
        line("    type filter hook forward priority filter - 5; policy accept;");
        for rule in between(parts, allowed) {
            line(&format!("    {rule}"));
        }
        line("  }");
    }
    line("}");
    text
}

/// How nftables calls the family.
pub(super) fn word(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

pub(super) fn ranges(part: &Part, family: Family) -> Option<Cidr> {
    let mut all = part.config.families();
    all.find(|(of, _)| *of == family)
        .map(|(_, ranges)| ranges.network)
}

fn within(parts: &BTreeMap<Which, Part>) -> Vec<String> {
    let families = [Family::V4, Family::V6].into_iter();
    let rule = |family| {
        let networks = parts.values().filter_map(|part| ranges(part, family));
        let networks: Vec<String> = networks.map(|network| network.to_string()).collect();
        let set = match &networks[..] {
            [] => return None,
            [one] => one.clone(),
            several => format!("{{ {} }}", several.join(", ")),
        };
        let ip = word(family);
        Some(format!("{ip} saddr {set} {ip} daddr {set} return"))
    };
    families.filter_map(rule).collect()
}

fn leaving(family: Family, network: Cidr, subnet: Cidr) -> [String; 3] {
    let ip = word(family);
    let multicast = match family {
        Family::V4 => "224.0.0.0/4",
        Family::V6 => "ff00::/8",
    };
    [
        // Who asks a container from outside is seen as who it is.
        format!("{ip} saddr != {network} {ip} daddr {subnet} return"),
        format!("{ip} saddr {network} {ip} daddr != {multicast} masquerade fully-random"),
        // To a container elsewhere by way of this machine: the answer has to come back here.
        format!("{ip} saddr != {network} {ip} daddr {network} masquerade fully-random"),
    ]
}

/// One rule for each direction of each pair that is not allowed.
fn between(parts: &BTreeMap<Which, Part>, allowed: &BTreeSet<Pair>) -> Vec<String> {
    let mut rules = Vec::new();
    for (own, part) in parts {
        for (other, target) in parts.iter().filter(|(other, _)| *other != own) {
            if allowed.contains(&pair(own.clone(), other.clone())) {
                continue;
            }
            for family in [Family::V4, Family::V6] {
                if let (Some(from), Some(to)) = (ranges(part, family), ranges(target, family)) {
                    let ip = word(family);
                    rules.push(format!("{ip} saddr {from} {ip} daddr {to} drop"));
                }
            }
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(config: &str, v4: &str, v6: Option<&str>) -> Part {
        Part {
            config: Config::parse(config.as_bytes()).expect(config),
            subnets: Subnets {
                v4: v4.parse().ok(),
                v6: v6.and_then(|v6| v6.parse().ok()),
            },
            masquerade: true,
        }
    }

    const DUAL: &str = r#"{"EnableIPv6":true,"Network":"10.5.0.0/16","IPv6Network":"fd00:5::/48"}"#;

    #[test]
    fn the_table_is_replaced_as_a_whole() {
        let own = part(DUAL, "10.5.3.0/24", Some("fd00:5:0:3::/64"));
        let parts = BTreeMap::from([(Which::Default, own.clone())]);
        assert_eq!(
            table(&parts, &BTreeSet::new()),
            "table inet strake_overlay
delete table inet strake_overlay
table inet strake_overlay {
  chain postrouting {
    type nat hook postrouting priority srcnat - 5; policy accept;
    meta mark & 0x4000 == 0x4000 return
    ip saddr 10.5.0.0/16 ip daddr 10.5.0.0/16 return
    ip6 saddr fd00:5::/48 ip6 daddr fd00:5::/48 return
    ip saddr != 10.5.0.0/16 ip daddr 10.5.3.0/24 return
    ip saddr 10.5.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random
    ip saddr != 10.5.0.0/16 ip daddr 10.5.0.0/16 masquerade fully-random
    ip6 saddr != fd00:5::/48 ip6 daddr fd00:5:0:3::/64 return
    ip6 saddr fd00:5::/48 ip6 daddr != ff00::/8 masquerade fully-random
    ip6 saddr != fd00:5::/48 ip6 daddr fd00:5::/48 masquerade fully-random
  }
}
"
        );
        let quiet = Part {
            masquerade: false,
            ..own
        };
        let parts = BTreeMap::from([(Which::Default, quiet)]);
        assert_eq!(table(&parts, &BTreeSet::new()), none());
    }

    #[test]
    fn networks_are_apart_unless_their_pair_is_allowed() {
        let named = |name: &str| Which::Named(name.parse().expect(name));
        let other = r#"{"Network":"10.6.0.0/16","Backend":{"Type":"vxlan","VNI":2}}"#;
        let third = r#"{"Network":"10.7.0.0/16","Backend":{"Type":"vxlan","VNI":3}}"#;
        let mut parts = BTreeMap::from([
            (Which::Default, part(DUAL, "10.5.3.0/24", None)),
            (named("db"), part(other, "10.6.3.0/24", None)),
            (named("web"), part(third, "10.7.3.0/24", None)),
        ]);
        for part in parts.values_mut() {
            part.masquerade = false;
        }
        let allowed = BTreeSet::from([pair(named("web"), named("db"))]);
        assert_eq!(
            table(&parts, &allowed),
            "table inet strake_overlay
delete table inet strake_overlay
table inet strake_overlay {
  chain forward {
    type filter hook forward priority filter - 5; policy accept;
    ip saddr 10.5.0.0/16 ip daddr 10.6.0.0/16 drop
    ip saddr 10.5.0.0/16 ip daddr 10.7.0.0/16 drop
    ip saddr 10.6.0.0/16 ip daddr 10.5.0.0/16 drop
    ip saddr 10.7.0.0/16 ip daddr 10.5.0.0/16 drop
  }
}
"
        );
        parts.get_mut(&named("db")).expect("it is there").masquerade = true;
        let text = table(&parts, &allowed);
        let all = "{ 10.5.0.0/16, 10.6.0.0/16, 10.7.0.0/16 }";
        let rule = format!("ip saddr {all} ip daddr {all} return");
        assert!(text.contains(&rule), "{text}");
    }
}
