//! How packets get from machine to machine: the config's `Backend`, read.

use serde_json::{Map, Value};

use super::config::{Reader, find};
use super::wire::Secret;

/// flannel's own.
pub const DEFAULT_VNI: u32 = 1;
/// The kernel's port for vxlan, which is not IANA's.
pub const DEFAULT_PORT: u16 = 8472;
/// wireguard's usual one, and flannel's for the second device.
const WIREGUARD_PORT: u16 = 51820;
const WIREGUARD_PORT_V6: u16 = 51821;
const KINDS: &str = "vxlan, host-gw, wireguard and ipip";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    Vxlan(Vxlan),
    HostGw,
    Wireguard(Wireguard),
    Ipip(Ipip),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vxlan {
    pub vni: u32,
    pub port: u16,
    pub gbp: bool,
    pub learning: bool,
    /// Peers on the same link are reached without the tunnel.
    pub direct_routing: bool,
    /// Of packets on the uplink, the tunnel's headers included. Otherwise the uplink's own.
    pub mtu: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wireguard {
    /// One that all machines know, mixed into each connection.
    pub preshared: Option<Secret>,
    pub port: u16,
    /// Of the second device, where each family has one.
    pub port_v6: u16,
    /// As vxlan's.
    pub mtu: Option<u32>,
    pub mode: Mode,
    /// Seconds between packets that keep the way through a firewall open; 0: none.
    pub keepalive: u16,
}

/// Which devices there are, and over which family packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Each family has a device of its own, over its own family.
    Separate,
    /// One device, over the family by which the peer is more likely reached.
    Auto,
    V4,
    V6,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ipip {
    /// As vxlan's.
    pub direct_routing: bool,
}

impl Default for Vxlan {
    fn default() -> Vxlan {
        Vxlan {
            vni: DEFAULT_VNI,
            port: DEFAULT_PORT,
            gbp: false,
            learning: false,
            direct_routing: false,
            mtu: None,
        }
    }
}

impl Default for Wireguard {
    fn default() -> Wireguard {
        Wireguard {
            preshared: None,
            port: WIREGUARD_PORT,
            port_v6: WIREGUARD_PORT_V6,
            mtu: None,
            mode: Mode::Separate,
            keepalive: 0,
        }
    }
}

impl Backend {
    /// flannel's word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Backend::Vxlan(_) => "vxlan",
            Backend::HostGw => "host-gw",
            Backend::Wireguard(_) => "wireguard",
            Backend::Ipip(_) => "ipip",
        }
    }
}

const VXLAN_KEYS: [&str; 7] = [
    "Type",
    "VNI",
    "Port",
    "GBP",
    "Learning",
    "DirectRouting",
    "MTU",
];
const WIREGUARD_KEYS: [&str; 7] = [
    "Type",
    "PSK",
    "ListenPort",
    "ListenPortV6",
    "MTU",
    "Mode",
    "PersistentKeepaliveInterval",
];
const WITHIN: &str = "Backend.";

impl Reader {
    pub(super) fn backend(&mut self, map: &Map<String, Value>) -> Option<Backend> {
        let Some(value) = find(map, "Backend").filter(|value| !value.is_null()) else {
            self.note("no Backend is named: taking vxlan (flannel would take udp)".to_string());
            return Some(Backend::Vxlan(Vxlan::default()));
        };
        let Some(map) = value.as_object() else {
            self.wrong(format!("Backend is {value}, not an object with a Type"));
            return None;
        };
        match find(map, "Type").and_then(Value::as_str) {
            Some("vxlan") => self.vxlan(map).map(Backend::Vxlan),
            Some("host-gw") => {
                self.unknown(WITHIN, map, &["Type"]);
                Some(Backend::HostGw)
            }
            Some("wireguard") => self.wireguard(map).map(Backend::Wireguard),
            Some("ipip") => {
                self.unknown(WITHIN, map, &["Type", "DirectRouting"]);
                let direct_routing = self.flag(map, "DirectRouting").unwrap_or_default();
                Some(Backend::Ipip(Ipip { direct_routing }))
            }
            Some("") | None => {
                self.wrong("Backend has no Type; vxlan is the usual one".to_string());
                None
            }
            Some(other) => {
                let problem = format!("Backend {other:?} is not one of those here: {KINDS}");
                self.wrong(problem);
                None
            }
        }
    }

