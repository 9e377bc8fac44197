//! From the kernel's start to boot-complete.target, and what the image costs once it runs.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Row, Site, Summary, reference};
use crate::machine::{Accelerator, Machine, MachineSpec};
use crate::ssh::KeyPair;
use crate::wait::Deadline;

const BOOT_LIMIT: u64 = 600;
const PEER: &str = "dracut, cloud-init, ext4";

/// The same for both: one user, one file, docker.
const USER_DATA: &str = "\
#cloud-config
hostname: measured
users:
  - name: core
    groups: [sudo]
    shell: /bin/bash
    {{sudo}}
    ssh_authorized_keys:
      - {{key}}
write_files:
  - path: /etc/motto
    content: festina lente
{{health}}";

const HEALTH: &str = "\
coreos:
  units:
    - name: docker.service
      enable: true
      command: start
    - name: announcement.service
      enable: true
      content: |
        [Unit]
        Description=The end of the boot
        After=boot-complete.target
        [Service]
        Type=oneshot
        ExecStart=/bin/sh -c 'echo boot is complete > /dev/console'
        [Install]
        WantedBy=boot-complete.target
strake:
  health:
    require: [docker.service, containerd.service]
    for: 0s
";

#[derive(Debug, Default)]
struct Figures {
    complete: Summary,
    /// From the kernel's hand-over to PID 1 of the system.
    initrd: Summary,
    largest_service: Summary,
}

pub fn boot(site: &Site<'_>) -> Result<Vec<Row>> {
    let reference = reference::disk(site).context("making the reference image")?;
    let directory = site.workspace.work().join("bench/boot");
    fs::create_dir_all(&directory)?;
    let key = KeyPair::in_directory(&directory, site.tools)?;
    let user_data = USER_DATA.replace("{{key}}", &key.public()?);
    let with = |sudo, health| {
        user_data
            .replace("{{sudo}}", sudo)
            .replace("{{health}}", health)
    };
    let (own_config, peer_config) = (
        with("gecos: measured", HEALTH),
        with("sudo: ALL=(ALL) NOPASSWD:ALL", ""),
    );

    let (mut own, mut peer) = (Figures::default(), Figures::default());
    for run in 1..=site.runs {
        let name = format!("boot {run} of {}, Strake", site.runs);
        site.progress.stage(&name, || {
            let spec = MachineSpec::new("strake", &site.image.disk, &key).config_drive(&own_config);
            let mut machine = Machine::start(spec, &directory.join("strake"), site.tools)?;
            own.measure(&mut machine)
        })?;
        let name = format!("boot {run} of {}, the reference", site.runs);
        site.progress.stage(&name, || {
            let spec = MachineSpec::new("reference", &reference, &key).no_cloud(&peer_config);
            let mut machine = Machine::start(spec, &directory.join("reference"), site.tools)?;
            peer.measure(&mut machine)
        })?;
    }
    let mut rows = vec![
        Row::machine(&describe()),
        Row::new(
            "kernel start to boot-complete.target",
            own.complete.median(),
            "s",
        )
        .against(PEER, peer.complete.median())
        .ratio_at_most(0.40),
        Row::new("initrd", own.initrd.median(), "s")
            .against(PEER, peer.initrd.median())
            .at_most(1.5),
    ];
    let memory = own.largest_service.median();
    // Without a daemon of ours there is nothing to hold against the bar.
    if memory > 0.0 {
        let row = Row::new("memory of the largest Strake service", memory, "MB");
        rows.push(row.at_most(20.0));
    }
    Ok(rows)
}

impl Figures {
    fn measure(&mut self, machine: &mut Machine) -> Result<()> {
        let deadline = Deadline::seconds(BOOT_LIMIT);
        machine.wait_for_line("boot is complete", deadline)?;
        machine.wait_for_ssh(deadline)?;
        let complete = machine.wait_until("boot-complete.target", deadline, |machine| {
            let reached = "systemctl show --property ActiveEnterTimestampMonotonic --value \
                           boot-complete.target";
            Ok(machine
                .ask(reached)?
                .trim()
                .parse::<u64>()
                .ok()
                .filter(|time| *time > 0))
        })?;
        self.complete.add(seconds(complete));
        self.initrd.add(initrd(machine)?);
        self.largest_service.add(largest_service(machine)?);
        Ok(())
    }
}

/// strake-init says what it did; of another initrd systemd knows.
fn initrd(machine: &mut Machine) -> Result<f64> {
    let told = machine.ssh("cat /run/strake/init.json")?;
    if let Ok(told) = serde_json::from_str::<Value>(&told.stdout) {
        let steps = told["steps"].as_array().context("init.json has no steps")?;
        let time = |step: Option<&Value>, key| step.and_then(|step: &Value| step[key].as_u64());
        let (first, last) = (
            time(steps.first(), "start_us"),
            time(steps.last(), "end_us"),
        );
        let (first, last) = first
            .zip(last)
            .context("init.json has steps without times")?;
        return Ok(seconds(last.saturating_sub(first)));
    }
    let times = machine.ask(
        "systemctl show --property InitRDTimestampMonotonic \
         --property UserspaceTimestampMonotonic --value",
    )?;
    let times: Vec<u64> = times
        .lines()
        .filter_map(|line| line.trim().parse().ok())
        .collect();
    let [initrd, userspace] = times[..] else {
        anyhow::bail!("systemd knows no initrd: {times:?}")
    };
    Ok(seconds(initrd.abs_diff(userspace)))
}

fn largest_service(machine: &mut Machine) -> Result<f64> {
    let sizes = machine.ask("ps -C strake -o rss= || true")?;
    let kibibytes = sizes
        .lines()
        .filter_map(|line| line.trim().parse::<u64>().ok())
        .max();
    Ok(kibibytes.unwrap_or(0) as f64 * 1024.0 / 1e6)
}

fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

/// Processors, memory, how machines are emulated on them, and what else they have to do.
pub(super) fn describe() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let count = cpuinfo
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes = memory
        .split_whitespace()
        .nth(1)
        .and_then(|text| text.parse::<u64>().ok());
    let gibibytes = kibibytes.unwrap_or(0) >> 20;
    let emulation = match Accelerator::of_host() {
        Accelerator::Kvm => "KVM",
        Accelerator::Tcg => "TCG, guests with 2 processors",
    };
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    format!(
        "{count} × {}, {gibibytes} GiB, {emulation}, load {load}",
        model.map_or("unknown", |(_, name)| name)
    )
}
