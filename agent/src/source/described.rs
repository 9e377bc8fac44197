//! What a cloud or a config drive says about the machine: its documents, as they came.
//!
//! Kept like this between boots, and read anew each time. Pure.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use strake_cloud_config::metadata::{self, Ec2, Metadata};
use strake_cloud_config::network::{debian, nocloud, openstack, render};

use super::azure_disc;

/// Whose documents they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Ec2,
    Gce,
    Azure,
    OpenStack,
    DigitalOcean,
    Hetzner,
    NoCloud,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Kind::Ec2 => "ec2",
            Kind::Gce => "gce",
            Kind::Azure => "azure",
            Kind::OpenStack => "openstack",
            Kind::DigitalOcean => "digitalocean",
            Kind::Hetzner => "hetzner",
            Kind::NoCloud => "nocloud",
        }
    }
}

/// Bytes that are base64 in JSON and never shown: documents may hold secrets.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Document(pub Vec<u8>);

impl From<Document> for String {
    fn from(document: Document) -> String {
        STANDARD.encode(document.0)
    }
}

impl TryFrom<String> for Document {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Document, base64::DecodeError> {
        STANDARD.decode(text).map(Document)
    }
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    pub kind: Kind,
    /// By the names that [`Described::read`] knows.
    pub documents: BTreeMap<String, Document>,
}

impl Described {
    pub fn new(kind: Kind) -> Described {
        Described {
            kind,
            documents: BTreeMap::new(),
        }
    }

    pub fn add(&mut self, name: &str, bytes: Option<Vec<u8>>) {
        if let Some(bytes) = bytes {
            self.documents.insert(name.to_string(), Document(bytes));
        }
    }

    /// What the documents say, and which of them cannot be read.
    pub fn read(&self) -> (Metadata, Vec<String>) {
        let mut problems = Vec::new();
        let read = match self.kind {
            Kind::Ec2 => Ok(self.ec2()),
            Kind::Gce => self.whole("instance", metadata::gce),
            Kind::Azure => self.azure(),
            Kind::DigitalOcean => self.whole("v1.json", metadata::digitalocean),
            Kind::OpenStack => self.openstack(&mut problems),
            Kind::NoCloud => self.nocloud(&mut problems),
            Kind::Hetzner => self.hetzner(),
        };
        let found = read.unwrap_or_else(|error| {
            problems.push(error.to_string());
            Metadata::default()
        });
        (found, problems)
    }

    fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.documents.get(name).map(|document| &*document.0)
    }

    fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.bytes(name)?).ok()
    }

    fn whole(
        &self,
        name: &str,
        read: fn(&[u8]) -> Result<Metadata, metadata::Error>,
    ) -> Result<Metadata, metadata::Error> {
        self.bytes(name).map_or(Ok(Metadata::default()), read)
    }

    /// The service's document, else that of the provisioning disc.
    fn azure(&self) -> Result<Metadata, metadata::Error> {
        match self.bytes(azure_disc::DOCUMENT) {
            Some(bytes) => metadata::azure_disc(bytes).map(|found| found.metadata),
            None => self.whole("instance", metadata::azure),
        }
    }

    fn ec2(&self) -> Metadata {
        let keys = self.documents.range("public-keys/".to_string()..);
        let keys = keys.take_while(|(name, _)| name.starts_with("public-keys/"));
        let keys: Vec<String> = keys
            .filter_map(|(_, key)| String::from_utf8(key.0.clone()).ok())
            .collect();
        metadata::ec2(&Ec2 {
            hostname: self.text("hostname"),
            local_ipv4: self.text("local-ipv4"),
            public_ipv4: self.text("public-ipv4"),
            ipv6: self.text("ipv6"),
            public_keys: &keys,
        })
    }

    fn openstack(&self, problems: &mut Vec<String>) -> Result<Metadata, metadata::Error> {
        let Some(bytes) = self.bytes("meta_data.json") else {
            return Ok(Metadata::default());
        };
        let mut found = metadata::openstack(bytes)?.metadata;
        // Its own document names no address; the part that speaks EC2's language does.
        found.addresses = self.ec2().addresses;
        found.network = match (self.bytes("network_data.json"), self.text("network")) {
            (Some(data), _) => openstack::parse(data)
                .map(|links| render(&links))
                .unwrap_or_else(|_| {
                    problems.push("reading network_data.json".to_string());
                    Vec::new()
                }),
            (None, Some(text)) => render(&debian::parse(text)),
            (None, None) => Vec::new(),
        };
        Ok(found)
    }

    fn nocloud(&self, problems: &mut Vec<String>) -> Result<Metadata, metadata::Error> {
        let mut found = self.whole("meta-data", metadata::nocloud)?;
        if let Some(bytes) = self.bytes("network-config") {
            match std::str::from_utf8(bytes).ok().and_then(nocloud::parse) {
                Some(links) => found.network = render(&links),
                None => problems.push("reading network-config".to_string()),
            }
        }
        Ok(found)
    }

    /// NoCloud's keys in one document, with the network inside.
    fn hetzner(&self) -> Result<Metadata, metadata::Error> {
        let mut found = self.whole("metadata", metadata::nocloud)?;
        let document: Inside = self
            .text("metadata")
            .and_then(|text| serde_yaml::from_str(text).ok())
            .unwrap_or_default();
        if let Some(network) = document.network_config {
            // JSON is YAML.
            let links = nocloud::parse(&network.to_string()).unwrap_or_default();
            found.network = render(&links);
        }
        let address = document
            .public_ipv4
            .and_then(|text| text.trim().parse().ok());
        found.addresses.public_ipv4 = address.into();
        Ok(found)
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Inside {
    network_config: Option<serde_json::Value>,
    public_ipv4: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use strake_cloud_config::Address;

    fn described(kind: Kind, documents: &[(&str, &str)]) -> Described {
        let mut described = Described::new(kind);
        for (name, text) in documents {
            described.add(name, Some(text.as_bytes().to_vec()));
        }
        described
    }

    fn units(metadata: &Metadata) -> Vec<&str> {
        metadata.network.iter().map(|unit| &*unit.name).collect()
    }

    #[test]
    fn documents_come_back_from_json_as_they_were() {
        let mut described = described(Kind::OpenStack, &[("a", "text")]);
        described.add("b", Some(vec![0, 255]));
        let json = serde_json::to_string(&described).expect("JSON");
        assert!(json.starts_with("{\"kind\":\"openstack\""), "{json}");
        assert_eq!(
            serde_json::from_str::<Described>(&json).expect("JSON"),
            described
        );
        assert!(!format!("{described:?}").contains("text"));
    }

    #[test]
    fn openstack_has_its_network_and_the_addresses_of_the_ec2_part() {
        let network = r#"{"links": [{"id": "eth0", "type": "phy"}], "networks":
            [{"link": "eth0", "type": "ipv4", "ip_address": "10.0.0.9", "netmask": "255.0.0.0"}]}"#;
        let documents = [
            ("meta_data.json", r#"{"hostname": "n1"}"#),
            ("network_data.json", network),
            ("local-ipv4", "10.0.0.9"),
        ];
        let (found, problems) = described(Kind::OpenStack, &documents).read();
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(found.hostname.as_deref(), Some("n1"));
        assert_eq!(
            found.addresses.private_ipv4,
            Address::Known([10, 0, 0, 9].into())
        );
        assert_eq!(units(&found), ["10-eth0.network"]);
        let text = [
            ("meta_data.json", "{}"),
            ("network", "iface eth1 inet dhcp\n"),
        ];
        let (found, _) = described(Kind::OpenStack, &text).read();
        assert_eq!(units(&found), ["10-eth1.network"]);
    }

    #[test]
    fn hetzner_has_its_network_inside() {
        let text = "hostname: n4\npublic-ipv4: 192.0.2.4\nnetwork-config:\n  version: 1\n  \
                    config:\n  - type: physical\n    name: eth0\n    subnets:\n    \
                    - {type: dhcp}\n    - {type: static, address: '2001:db8::4/64'}\n";
        let (found, problems) = described(Kind::Hetzner, &[("metadata", text)]).read();
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(found.hostname.as_deref(), Some("n4"));
        assert_eq!(
            found.addresses.public_ipv4,
            Address::Known([192, 0, 2, 4].into())
        );
        assert_eq!(units(&found), ["10-eth0.network"]);
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let page = "<html>not here</html>";
        let cases = [
            (Kind::Gce, "instance"),
            (Kind::Azure, "instance"),
            (Kind::Azure, "ovf-env.xml"),
            (Kind::DigitalOcean, "v1.json"),
            (Kind::OpenStack, "meta_data.json"),
            (Kind::NoCloud, "meta-data"),
            (Kind::NoCloud, "network-config"),
            (Kind::Hetzner, "metadata"),
        ];
        for (kind, name) in cases {
            let (found, problems) = described(kind, &[(name, page)]).read();
            assert_eq!(found, Metadata::default(), "{kind:?}");
            assert_eq!(problems.len(), 1, "{kind:?} {name}: {problems:?}");
        }
        for kind in [Kind::Ec2, Kind::Gce, Kind::OpenStack, Kind::NoCloud] {
            assert_eq!(
                described(kind, &[]).read(),
                (Metadata::default(), Vec::new())
            );
        }
    }
}
