//! The description of a cluster (`examples/cluster.yaml`) and what each machine's cloud-config
//! becomes from it. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::switch::{PORTS, Port};

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Cluster {
    /// Machines, 1 to 32.
    pub machines: Port,
    /// MiB of memory of each, at least 512. Default 2048.
    #[serde(default = "default_memory")]
    pub memory: u32,
    /// Processors of each. Default 2.
    #[serde(default = "default_processors")]
    pub processors: u32,
    /// GiB of disk of each, at least 8. Default 20.
    #[serde(default = "default_disk")]
    pub disk: u32,
    /// Ports of each machine that the host can reach. Default none but ssh.
    #[serde(default)]
    pub publish: Vec<u16>,
    /// Text with `{{names}}` of [`Machine::facts`].
    pub cloud_config: String,
}

fn default_memory() -> u32 {
    2048
}

fn default_processors() -> u32 {
    2
}

fn default_disk() -> u32 {
    20
}

#[derive(Debug, thiserror::Error)]
pub enum BadCluster {
    #[error("the cluster's description is wrong:\n{0}")]
    Syntax(String),
    #[error("{what} is {value}; it must be {bounds}")]
    OutOfBounds {
        what: &'static str,
        value: u64,
        bounds: &'static str,
    },
    #[error("the cloud-config has {{{{{name}}}}}, which is none of {known}")]
    UnknownName { name: String, known: String },
}

/// The network of the lab's switch; machine `n` is at `10.9.0.(10 + n)`.
const NETWORK: &str = "10.9.0";

impl Cluster {
    pub fn parse(text: &str) -> Result<Self, BadCluster> {
        let cluster: Self =
            serde_yaml::from_str(text).map_err(|error| BadCluster::Syntax(error.to_string()))?;
        cluster.with_machines(cluster.machines)?;
        let out = |what, value: u32, bounds| {
            Err(BadCluster::OutOfBounds {
                what,
                value: value.into(),
                bounds,
            })
        };
        match cluster {
            Self { memory: ..512, .. } => out("memory", cluster.memory, "512 MiB or more"),
            Self { disk: ..8, .. } => out("disk", cluster.disk, "8 GiB or more"),
            Self { processors: 0, .. } => out("processors", 0, "1 or more"),
            _ => Ok(cluster),
        }
    }

    pub fn with_machines(&self, machines: Port) -> Result<Self, BadCluster> {
        if !(1..=PORTS).contains(&machines) {
            let value = machines.into();
            return Err(BadCluster::OutOfBounds {
                what: "machines",
                value,
                bounds: "1 to 32",
            });
        }
        Ok(Self {
            machines,
            ..self.clone()
        })
    }
}

/// What the lab knows about one machine before it boots.
#[derive(Debug, Clone)]
pub struct Machine<'a> {
    pub number: Port,
    pub ssh_key: &'a str,
    pub registry: &'a str,
    /// What `strake cluster init` said once for all of them, on one line.
    pub membership: &'a str,
}

impl Machine<'_> {
    pub fn name(&self) -> String {
        name(self.number)
    }

    /// Of the interface on the lab's switch.
    pub fn mac(&self) -> String {
        format!("52:54:00:09:00:{:02x}", self.number)
    }

    pub fn address(&self) -> String {
        address(self.number)
    }

    fn facts(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("number", self.number.to_string()),
            ("name", self.name()),
            ("address", self.address()),
            ("mac", self.mac()),
            ("ssh_key", self.ssh_key.to_owned()),
            ("registry", self.registry.to_owned()),
            ("cluster", self.membership.to_owned()),
        ])
    }

    /// The cloud-config with its names replaced. Other braces stay as they are.
    pub fn user_data(&self, cluster: &Cluster) -> Result<String, BadCluster> {
        let facts = self.facts();
        let mut rest = cluster.cloud_config.as_str();
        let mut text = String::new();
        while let Some((before, name, after)) = placeholder(rest) {
            let value = facts.get(name).ok_or_else(|| BadCluster::UnknownName {
                name: name.to_owned(),
                known: facts.keys().copied().collect::<Vec<_>>().join(", "),
            })?;
            text.extend([before, value]);
            rest = after;
        }
        Ok(text + rest)
    }
}

