//! `strake.overlay`, as the overlay service reads it: the network in flannel's JSON, beside what
//! concerns this machine alone.

use serde_json::{Map, Value, json};

use super::FileSpec;
use crate::config::Overlay;

/// Only what is set: the service knows its own defaults.
pub(super) fn file(overlay: &Overlay) -> Option<FileSpec> {
    if *overlay == Overlay::default() {
        return None;
    }
    let mut value = Map::new();
    put(&mut value, "interface", &overlay.interface);
    put(&mut value, "masquerade", &overlay.masquerade);
    put(&mut value, "prefix", &overlay.prefix);
    let here_only = Overlay {
        interface: overlay.interface.clone(),
        masquerade: overlay.masquerade,
        prefix: overlay.prefix.clone(),
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
