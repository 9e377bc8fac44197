//! Exchanges with flannel over one store, both ways, from texts written by hand: what flannel has
//! written is read, and what Strake writes is what flannel reads.
//!
//! A line is a writer (`flannel` or `strake`), a key below the network's prefix and its value, or
//! what the kernel is then told. `MAC4`, `MAC6` and `KEY` are this machine's.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use serde::Deserialize;
use strake_agent::overlay::cidr::{Cidr, Family};
use strake_agent::overlay::client::{Client, DEFAULT_PREFIX, TTL};
use strake_agent::overlay::config::Config;
use strake_agent::overlay::desired::{Own, desired};
use strake_agent::overlay::kernel::Uplink;
use strake_agent::overlay::lease::{Lease, Subnets};
use strake_agent::overlay::mac::Mac;
use strake_agent::overlay::place::{Identity, offer};
use strake_agent::overlay::state::{State, changes};
use strake_agent::overlay::wire::{Secret, load_or_make};
use strake_agent::root::Root;
use strake_agent::store::memory::Memory;
use strake_agent::store::{Store, Transaction, Write};

const MACHINE: &str = "m1";

/// What flannel takes a lease for: it passes over every other member.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReadByFlannel {
    #[serde(rename = "PublicIP")]
    public: Ipv4Addr,
    #[serde(rename = "PublicIPv6")]
    public_v6: Option<Ipv6Addr>,
    backend_type: String,
    backend_data: Option<DataReadByFlannel>,
    backend_v6_data: Option<DataReadByFlannel>,
}

#[derive(Debug, Deserialize)]
struct DataReadByFlannel {
    #[serde(rename = "VNI")]
    vni: Option<u32>,
    #[serde(rename = "VtepMAC")]
    mac: Option<String>,
    #[serde(rename = "PublicKey")]
    key: Option<String>,
}

fn uplink() -> Uplink {
    let on = |text: &str, length: u8| {
        let address: IpAddr = text.parse().expect(text);
        (address, Cidr::around(address, length).expect(text))
    };
    Uplink {
        index: 2,
        name: "eth0".to_string(),
        mtu: 1500,
        addresses: vec![on("192.168.7.12", 24), on("fd01::12", 64)],
    }
}

async fn put(store: &Memory, key: &str, value: &str) {
    let transaction = Transaction {
        compares: Vec::new(),
        writes: vec![Write::Put {
            key: format!("{DEFAULT_PREFIX}/{key}"),
            value: value.as_bytes().to_vec(),
            lease: None,
        }],
    };
    store.commit(&transaction).await.expect("written");
}

fn own_names(text: &str, key: &Secret) -> String {
    let mac = |family| Mac::of_machine(MACHINE, 1, family).to_string();
    text.replace("MAC4", &mac(Family::V4))
        .replace("MAC6", &mac(Family::V6))
        .replace("\"KEY\"", &format!("\"{}\"", key.public()))
}

/// What Strake writes and tells the kernel, in the exchange's own form.
async fn replay(name: &str, text: &str, key: Secret) -> Vec<String> {
    let store = Memory::default();
    for line in text
        .lines()
        .filter_map(|line| line.strip_prefix("flannel "))
    {
        let (at, value) = line.split_once(' ').expect(name);
        put(&store, at, value).await;
    }
    let client = Client::new(store, DEFAULT_PREFIX, TTL);
    let config = client.snapshot().await.expect(name).config.expect(name);
    let config: Config = client.parse_config(&config).expect(name);
    let identity = Identity {
        machine: MACHINE,
        public: None,
        key: Some(key),
    };
    let uplink = uplink();
    let none = Subnets { v4: None, v6: None };
    let wanted = offer(&config, identity, &uplink, none).expect(name);
    let held = client.acquire(&config, &wanted, &mut || 0).await;
    let held = held.expect(name);
    let mut told = Vec::new();
    let mut peers = BTreeMap::new();
    for entry in client.snapshot().await.expect(name).leases {
        let at = entry.key.strip_prefix(&client.subnets()).expect(name);
        if entry.key == held.key {
            let value = String::from_utf8_lossy(&entry.value);
            told.push(format!("strake subnets/{at} {value}"));
        } else {
            let lease = Lease::parse(at, &entry.value).expect(name);
            peers.insert(at.to_string(), lease);
        }
    }
    let own = Own {
        lease: held.lease,
        links: uplink.addresses.iter().map(|(_, link)| *link).collect(),
    };
    let state = desired(&config, &own, &peers).state;
    let all = changes(&State::default(), &state);
    told.extend(all.iter().map(|change| format!("kernel {change}")));
    told
}

#[tokio::test]
async fn each_side_reads_what_the_other_has_written() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/overlay_exchange");
    let root = tempfile::tempdir().expect("temp dir");
    let key = load_or_make(&Root::new(root.path())).expect("a key");
    let mut count = 0;
    for file in std::fs::read_dir(dir).expect("exchanges") {
        let path = file.expect("an exchange").path();
        let text = std::fs::read_to_string(&path).expect("an exchange");
        let name = path.to_string_lossy().into_owned();
        let expected: Vec<String> = text
            .lines()
            .filter(|line| line.starts_with("strake ") || line.starts_with("kernel "))
            .map(|line| own_names(line, &key))
            .collect();
        assert_eq!(replay(&name, &text, key).await, expected, "{name}");
        let own = expected
            .iter()
            .find_map(|line| line.strip_prefix("strake "));
        let (_, value) = own.and_then(|line| line.split_once(' ')).expect(&name);
        let read: ReadByFlannel = serde_json::from_str(value).expect(&name);
        is_whole(&name, &read);
        count += 1;
    }
    assert_eq!(count, 5);
}

/// What flannel needs of a lease to reach the machine.
fn is_whole(name: &str, read: &ReadByFlannel) {
    assert_eq!(read.public, Ipv4Addr::new(192, 168, 7, 12), "{name}");
    let v6 = name.contains("both_families");
    assert_eq!(read.public_v6.is_some(), v6, "{name}");
    let data = [read.backend_data.as_ref(), read.backend_v6_data.as_ref()];
    let data: Vec<&DataReadByFlannel> = data.into_iter().flatten().collect();
    let parts = match read.backend_type.as_str() {
        "vxlan" => usize::from(v6) + 1,
        "wireguard" => 1,
        _ => 0,
    };
    assert_eq!(data.len(), parts, "{name}");
    for one in data {
        let is_vxlan = one.vni == Some(1) && one.mac.as_deref().is_some_and(|mac| mac.len() == 17);
        let is_wireguard = one.key.as_deref().is_some_and(|key| key.len() == 44);
        assert!(is_vxlan ^ is_wireguard, "{name}: {one:?}");
    }
}