fn address(number: Port) -> String {
    format!("{NETWORK}.{}", 10 + number)
}

/// Machines that are members of etcd: three where there are that many, as one of three may fail.
pub(super) fn seeds(machines: Port) -> Vec<String> {
    let members = if machines < 3 { 1 } else { 3 };
    (1..=members).map(address).collect()
}

/// The value of `strake.cluster` from what `strake cluster init` printed, as JSON, which is YAML
/// wherever it stands.
pub(super) fn membership(part: &str) -> Result<String, BadCluster> {
    let syntax = |error: &dyn std::fmt::Display| BadCluster::Syntax(error.to_string());
    let part: serde_json::Value = serde_yaml::from_str(part).map_err(|error| syntax(&error))?;
    serde_json::to_string(&part["strake"]["cluster"]).map_err(|error| syntax(&error))
}

pub fn name(number: Port) -> String {
    format!("node{number}")
}

/// Text before the first `{{name}}`, the name, and the rest. `{{.Format}}` of docker is not one.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let start = from + text[from..].find("{{")?;
        let end = start + text[start..].find("}}")?;
        let name = &text[start + 2..end];
        if !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        {
            return Some((&text[..start], name, &text[end + 2..]));
        }
        from = start + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: Machine<'_> = Machine {
        number: 12,
        ssh_key: "ssh-ed25519 AAAA lab",
        registry: "10.0.2.2:5000",
        membership: "{\"name\":\"lab\"}",
    };

    fn cluster(cloud_config: &str) -> Cluster {
        Cluster::parse(&format!("machines: 3\ncloud-config: '{cloud_config}'\n")).unwrap()
    }

    #[test]
    fn the_example_is_a_good_description() {
        let text = include_str!("../../../examples/cluster.yaml");
        let cluster = Cluster::parse(text).unwrap();
        let user_data = NODE.user_data(&cluster).unwrap();
        assert!(user_data.starts_with("#cloud-config\n"), "{user_data}");
        assert!(user_data.contains("10.9.0.22"), "{user_data}");
        assert!(!user_data.contains("{{"), "{user_data}");
    }

    #[test]
    fn what_init_prints_becomes_one_line() {
        let part = "strake:\n  cluster:\n    name: lab\n    ca: |\n      one\n      two\n";
        let line = membership(part).unwrap();
        assert_eq!(line, r#"{"ca":"one\ntwo\n","name":"lab"}"#);
        assert_eq!(seeds(2), ["10.9.0.11"]);
        assert_eq!(seeds(5), ["10.9.0.11", "10.9.0.12", "10.9.0.13"]);
    }

    #[test]
    fn names_are_replaced_and_other_braces_kept() {
        for (text, expected) in [
            (
                "{{name}} at {{address}}, {{mac}}",
                "node12 at 10.9.0.22, 52:54:00:09:00:0c",
            ),
            (
                "docker ps --format {{.Names}} {{number}}",
                "docker ps --format {{.Names}} 12",
            ),
            ("{{ {{", "{{ {{"),
        ] {
            assert_eq!(NODE.user_data(&cluster(text)).unwrap(), expected);
        }
        let error = NODE
            .user_data(&cluster("{{nmae}}"))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("the cloud-config has {{nmae}}, which is none of"),
            "{error}"
        );
    }

    #[test]
    fn bad_descriptions_are_refused_with_the_reason() {
        for (text, expected) in [
            (
                "machines: 0\ncloud-config: ''\n",
                "machines is 0; it must be 1 to 32",
            ),
            (
                "machines: 33\ncloud-config: ''\n",
                "machines is 33; it must be 1 to 32",
            ),
            (
                "machines: 1\nmemory: 64\ncloud-config: ''\n",
                "memory is 64",
            ),
            ("machines: 1\ndisk: 4\ncloud-config: ''\n", "disk is 4"),
            (
                "machines: 1\nprocessors: 0\ncloud-config: ''\n",
                "processors is 0",
            ),
            ("machines: 1\n", "cloud-config"),
            ("machines: 1\nmachine: 2\ncloud-config: ''\n", "machine"),
        ] {
            let error = Cluster::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }
}
