//! Pairs of networks that are allowed, for docker's own rules: pure.
//!
//! docker drops what goes from one of its bridges to another one, whatever other tables say. Its
//! chain `DOCKER-USER` comes before that and is meant for this: there our rules are, known by their
//! comment, and nothing else of it is touched.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::cidr::Family;
use super::named::{Pair, Which};
use super::rules::{Part, ranges, word};

pub const CHAIN: &str = "DOCKER-USER";
const COMMENT: &str = "strake overlay:";

/// One rule for each direction, by its comment, which says all of it.
fn wanted(
    family: Family,
    parts: &BTreeMap<Which, Part>,
    allowed: &BTreeSet<Pair>,
) -> BTreeMap<String, String> {
    let mut rules = BTreeMap::new();
    for (one, other) in allowed {
        let range = |which| parts.get(which).and_then(|part| ranges(part, family));
        let (Some(one), Some(other)) = (range(one), range(other)) else {
            continue;
        };
        for (from, to) in [(one, other), (other, one)] {
            let ip = word(family);
            let comment = format!("{COMMENT} {from} to {to}");
            rules.insert(comment, format!("{ip} saddr {from} {ip} daddr {to} accept"));
        }
    }
    rules
}

/// What brings the chain, as nftables lists it in JSON, to what it has to be; nothing when it is.
pub fn changes(
    family: Family,
    listed: &Value,
    parts: &BTreeMap<Which, Part>,
    allowed: &BTreeSet<Pair>,
) -> Option<String> {
    let mut missing = wanted(family, parts, allowed);
    let (ip, mut text) = (word(family), String::new());
    for item in listed["nftables"].as_array().into_iter().flatten() {
        let rule = &item["rule"];
        let comment = rule["comment"].as_str().unwrap_or_default();
        if !comment.starts_with(COMMENT) || missing.remove(comment).is_some() {
            continue;
        }
        if let Some(handle) = rule["handle"].as_u64() {
            text += &format!("delete rule {ip} filter {CHAIN} handle {handle}\n");
        }
    }
    for (comment, rule) in missing {
        text += &format!("insert rule {ip} filter {CHAIN} {rule} comment \"{comment}\"\n");
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::overlay::config::Config;
    use crate::overlay::lease::Subnets;
    use crate::overlay::named::pair;

    #[test]
    fn only_rules_of_ours_are_put_there_and_taken_away() {
        let part = |network: &str| Part {
            config: Config::parse(json!({"Network": network}).to_string().as_bytes())
                .expect(network),
            subnets: Subnets { v4: None, v6: None },
            masquerade: true,
        };
        let db = || Which::Named("db".parse().expect("name"));
        let parts = BTreeMap::from([
            (Which::Default, part("10.5.0.0/16")),
            (db(), part("10.6.0.0/16")),
        ]);
        let allowed = BTreeSet::from([pair(db(), Which::Default)]);
        let rule =
            |handle: u64, comment: &str| json!({"rule": {"handle": handle, "comment": comment}});
        let listed = json!({"nftables": [
            {"metainfo": {"version": "1.1"}},
            rule(3, "somebody's"),
            rule(4, "strake overlay: 10.5.0.0/16 to 10.6.0.0/16"),
            rule(5, "strake overlay: 10.7.0.0/16 to 10.6.0.0/16"),
        ]});
        let text = changes(Family::V4, &listed, &parts, &allowed).expect("changes");
        assert_eq!(
            text,
            "delete rule ip filter DOCKER-USER handle 5\n\
             insert rule ip filter DOCKER-USER ip saddr 10.6.0.0/16 ip daddr 10.5.0.0/16 accept \
             comment \"strake overlay: 10.6.0.0/16 to 10.5.0.0/16\"\n"
        );
        let both = json!({"nftables": [
            rule(4, "strake overlay: 10.5.0.0/16 to 10.6.0.0/16"),
            rule(6, "strake overlay: 10.6.0.0/16 to 10.5.0.0/16"),
        ]});
        assert_eq!(changes(Family::V4, &both, &parts, &allowed), None);
        assert_eq!(changes(Family::V6, &json!({}), &parts, &allowed), None);
        let none = changes(Family::V4, &both, &parts, &BTreeSet::new()).expect("changes");
        assert_eq!(none.matches("delete rule").count(), 2);
    }
}
