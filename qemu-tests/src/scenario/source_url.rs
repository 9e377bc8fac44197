//! A cloud-config at a URL that the kernel's command line names.

use anyhow::{Result, ensure};
use sha2::{Digest, Sha256};

use super::source::{answers, in_force};
use super::{Check, Extent, How, Scenario, Stage};
use crate::machine::Machine;
use crate::web::Pages;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "url",
    extent: Extent::Usual,
    start,
    checks: &[Check {
        name: "a cloud-config named on the kernel's command line is fetched and in force",
        how: How::Now(fetched),
    }],
};

const USER_DATA: &str = "\
#cloud-config
hostname: remote
ssh_authorized_keys:
  - {{key}}
write_files:
  - path: /etc/strake-test/motto
    permissions: '0640'
    content: festina lente
  - path: /var/lib/strake-test/motto
    content: also below /var
coreos:
  units:
    - name: subject.service
      enable: true
      content: |
        [Service]
        Type=oneshot
        RemainAfterExit=yes
        ExecStart=/usr/bin/touch /run/subject-ran
        [Install]
        WantedBy=multi-user.target
strake:
  health:
    require: [subject.service]
    for: 1s
";
const PATH: &str = "/configs/subject.yaml";

fn url(stage: &Stage) -> Result<String> {
    Ok(format!("http://10.0.2.2:{}{PATH}", stage.web()?.port()))
}

fn start(stage: &Stage) -> Result<Machine> {
    let user_data = USER_DATA.replace("{{key}}", &stage.key.public()?);
    let digest = Sha256::digest(&user_data);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    stage.web()?.serve(Pages::plain().page(PATH, &user_data));
    let spec = stage
        .spec("url")
        .kernel_option(&format!("cloud-config-url={}", url(stage)?))
        .kernel_option(&format!("strake.config.sha256={digest}"));
    stage.start(spec)
}

fn fetched(machine: &mut Machine, stage: &Stage) -> Result<()> {
    in_force(machine, &url(stage)?)?;
    answers(
        machine,
        &[
            ("hostname", "remote"),
            ("sudo cat /etc/strake-test/motto", "festina lente"),
            ("stat -c '%a %U' /etc/strake-test/motto", "640 root"),
            ("cat /var/lib/strake-test/motto", "also below /var"),
            ("test -e /run/subject-ran && echo ran", "ran"),
            ("systemctl is-enabled subject.service", "enabled"),
        ],
    )?;
    let requests = stage.web()?.take_requests();
    let others: Vec<_> = requests
        .iter()
        .filter(|request| request.method != "GET" || request.path != PATH)
        .collect();
    ensure!(others.is_empty(), "other things were asked: {others:?}");
    ensure!(requests.len() == 1, "asked {} times", requests.len());
    Ok(())
}
