//! A container from a registry, run by a unit of the cloud-config.

use anyhow::{Context, Result, ensure};

use super::runner::BOOT_LIMIT;
use super::{Check, Extent, How, Scenario, Stage, source};
use crate::machine::{Machine, WAN_MAC};
use crate::registry::{GREETER_PORT, GREETING};
use crate::wait::Deadline;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "container",
    extent: Extent::Usual,
    start,
    checks: &[
        Check {
            name: "config and network come from an OpenStack config drive (ISO 9660)",
            how: How::Now(from_iso),
        },
        Check {
            name: "an image is pulled from a registry and its published port answers",
            how: How::Now(answers),
        },
        Check {
            name: "image and data survive a reboot, even without the registry",
            how: How::AcrossReboot {
                before: end_registry,
                after: answers_again,
            },
        },
    ],
};

const USER_DATA: &str = "\
#cloud-config
hostname: host
ssh_authorized_keys:
  - {{key}}
write_files:
  - path: /etc/docker/daemon.json
    content: |
      {\"storage-driver\": \"overlay2\", \"insecure-registries\": [\"{{registry}}\"]}
coreos:
  units:
    - name: greeter.service
      enable: true
      content: |
        [Unit]
        Description=A container
        Requires=docker.service
        After=docker.service network-online.target
        Wants=network-online.target
        [Service]
        ExecStartPre=-/usr/bin/docker rm --force greeter
        ExecStart=/usr/bin/docker run --rm --name greeter --publish 8080:8080 \\
          --volume greeter:/data {{image}}
        ExecStop=/usr/bin/docker stop greeter
        Restart=always
        RestartSec=2
        [Install]
        WantedBy=multi-user.target
strake:
  health:
    require: [docker.service]
    for: 1s
";

/// What DHCP would say, without asking it.
const NETWORK: &str = r#"{
  "links": [{"id": "wan", "type": "phy", "ethernet_mac_address": "{{mac}}"}],
  "networks": [{
    "id": "one", "link": "wan", "type": "ipv4",
    "ip_address": "10.0.2.15", "netmask": "255.255.255.0",
    "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.0.2.2"}]
  }],
  "services": [{"type": "dns", "address": "10.0.2.3"}]
}"#;

fn start(stage: &Stage) -> Result<Machine> {
    let registry = stage.registry()?;
    let user_data = USER_DATA
        .replace("{{key}}", &stage.key.public()?)
        .replace("{{registry}}", &registry.address())
        .replace("{{image}}", &registry.image());
    stage.start(
        stage
            .spec("container")
            .config_drive(&user_data)
            .network(&NETWORK.replace("{{mac}}", WAN_MAC))
            .iso()
            .publish(GREETER_PORT),
    )
}

fn from_iso(machine: &mut Machine, _: &Stage) -> Result<()> {
    source::in_force(machine, "config-2:openstack/latest/user_data")?;
    // An address that DHCP gave would be `dynamic`.
    let address = machine.ask("ip -4 -o address show to 10.0.2.0/24")?;
    ensure!(
        address.contains("10.0.2.15/24") && !address.contains("dynamic"),
        "the address is not that of the drive: {address}"
    );
    let route = machine.ask("ip -4 route show default")?;
    ensure!(
        route.contains("via 10.0.2.2") && route.contains("proto static"),
        "the route is not that of the drive: {route}"
    );
    source::answers(machine, &[("hostname", "host")])
}

fn greeting(machine: &mut Machine) -> Result<String> {
    let deadline = Deadline::seconds(BOOT_LIMIT);
    let answer = machine.wait_until("an answer of the container", deadline, |machine| {
        machine.http(GREETER_PORT, "/")
    });
    match answer {
        Ok(body) => Ok(body),
        Err(error) => {
            let log = machine.ask("journalctl --no-pager -n 30 -u greeter -u docker")?;
            Err(error.context(format!("the journal of the container:\n{log}")))
        }
    }
}

fn answers(machine: &mut Machine, _: &Stage) -> Result<()> {
    let body = greeting(machine)?;
    ensure!(
        body.trim() == format!("{GREETING}, start 1"),
        "the container says {body:?}"
    );
    Ok(())
}

fn end_registry(machine: &mut Machine, stage: &Stage) -> Result<String> {
    greeting(machine)?;
    stage.registry()?.stop()?;
    Ok(String::new())
}

fn answers_again(machine: &mut Machine, _: &Stage, _: &str) -> Result<()> {
    let body = greeting(machine)?;
    let starts = body.trim().strip_prefix(&format!("{GREETING}, start "));
    let starts: u32 = starts
        .and_then(|count| count.parse().ok())
        .context(body.clone())?;
    ensure!(
        starts >= 2,
        "the container's data did not survive: {body:?}"
    );
    Ok(())
}
