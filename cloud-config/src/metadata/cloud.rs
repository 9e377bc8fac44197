//! The metadata services of EC2, GCE, Azure and DigitalOcean.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use super::{Error, Metadata, hostname, keys};
use crate::context::{Address, Addresses};
use crate::network;

/// The answers of the single requests EC2 takes; `None` for one that was not found.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ec2<'a> {
    pub hostname: Option<&'a str>,
    pub local_ipv4: Option<&'a str>,
    pub public_ipv4: Option<&'a str>,
    pub ipv6: Option<&'a str>,
    /// Each `public-keys/N/openssh-key`.
    pub public_keys: &'a [String],
}

pub fn ec2(answers: &Ec2<'_>) -> Metadata {
    Metadata {
        hostname: answers.hostname.and_then(hostname),
        ssh_authorized_keys: keys(answers.public_keys.iter().map(String::as_str)),
        addresses: Addresses {
            public_ipv4: v4(answers.public_ipv4),
            private_ipv4: v4(answers.local_ipv4),
            public_ipv6: v6(answers.ipv6),
            private_ipv6: Address::Unknown,
        },
        network: Vec::new(),
    }
}

/// `computeMetadata/v1/instance/?recursive=true`.
pub fn gce(bytes: &[u8]) -> Result<Metadata, Error> {
    let document = json("GCE", bytes)?;
    let nic = &document["networkInterfaces"][0];
    let attributes = &document["attributes"];
    // Each line names a user before the key.
    let lines = ["ssh-keys", "sshKeys"]
        .iter()
        .filter_map(|name| attributes[*name].as_str());
    let keyed = lines
        .flat_map(str::lines)
        .filter_map(|line| Some(line.split_once(':')?.1));
    Ok(Metadata {
        hostname: document["hostname"].as_str().and_then(hostname),
        ssh_authorized_keys: keys(keyed),
        addresses: Addresses {
            public_ipv4: v4(nic["accessConfigs"][0]["externalIp"].as_str()),
            private_ipv4: v4(nic["ip"].as_str()),
            public_ipv6: v6(nic["ipv6AccessConfigs"][0]["externalIpv6"]
                .as_str()
                .or(nic["ipv6"][0].as_str())),
            private_ipv6: Address::Unknown,
        },
        network: Vec::new(),
    })
}

/// `metadata/instance` of the instance metadata service.
pub fn azure(bytes: &[u8]) -> Result<Metadata, Error> {
    let document = json("Azure", bytes)?;
    let compute = &document["compute"];
    let nic = &document["network"]["interface"][0];
    let name = compute["osProfile"]["computerName"]
        .as_str()
        .or(compute["name"].as_str());
    let own = &nic["ipv4"]["ipAddress"][0];
    let own_v6 = &nic["ipv6"]["ipAddress"][0];
    let public_keys = compute["publicKeys"].as_array().into_iter().flatten();
    Ok(Metadata {
        hostname: name.and_then(hostname),
        ssh_authorized_keys: keys(public_keys.filter_map(|key| key["keyData"].as_str())),
        addresses: Addresses {
            public_ipv4: v4(own["publicIpAddress"].as_str()),
            private_ipv4: v4(own["privateIpAddress"].as_str()),
            public_ipv6: v6(own_v6["publicIpAddress"].as_str()),
            private_ipv6: v6(own_v6["privateIpAddress"].as_str()),
        },
        network: Vec::new(),
    })
}

/// `metadata/v1.json`.
pub fn digitalocean(bytes: &[u8]) -> Result<Metadata, Error> {
    let document = json("DigitalOcean", bytes)?;
    let public = &document["interfaces"]["public"][0];
    let private = &document["interfaces"]["private"][0];
    let public_keys = document["public_keys"].as_array().into_iter().flatten();
    Ok(Metadata {
        hostname: document["hostname"].as_str().and_then(hostname),
        ssh_authorized_keys: keys(public_keys.filter_map(Value::as_str)),
        addresses: Addresses {
            public_ipv4: v4(public["ipv4"]["ip_address"].as_str()),
            private_ipv4: v4(private["ipv4"]["ip_address"].as_str()),
            public_ipv6: v6(public["ipv6"]["ip_address"].as_str()),
            private_ipv6: v6(private["ipv6"]["ip_address"].as_str()),
        },
        network: network::render(&network::digitalocean::parse(&document)),
    })
}

fn json(cloud: &'static str, bytes: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Json(cloud, error))
}

fn v4(text: Option<&str>) -> Address<Ipv4Addr> {
    text.and_then(|text| text.trim().parse().ok()).into()
}

fn v6(text: Option<&str>) -> Address<Ipv6Addr> {
    text.and_then(|text| text.trim().parse().ok()).into()
}
