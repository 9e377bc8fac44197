//! How this machine takes part: `/etc/strake/overlay.json`, as `strake.overlay` renders it, and
//! flannel's own variables before it, as `coreos.flannel` does.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::client::DEFAULT_PREFIX;
use super::kernel::Choice;
use super::named::{Named, Which};
use crate::root::Root;
use crate::store::etcd;

pub const PATH: &str = "/etc/strake/overlay.json";
const SUBNET_FILE: &str = "/run/flannel/subnet.env";

#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Interface, or one of its addresses.
    pub interface: Option<String>,
    /// What peers send to, where it is not the interface's own address.
    pub public_address: Option<IpAddr>,
    pub prefix: String,
    pub masquerade: bool,
    pub subnet_file: String,
    /// flannel's JSON, written when the store has none.
    pub network: Option<Value>,
    /// Networks with names, beside the one without.
    pub networks: Vec<Named>,
    pub etcd: etcd::Settings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    interface: Option<String>,
    prefix: Option<String>,
    masquerade: Option<bool>,
    network: Option<Value>,
    networks: Vec<Named>,
}

impl Settings {
    /// `variable` finds one of the environment.
    pub fn read(root: &Root, variable: impl Fn(&str) -> Option<String>) -> Result<Settings> {
        let text = root
            .read_optional(PATH)
            .with_context(|| format!("reading {PATH}"))?;
        let file: File = match text {
            Some(text) => {
                serde_json::from_str(&text).with_context(|| format!("understanding {PATH}"))?
            }
            None => File::default(),
        };
        let flannels = |name: &str| {
            let value = variable(&format!("FLANNELD_{name}"));
            value.filter(|value| !value.is_empty())
        };
        let masquerade = match flannels("IP_MASQ") {
            Some(text) => truth(&text).context("understanding FLANNELD_IP_MASQ")?,
            None => file.masquerade.unwrap_or(true),
        };
        let public_address = flannels("PUBLIC_IP")
            .map(|text| text.parse().context("understanding FLANNELD_PUBLIC_IP"))
            .transpose()?;
        Ok(Settings {
            interface: flannels("IFACE").or(file.interface),
            public_address,
            prefix: flannels("ETCD_PREFIX")
                .or(file.prefix)
                .unwrap_or_else(|| DEFAULT_PREFIX.to_string()),
            masquerade,
            subnet_file: flannels("SUBNET_FILE").unwrap_or_else(|| SUBNET_FILE.to_string()),
            network: file.network,
            networks: file.networks,
            etcd: match flannels("ETCD_ENDPOINTS") {
                Some(endpoints) => etcd::Settings {
                    endpoints: endpoints.split(',').map(str::to_string).collect(),
                    ca: flannels("ETCD_CAFILE").map(PathBuf::from),
                    cert: flannels("ETCD_CERTFILE").map(PathBuf::from),
                    key: flannels("ETCD_KEYFILE").map(PathBuf::from),
                },
                None => etcd::Settings::read(root)?,
            },
        })
    }

    /// As they are for a network with a name.
    pub fn of(&self, which: &Which, network: Option<Value>) -> Settings {
        Settings {
            prefix: which.prefix(&self.prefix),
            subnet_file: which.subnet_file(&self.subnet_file),
            network,
            networks: Vec::new(),
            ..self.clone()
        }
    }

    /// `towards` is the address from which this machine reaches its cluster, if that is known.
    pub fn choice(&self, towards: Option<IpAddr>) -> Choice {
        match &self.interface {
            Some(text) => match text.parse() {
                Ok(address) => Choice::Address(address),
                Err(_) => Choice::Name(text.clone()),
            },
            None => towards.map_or(Choice::Default, Choice::Address),
        }
    }
}

fn truth(text: &str) -> Result<bool> {
    match text {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        other => anyhow::bail!("{other:?} is neither true nor false"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, variables: &[(&str, &str)]) -> Result<Settings> {
        let dir = tempfile::tempdir().expect("temp dir");
        std::fs::create_dir_all(dir.path().join("etc/strake")).expect("dir");
        std::fs::write(dir.path().join("etc/strake/overlay.json"), file).expect("file");
        let variable = |name: &str| {
            let mut all = variables.iter();
            all.find(|(one, _)| *one == name)
                .map(|(_, value)| value.to_string())
        };
        Settings::read(&Root::new(dir.path()), variable)
    }

    #[test]
    fn flannels_variables_come_before_the_file() {
        let file = r#"{"interface":"eth1","prefix":"/a","masquerade":true}"#;
        let settings = read(file, &[]).expect("settings");
        assert_eq!(settings.choice(None), Choice::Name("eth1".to_string()));
        assert_eq!(settings.prefix, "/a");
        let variables = [
            ("FLANNELD_IFACE", "10.0.0.1"),
            ("FLANNELD_ETCD_PREFIX", "/b"),
            ("FLANNELD_IP_MASQ", "false"),
            ("FLANNELD_ETCD_ENDPOINTS", "http://a:1,http://b:1"),
            ("FLANNELD_PUBLIC_IP", ""),
        ];
        let settings = read(file, &variables).expect("settings");
        let address = "10.0.0.1".parse().expect("address");
        assert_eq!(settings.choice(None), Choice::Address(address));
        assert_eq!(
            (settings.prefix.as_str(), settings.masquerade),
            ("/b", false)
        );
        assert_eq!(settings.etcd.endpoints, ["http://a:1", "http://b:1"]);
        assert_eq!(settings.public_address, None);
    }

    #[test]
    fn without_anything_flannels_defaults_hold() {
        let settings = read("{}", &[]).expect("settings");
        assert_eq!(settings.prefix, "/coreos.com/network");
        assert_eq!(settings.subnet_file, "/run/flannel/subnet.env");
        assert!(settings.masquerade);
        assert_eq!(settings.choice(None), Choice::Default);
    }

    /// What `strake.overlay` of a cloud-config becomes is what is read here.
    #[test]
    fn the_file_of_a_cloud_config_is_understood() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../cloud-config/tests/fixtures/valid/overlay.yaml.expected"
        );
        let plan = std::fs::read_to_string(path).expect("the plan");
        let file = plan.lines().find_map(|line| line.strip_prefix("    | "));
        let settings = read(file.expect("the file's text"), &[]).expect("settings");
        assert_eq!(settings.interface.as_deref(), Some("eth1"));
        assert!(!settings.masquerade);
        let network = settings.network.expect("a network").to_string();
        let config = crate::overlay::config::Config::parse(network.as_bytes()).expect("config");
        assert_eq!(config.notes, Vec::<String>::new());
        let ranges = config.v4.expect("IPv4");
        assert_eq!(
            (ranges.network.to_string().as_str(), ranges.length()),
            ("10.5.0.0/16", 26)
        );
        assert!(config.v6.is_some());
    }

    #[test]
    fn what_is_wrong_is_told() {
        assert!(read(r#"{"colour":1}"#, &[]).is_err());
        for (name, value) in [("FLANNELD_IP_MASQ", "maybe"), ("FLANNELD_PUBLIC_IP", "x")] {
            let error = read("{}", &[(name, value)]).expect_err(name);
            assert!(format!("{error:#}").contains(name), "{error:#}");
        }
    }
}
