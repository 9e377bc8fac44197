//! `strake.overlay`, as the overlay service reads it: the network in flannel's JSON, beside what
//! concerns this machine alone.

use serde_json::{Map, Value, json};

use super::FileSpec;
use crate::config::{Overlay, OverlayNetwork};

/// Only what is set: the service knows its own defaults.
pub(super) fn file(overlay: &Overlay) -> Option<FileSpec> {
    if *overlay == Overlay::default() {
        return None;
    }
    let mut value = Map::new();
    put(&mut value, "interface", &overlay.interface);
    put(&mut value, "masquerade", &overlay.masquerade);
    put(&mut value, "prefix", &overlay.prefix);
    if !overlay.networks.is_empty() {
        value.insert(
            "networks".into(),
            overlay.networks.iter().map(named).collect(),
        );
    }
    let here_only = Overlay {
        interface: overlay.interface.clone(),
        masquerade: overlay.masquerade,
        prefix: overlay.prefix.clone(),
        networks: overlay.networks.clone(),
        ..Overlay::default()
    };
    if *overlay != here_only {
        value.insert("network".into(), network(overlay));
    }
    Some(FileSpec::text(
        "/etc/strake/overlay.json",
        format!("{}\n", Value::Object(value)),
        "strake.overlay",
    ))
}

/// docker is given the networks with names as soon as it runs.
pub(super) fn docker(overlay: &Overlay) -> Option<FileSpec> {
    if overlay.networks.is_empty() {
        return None;
    }
    Some(FileSpec::text(
        "/etc/systemd/system/docker.service.d/50-strake-networks.conf",
        "[Service]\nExecStartPost=-/usr/bin/strake overlay docker\n",
        "strake.overlay",
    ))
}

fn named(one: &OverlayNetwork) -> Value {
    let known = Overlay {
        network: one.network.clone(),
        ipv6_network: one.ipv6_network.clone(),
        subnet_length: one.subnet_length,
        ipv6_subnet_length: one.ipv6_subnet_length,
        backend: one.backend.clone(),
        vni: one.vni,
        ..Overlay::default()
    };
    let mut value = Map::new();
    value.insert("name".into(), json!(one.name));
    if known != Overlay::default() {
        value.insert("network".into(), network(&known));
    }
    if !one.allow.is_empty() {
        value.insert("allow".into(), json!(one.allow));
    }
    Value::Object(value)
}

fn network(overlay: &Overlay) -> Value {
    let mut value = Map::new();
    if overlay.network.is_none() && overlay.ipv6_network.is_some() {
        value.insert("EnableIPv4".into(), json!(false));
    }
    if overlay.ipv6_network.is_some() {
        value.insert("EnableIPv6".into(), json!(true));
    }
    put(&mut value, "Network", &overlay.network);
    put(&mut value, "IPv6Network", &overlay.ipv6_network);
    put(&mut value, "SubnetLen", &overlay.subnet_length);
    put(&mut value, "IPv6SubnetLen", &overlay.ipv6_subnet_length);
    let mut backend = Map::new();
    let kind = overlay.backend.as_deref().unwrap_or("vxlan");
    backend.insert("Type".into(), json!(kind));
    match kind {
        "vxlan" => {
            put(&mut backend, "VNI", &overlay.vni);
            put(&mut backend, "Port", &overlay.port);
            put(&mut backend, "MTU", &overlay.mtu);
            put(&mut backend, "DirectRouting", &overlay.direct_routing);
        }
        "wireguard" => {
            put(&mut backend, "ListenPort", &overlay.port);
            put(&mut backend, "MTU", &overlay.mtu);
            put(&mut backend, "Mode", &overlay.mode);
            let keepalive = &overlay.keepalive;
            put(&mut backend, "PersistentKeepaliveInterval", keepalive);
        }
        "ipip" => put(&mut backend, "DirectRouting", &overlay.direct_routing),
        _ => {}
    }
    value.insert("Backend".into(), Value::Object(backend));
    Value::Object(value)
}

fn put(map: &mut Map<String, Value>, key: &str, value: &Option<impl serde::Serialize>) {
    if let Some(value) = value {
        map.insert(key.into(), json!(value));
    }
}