    fn vxlan(&mut self, map: &Map<String, Value>) -> Option<Vxlan> {
        self.unknown(WITHIN, map, &VXLAN_KEYS);
        let flag = |reader: &mut Reader, key| reader.flag(map, key).unwrap_or_default();
        let (gbp, learning) = (flag(self, "GBP"), flag(self, "Learning"));
        let direct_routing = flag(self, "DirectRouting");
        // All are looked at before the first wrong one ends it.
        let vni = self.integer(map, WITHIN, "VNI", 1..=(1 << 24) - 1, "");
        let port = self.port(map, "Port", DEFAULT_PORT, " (0: the kernel's, 8472)");
        let mtu = self.outer_mtu(map);
        Some(Vxlan {
            // In range, as just checked.
            vni: vni?.map_or(DEFAULT_VNI, |vni| vni as u32),
            port: port?,
            gbp,
            learning,
            direct_routing,
            mtu: mtu?,
        })
    }

    fn wireguard(&mut self, map: &Map<String, Value>) -> Option<Wireguard> {
        self.unknown(WITHIN, map, &WIREGUARD_KEYS);
        let usual = Wireguard::default();
        let preshared = self.preshared(map);
        let mode = self.mode(map);
        let port = self.port(map, "ListenPort", usual.port, " (0: 51820)");
        let port_v6 = self.port(map, "ListenPortV6", usual.port_v6, " (0: 51821)");
        let mtu = self.outer_mtu(map);
        let key = "PersistentKeepaliveInterval";
        let keepalive = self.integer(map, WITHIN, key, 0..=65535, " (seconds; 0: none)");
        let (port, port_v6) = (port?, port_v6?);
        if mode == Some(Mode::Separate) && port == port_v6 {
            self.wrong(format!(
                "Backend.ListenPort and Backend.ListenPortV6 are both {port}: in the mode separate \
                 each family has a device and a port of its own"
            ));
        }
        Some(Wireguard {
            preshared: preshared?,
            port,
            port_v6,
            mtu: mtu?,
            mode: mode?,
            keepalive: keepalive?.unwrap_or_default() as u16,
        })
    }

    /// The value itself is not told: it is a secret also when it is mistyped.
    fn preshared(&mut self, map: &Map<String, Value>) -> Option<Option<Secret>> {
        let Some(value) = find(map, "PSK").filter(|value| *value != "") else {
            return Some(None);
        };
        let key = value.as_str().and_then(|text| text.parse().ok());
        if key.is_none() {
            let hint = "32 bytes in base64, as `wg genpsk` makes them";
            self.wrong(format!("Backend.PSK is not a key of wireguard: {hint}"));
        }
        key.map(Some)
    }

    fn mode(&mut self, map: &Map<String, Value>) -> Option<Mode> {
        let Some(value) = find(map, "Mode").filter(|value| *value != "") else {
            return Some(Mode::Separate);
        };
        match value.as_str() {
            Some("separate") => Some(Mode::Separate),
            Some("auto") => Some(Mode::Auto),
            Some("ipv4") => Some(Mode::V4),
            Some("ipv6") => Some(Mode::V6),
            _ => {
                let all = "separate, auto, ipv4 or ipv6";
                self.wrong(format!("Backend.Mode is {value}, not {all}"));
                None
            }
        }
    }

    fn port(&mut self, map: &Map<String, Value>, key: &str, usual: u16, more: &str) -> Option<u16> {
        let port = self.integer(map, WITHIN, key, 0..=65535, more)?;
        // In range, as just checked.
        let port = port.filter(|port| *port != 0).map(|port| port as u16);
        Some(port.unwrap_or(usual))
    }

    fn outer_mtu(&mut self, map: &Map<String, Value>) -> Option<Option<u32>> {
        let mtu = self.integer(map, WITHIN, "MTU", 0..=65535, " (0: the uplink's)")?;
        let mtu = mtu.filter(|mtu| *mtu != 0);
        if let Some(mtu) = mtu.filter(|mtu| *mtu < 1280) {
            self.wrong(format!("Backend.MTU {mtu} is less than 1280"));
        }
        Some(mtu.map(|mtu| mtu as u32))
    }
}
