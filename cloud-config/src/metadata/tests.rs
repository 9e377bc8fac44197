use super::*;
use crate::context::Address;

const KEY: &str = "ssh-ed25519 AAAA a@b";

#[test]
fn openstack_gives_name_keys_and_the_path_of_the_network() {
    let text = format!(
        r#"{{"hostname": "n1.example.com", "public_keys": {{"a": "{KEY}\n", "b": "{KEY}"}},
            "network_config": {{"content_path": "/content/0000"}}, "other": [1]}}"#
    );
    let found = openstack(text.as_bytes()).expect("valid");
    assert_eq!(found.metadata.hostname.as_deref(), Some("n1.example.com"));
    assert_eq!(found.metadata.ssh_authorized_keys, [KEY]);
    assert_eq!(found.network_path.as_deref(), Some("content/0000"));
    let outside = openstack(br#"{"network_config": {"content_path": "/../x"}}"#).expect("valid");
    assert_eq!(outside.network_path, None);
    assert!(openstack(b"{").is_err());
}

#[test]
fn nocloud_takes_keys_in_every_form() {
    for keys in [
        format!("public-keys: {KEY}"),
        format!("public-keys: [{KEY}]"),
        format!("public_keys: {{a: [{KEY}]}}"),
    ] {
        let text = format!("instance-id: i\nlocal-hostname: n2\n{keys}\n");
        let found = nocloud(text.as_bytes()).expect("valid");
        assert_eq!(found.hostname.as_deref(), Some("n2"));
        assert_eq!(found.ssh_authorized_keys, [KEY]);
    }
    assert_eq!(nocloud(b"").expect("empty is fine"), Metadata::default());
    assert!(nocloud(b"a: [").is_err());
    let text = b"network-interfaces: |\n  iface eth0 inet dhcp\n";
    assert_eq!(
        nocloud(text).expect("valid").network[0].name,
        "10-eth0.network"
    );
}

#[test]
fn ec2_takes_the_first_word_of_the_name() {
    let found = ec2(&Ec2 {
        hostname: Some("ip-10-0-0-1.internal other.name"),
        local_ipv4: Some("10.0.0.1\n"),
        public_ipv4: Some("not an address"),
        ipv6: Some("2001:db8::1"),
        public_keys: &[KEY.to_owned()],
    });
    assert_eq!(found.hostname.as_deref(), Some("ip-10-0-0-1.internal"));
    assert_eq!(
        found.addresses.private_ipv4,
        Address::Known([10, 0, 0, 1].into())
    );
    assert_eq!(found.addresses.public_ipv4, Address::Unknown);
    assert!(found.addresses.public_ipv6.is_known());
}

#[test]
fn gce_azure_and_digitalocean_give_name_keys_and_addresses() {
    let gce_text = format!(
        r#"{{"hostname": "n3.c.p.internal", "attributes": {{"ssh-keys": "core:{KEY}\n"}},
            "networkInterfaces": [{{"ip": "10.0.0.2", "accessConfigs": [{{"externalIp": "192.0.2.2"}}]}}]}}"#
    );
    let azure_text = format!(
        r#"{{"compute": {{"name": "n3.c.p.internal", "publicKeys": [{{"keyData": "{KEY}\r\n"}}]}}, "network": {{"interface":
            [{{"ipv4": {{"ipAddress": [{{"privateIpAddress": "10.0.0.2", "publicIpAddress": "192.0.2.2"}}]}}}}]}}}}"#
    );
    let ocean_text = format!(
        r#"{{"hostname": "n3.c.p.internal", "public_keys": ["{KEY}"], "interfaces": {{
            "public": [{{"ipv4": {{"ip_address": "192.0.2.2"}}}}], "private": [{{"ipv4": {{"ip_address": "10.0.0.2"}}}}]}}}}"#
    );
    for found in [
        gce(gce_text.as_bytes()).expect("valid"),
        azure(azure_text.as_bytes()).expect("valid"),
        digitalocean(ocean_text.as_bytes()).expect("valid"),
    ] {
        assert_eq!(found.hostname.as_deref(), Some("n3.c.p.internal"));
        assert_eq!(found.ssh_authorized_keys, [KEY]);
        assert_eq!(
            found.addresses.public_ipv4,
            Address::Known([192, 0, 2, 2].into())
        );
        assert_eq!(
            found.addresses.private_ipv4,
            Address::Known([10, 0, 0, 2].into())
        );
    }
    assert!(gce(b"<html>").is_err() && azure(b"").is_err() && digitalocean(b"[").is_err());
}

#[test]
fn a_users_config_is_stronger_than_the_metadata() {
    let metadata = Metadata {
        hostname: Some("cloud".into()),
        ssh_authorized_keys: vec![KEY.into()],
        ..Metadata::default()
    };
    let user = crate::check(
        b"#cloud-config\nhostname: mine\nssh_authorized_keys: [ssh-rsa AAAA x]\n",
        &crate::Context::default(),
    );
    let merged = crate::merge(vec![metadata.to_config(), user.config.expect("valid")]);
    assert_eq!(merged.hostname.as_deref(), Some("mine"));
    assert_eq!(merged.ssh_authorized_keys, [KEY, "ssh-rsa AAAA x"]);
}
