use super::*;

#[track_caller]
fn check(links: &[Link], expected: &str) {
    let mut text = String::new();
    for unit in render(links) {
        text += &format!("== {}\n{}", unit.name, unit.content.unwrap_or_default());
    }
    assert_eq!(text, expected);
}

#[test]
fn debian_stanzas_become_networks() {
    let links = debian::parse(
        "auto lo eth0\niface lo inet loopback\n# comment\niface eth0 inet static\n  address 10.0.0.5\n  \
         netmask 255.255.255.0\n  gateway 10.0.0.1\n  dns-nameservers 10.0.0.2 bad\n  hwaddress ether 52:54:00:AA:00:01\n  \
         post-up route add -net 10.9.0.0 netmask 255.255.0.0 gw 10.0.0.254\niface eth0 inet6 dhcp\n\
         iface eth0.7 inet dhcp\niface x/y inet dhcp\n",
    );
    check(
        &links,
        "== 10-eth0.network\n[Match]\nMACAddress=52:54:00:aa:00:01\nType=!vlan bond\n\n[Network]\nDHCP=ipv6\nDNS=10.0.0.2\nVLAN=eth0.7\n\n\
         [Address]\nAddress=10.0.0.5/24\n\n[Route]\nGateway=10.0.0.1\n\n[Route]\nGateway=10.0.0.254\nDestination=10.9.0.0/16\n\
         == 10-eth0.7.netdev\n[NetDev]\nName=eth0.7\nKind=vlan\n\n[VLAN]\nId=7\n\
         == 10-eth0.7.network\n[Match]\nName=eth0.7\n\n[Network]\nDHCP=ipv4\n",
    );
}

#[test]
fn debian_bonds_name_their_members() {
    let links = debian::parse(
        "iface bond0 inet dhcp\n bond-slaves eth0 eth1\n bond-mode 4\niface eth0 inet manual\n",
    );
    check(
        &links,
        "== 10-bond0.netdev\n[NetDev]\nName=bond0\nKind=bond\n\n[Bond]\nMode=802.3ad\nMIIMonitorSec=100ms\n\
         == 10-bond0.network\n[Match]\nName=bond0\n\n[Network]\nDHCP=ipv4\n\
         == 10-eth0.network\n[Match]\nName=eth0\n\n[Network]\nBond=bond0\n",
    );
}

#[test]
fn openstack_links_networks_and_services_are_joined() {
    let text = r#"{
        "links": [
            {"id": "tap0", "type": "phy", "ethernet_mac_address": "FA:16:3E:00:00:01", "mtu": 1450},
            {"id": "vlan9", "type": "vlan", "vlan_id": 9, "vlan_link": "tap0"},
            {"id": "../../x", "type": "phy"}
        ],
        "networks": [
            {"link": "tap0", "type": "ipv4", "ip_address": "10.1.0.4", "netmask": "255.255.0.0",
             "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.1.0.1"}]},
            {"link": "vlan9", "type": "ipv4_dhcp"}
        ],
        "services": [{"type": "dns", "address": "10.1.0.2"}]
    }"#;
    check(
        &openstack::parse(text.as_bytes()).expect("valid"),
        "== 10-tap0.network\n[Match]\nMACAddress=fa:16:3e:00:00:01\nType=!vlan bond\n\n[Link]\nMTUBytes=1450\n\n[Network]\nDNS=10.1.0.2\nVLAN=vlan9\n\n\
         [Address]\nAddress=10.1.0.4/16\n\n[Route]\nGateway=10.1.0.1\n\
         == 10-vlan9.netdev\n[NetDev]\nName=vlan9\nKind=vlan\n\n[VLAN]\nId=9\n\
         == 10-vlan9.network\n[Match]\nName=vlan9\n\n[Network]\nDHCP=ipv4\nDNS=10.1.0.2\n",
    );
    assert!(openstack::parse(b"[1").is_err());
}

#[test]
fn both_versions_of_nocloud_say_the_same() {
    let expected = "== 10-eth0.network\n[Match]\nMACAddress=52:54:00:00:00:01\nType=!vlan bond\n\n[Network]\nDNS=10.0.0.2\nDomains=example.com\n\n\
        [Address]\nAddress=10.0.0.5/24\n\n[Route]\nGateway=10.0.0.1\n";
    let one = "version: 1\nconfig:\n  - type: physical\n    name: eth0\n    mac_address: 52:54:00:00:00:01\n    subnets:\n      \
        - {type: static, address: 10.0.0.5/24, gateway: 10.0.0.1, dns_nameservers: [10.0.0.2], dns_search: [example.com]}\n";
    let two = "network:\n  version: 2\n  ethernets:\n    eth0:\n      match: {macaddress: \"52:54:00:00:00:01\"}\n      \
        addresses: [10.0.0.5/24]\n      gateway4: 10.0.0.1\n      nameservers: {addresses: [10.0.0.2], search: [example.com]}\n";
    check(&nocloud::parse(one).expect("version 1"), expected);
    check(&nocloud::parse(two).expect("version 2"), expected);
    assert_eq!(nocloud::parse("version: 3\n"), None);
    assert_eq!(nocloud::parse("- x"), None);
}

#[test]
fn masks_are_lengths() {
    for (address, mask, expected) in [
        ("10.0.0.1", "255.255.255.0", Some("10.0.0.1/24")),
        ("10.0.0.1", "0.0.0.0", Some("10.0.0.1/0")),
        ("10.0.0.1", "255.0.255.0", None),
        ("10.0.0.1", "33", None),
        ("fd00::1", "ffff:ffff::", Some("fd00::1/32")),
        ("nonsense", "24", None),
    ] {
        let found = Cidr::with_mask(address, mask).map(|cidr| cidr.to_string());
        assert_eq!(found.as_deref(), expected);
    }
}
