//! Machines that believe to be in a cloud: SMBIOS says so, and 169.254.169.254 answers.

use anyhow::{Context, Result, ensure};

use super::runner::BOOT_LIMIT;
use super::source::{answers, config, in_force, nothing_failed, tells};
use super::{Check, Extent, How, Scenario, Stage};
use crate::machine::Machine;
use crate::wait::Deadline;
use crate::web::{Manner, Pages};

pub(super) const EC2: Scenario = Scenario {
    name: "ec2",
    extent: Extent::Usual,
    start: start_ec2,
    checks: &[
        Check {
            name: "user-data, name, key and addresses come from the metadata service",
            how: How::Now(ec2_in_force),
        },
        Check {
            name: "every question to the metadata service has a token",
            how: How::Now(asked_with_token),
        },
    ],
};

pub(super) const GCE: Scenario = Scenario {
    name: "gce",
    extent: Extent::Full,
    start: start_gce,
    checks: &[
        Check {
            name: "user-data, name, key and addresses come from the metadata service",
            how: How::Now(gce_in_force),
        },
        Check {
            name: "a metadata service that is silent at boot leaves the last answer in force",
            how: How::Now(silent_service),
        },
    ],
};

/// Without a key: who can log in has that of the metadata.
const USER_DATA: &str = "\
#cloud-config
write_files:
  - path: /etc/strake-test/addresses
    content: $private_ipv4 $public_ipv4
coreos:
  units:
    - name: subject.service
      enable: true
      content: |
        [Service]
        Type=oneshot
        RemainAfterExit=yes
        ExecStart=/bin/sh -c 'echo ran at $private_ipv4 > /run/subject'
        [Install]
        WantedBy=multi-user.target
strake:
  health:
    require: [subject.service]
    for: 1s
";

fn start_ec2(stage: &Stage) -> Result<Machine> {
    let (web, key) = (stage.web()?, stage.key.public()?);
    let root = "/2009-04-04/meta-data";
    let pages = Pages::ec2()
        .page("/2009-04-04/user-data", USER_DATA)
        .page(&format!("{root}/instance-id"), "i-0123456789abcdef0")
        .page(&format!("{root}/hostname"), "ip-10-1-2-3.ec2.internal")
        .page(&format!("{root}/local-ipv4"), "10.1.2.3")
        .page(&format!("{root}/public-ipv4"), "203.0.113.7")
        .page(&format!("{root}/public-keys/"), "0=lab")
        .page(&format!("{root}/public-keys/0/openssh-key"), &key);
    web.serve(pages);
    let spec = stage.spec("ec2");
    stage.start(spec.cloud("Amazon EC2", "t3.micro", web.port()))
}

fn ec2_in_force(machine: &mut Machine, _: &Stage) -> Result<()> {
    in_force(machine, "ec2:user-data")?;
    answers(
        machine,
        &[
            ("hostname", "ip-10-1-2-3.ec2.internal"),
            ("cat /etc/strake-test/addresses", "10.1.2.3 203.0.113.7"),
            ("cat /run/subject", "ran at 10.1.2.3"),
            (
                "grep ^COREOS_PUBLIC_IPV4= /etc/environment",
                "COREOS_PUBLIC_IPV4=203.0.113.7",
            ),
            ("cat /sys/class/dmi/id/sys_vendor", "Amazon EC2"),
        ],
    )
}

fn asked_with_token(_: &mut Machine, stage: &Stage) -> Result<()> {
    let requests = stage.web()?.take_requests();
    let (puts, gets): (Vec<_>, Vec<_>) = requests
        .into_iter()
        .partition(|request| request.method == "PUT");
    ensure!(!puts.is_empty(), "no token was asked for");
    ensure!(!gets.is_empty(), "only a token was asked for");
    let bare = gets
        .iter()
        .find(|request| request.header("x-aws-ec2-metadata-token").is_none());
    ensure!(bare.is_none(), "asked without a token: {bare:?}");
    Ok(())
}

fn start_gce(stage: &Stage) -> Result<Machine> {
    let (web, key) = (stage.web()?, stage.key.public()?);
    let instance = serde_json::json!({
        "hostname": "subject.c.lab.internal",
        "attributes": {"ssh-keys": format!("core:{key}")},
        "networkInterfaces": [
            {"ip": "10.128.0.2", "accessConfigs": [{"externalIp": "203.0.113.9"}]},
        ],
    });
    let root = "/computeMetadata/v1/instance/";
    let pages = Pages::gce()
        .page(&format!("{root}attributes/user-data"), USER_DATA)
        .page(root, &instance.to_string());
    web.serve(pages);
    let spec = stage.spec("gce");
    stage.start(spec.cloud("Google", "Google Compute Engine", web.port()))
}

const GCE_SAYS: [(&str, &str); 3] = [
    ("hostname", "subject.c.lab.internal"),
    ("cat /etc/strake-test/addresses", "10.128.0.2 203.0.113.9"),
    ("cat /run/subject", "ran at 10.128.0.2"),
];

fn gce_in_force(machine: &mut Machine, stage: &Stage) -> Result<()> {
    in_force(machine, "gce:user-data")?;
    answers(machine, &GCE_SAYS)?;
    let requests = stage.web()?.take_requests();
    let first = requests.first().context("the service was not asked")?;
    ensure!(
        first.header("metadata-flavor") == Some("Google"),
        "asked without the header: {first:?}"
    );
    Ok(())
}

fn silent_service(machine: &mut Machine, stage: &Stage) -> Result<()> {
    let web = stage.web()?;
    web.be(Manner::Silent);
    let deadline = Deadline::seconds(BOOT_LIMIT);
    machine.reboot(deadline)?;
    machine.wait_until("a healthy boot", deadline, |machine| {
        let status = machine.status()?;
        Ok(status.filter(|status| status["health"]["state"] == "healthy"))
    })?;
    ensure!(!web.take_requests().is_empty(), "the service was not asked");
    let config = config(machine)?;
    ensure!(
        config["source"] == "gce:user-data" && config["outcome"] == "applied",
        "strake status says of the config: {config}"
    );
    ensure!(
        tells(&config, "what it said last stays in force"),
        "strake status does not tell of the silence: {config}"
    );
    answers(machine, &GCE_SAYS)?;
    nothing_failed(machine)
}
