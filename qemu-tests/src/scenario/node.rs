//! One node from the image: read-only, verified, the same after a reboot.

use std::fs;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};

use super::runner::BOOT_LIMIT;
use super::sockets::{Listener, reachable};
use super::{Check, Extent, How, Scenario, Stage, source};
use crate::machine::Machine;
use crate::wait::Deadline;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "node",
    extent: Extent::Usual,
    start,
    checks: &[
        Check {
            name: "the boot is blessed and its release is the image's",
            how: How::Now(blessed),
        },
        Check {
            name: "the cloud-config of an OpenStack config drive (vfat) is in force",
            how: How::Now(configured),
        },
        Check {
            name: "/usr cannot be written, even with remount",
            how: How::Now(usr_is_fixed),
        },
        Check {
            name: "no unit has failed",
            how: How::Now(nothing_failed),
        },
        Check {
            name: "only sshd listens on the network",
            how: How::Now(only_sshd_listens),
        },
        Check {
            name: "root has no password and no ssh",
            how: How::Now(root_is_locked),
        },
        Check {
            name: "DATA has grown to the disk",
            how: How::Now(data_grew),
        },
        Check {
            name: "a flipped byte in the USR partition is detected and the machine reboots",
            how: How::Now(flipped_byte_is_detected),
        },
        Check {
            name: "edits below /etc vanish at a reboot, those below /var stay",
            how: How::AcrossReboot {
                before: edit,
                after: etc_is_new_and_var_is_old,
            },
        },
        Check {
            name: "machine-id, host keys and user ids are the same after a reboot",
            how: How::AcrossReboot {
                before: identity,
                after: identity_is,
            },
        },
    ],
};

const USER_DATA: &str = "\
#cloud-config
hostname: subject
ssh_authorized_keys:
  - {{key}}
users:
  - name: alice
    groups: [docker]
    shell: /bin/bash
write_files:
  - path: /etc/strake-test/motto
    permissions: '0640'
    owner: root:alice
    content: festina lente
coreos:
  units:
    - name: subject.service
      enable: true
      content: |
        [Unit]
        Description=A unit of the cloud-config
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

fn start(stage: &Stage) -> Result<Machine> {
    let user_data = USER_DATA.replace("{{key}}", &stage.key.public()?);
    stage.start(stage.spec("node").config_drive(&user_data))
}

fn blessed(machine: &mut Machine, stage: &Stage) -> Result<()> {
    machine.wait_until_blessed(Deadline::seconds(BOOT_LIMIT))?;
    let status = machine.status()?.context("strake status says nothing")?;
    let release = &stage.image.release;
    for (key, expected) in [
        ("release", &release.version),
        ("root_hash", &release.root_hash),
    ] {
        ensure!(
            status[key] == **expected,
            "{key} is {}, not {expected}",
            status[key]
        );
    }
    let counted = machine.ask("sudo ls /efi/EFI/Linux")?;
    ensure!(
        counted.starts_with("strake_") && !counted.contains('+'),
        "the entry still counts its tries: {counted}"
    );
    Ok(())
}

fn configured(machine: &mut Machine, _: &Stage) -> Result<()> {
    source::in_force(machine, "config-2:openstack/latest/user_data")?;
    source::answers(
        machine,
        &[
            ("hostname", "subject"),
            ("sudo cat /etc/strake-test/motto", "festina lente"),
            (
                "stat -c '%a %U %G' /etc/strake-test/motto",
                "640 root alice",
            ),
            ("systemctl is-active subject.service", "active"),
            ("test -e /run/subject-ran && echo ran", "ran"),
            ("id -nG alice | tr ' ' '\\n' | grep -x docker", "docker"),
            ("stat -c %U /home/alice", "alice"),
        ],
    )
}

fn usr_is_fixed(machine: &mut Machine, _: &Stage) -> Result<()> {
    for command in [
        "sudo mount -o remount,rw /usr",
        "sudo touch /usr/strake-test",
        "sudo touch /usr/bin/bash",
        "sudo dd if=/dev/zero of=/dev/mapper/usr bs=4096 count=1 conv=fsync",
    ] {
        let output = machine.ssh(command)?;
        ensure!(!output.status.success(), "`{command}` was allowed");
    }
    let options = machine.ask("findmnt -n -o FSTYPE,OPTIONS /usr")?;
    let read_only = options.starts_with("erofs") && options.contains("ro");
    ensure!(read_only, "/usr is mounted {options}");
    Ok(())
}

fn nothing_failed(machine: &mut Machine, _: &Stage) -> Result<()> {
    source::nothing_failed(machine)
}

fn only_sshd_listens(machine: &mut Machine, _: &Stage) -> Result<()> {
    let expected = |one: &Listener| match (one.protocol.as_str(), one.port) {
        ("tcp", 22) => true,
        // The client's end of DHCP, which answers nobody.
        ("udp", 68 | 546) => one.program.starts_with("systemd-network"),
        _ => false,
    };
    let mut listeners = reachable(&machine.ask("sudo ss -H -lntup")?);
    ensure!(
        listeners.iter().any(|one| one.port == 22),
        "sshd does not listen"
    );
    listeners.retain(|one| !expected(one));
    ensure!(listeners.is_empty(), "these listen as well: {listeners:#?}");
    Ok(())
}

fn root_is_locked(machine: &mut Machine, _: &Stage) -> Result<()> {
    let shadow = machine.ask("sudo getent shadow root")?;
    let password = shadow
        .split(':')
        .nth(1)
        .context("root has no line in shadow")?;
    ensure!(
        password.starts_with(['!', '*']),
        "root's password field is {password:?}"
    );
    let login = machine.ssh_as("root", "true")?;
    ensure!(
        !login.status.success(),
        "root can log in with the key of core"
    );
    ensure!(
        login.stderr.contains("Permission denied"),
        "ssh said {}",
        login.stderr
    );
    Ok(())
}

fn data_grew(machine: &mut Machine, _: &Stage) -> Result<()> {
    let size: u64 = machine
        .ask("df --block-size=1 --output=size /var | tail -n 1")?
        .trim()
        .parse()?;
    let disk = u64::from(machine.spec().disk_gib) << 30;
    // The other partitions and the file system's own structures take the rest.
    ensure!(size > disk / 2, "/var has {size} bytes on a disk of {disk}");
    Ok(())
}

/// A program that nothing has read yet, so that its pages come from the disk.
const VICTIM: &str = "/usr/bin/tcpdump";

fn flipped_byte_is_detected(machine: &mut Machine, stage: &Stage) -> Result<()> {
    let offset = place_on_disk(machine).context("finding a block of the slot")?;
    let (before, deadline) = (machine.resets(), Deadline::seconds(BOOT_LIMIT));
    machine.write_disk(offset, &[0xa5; 512])?;
    // It restarts by a panic, whose text is kept. The connection ends with the machine.
    machine.expect_losses();
    let read = machine.ssh(&format!("cat {VICTIM} > /dev/null"));
    machine.wait_for_reset(before, deadline).with_context(|| {
        format!("reading a corrupted block did not reboot the machine: {read:?}")
    })?;

    let mut good = [0; 512];
    fs::File::open(&stage.image.disk)?.read_exact_at(&mut good, offset)?;
    machine.write_disk(offset, &good)?;
    machine.wait_for_ssh(deadline)?;
    machine.expect_no_losses();
    let answer = machine.ask(&format!("{VICTIM} --version 2>&1 | head -n 1"))?;
    ensure!(
        answer.contains("tcpdump"),
        "on whole blocks {VICTIM} says {answer:?}"
    );
    Ok(())
}

/// Where the victim's second block lies on the machine's disk, in bytes.
fn place_on_disk(machine: &mut Machine) -> Result<u64> {
    let extents = machine.ask(&format!("sudo filefrag -e -v -b1 {VICTIM}"))?;
    let physical = extents
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("0:"))
        .and_then(|extent| {
            extent
                .split(':')
                .nth(1)?
                .split("..")
                .next()?
                .trim()
                .parse::<u64>()
                .ok()
        })
        .with_context(|| format!("filefrag said {extents}"))?;
    let slot = machine.status()?.context("strake status says nothing")?["slot"].clone();
    let slot = slot.as_str().context("strake status names no slot")?;
    let command = format!(
        "cat /sys/class/block/$(basename $(readlink -f /dev/disk/by-partlabel/USR-{slot}))/start"
    );
    let start: u64 = machine.ask(&command)?.trim().parse()?;
    Ok(start * 512 + physical + 4096)
}

fn edit(machine: &mut Machine, _: &Stage) -> Result<String> {
    machine.ask(
        "sudo sh -c 'echo edited > /etc/hostname; echo new > /etc/strake-test/new; \
         mkdir -p /var/lib/strake-test; echo kept > /var/lib/strake-test/note; sync'",
    )
}

fn etc_is_new_and_var_is_old(machine: &mut Machine, _: &Stage, _: &str) -> Result<()> {
    let answer = machine
        .ask("cat /etc/hostname; ls /etc/strake-test; cat /var/lib/strake-test/note; hostname")?;
    let words: Vec<&str> = answer.split_whitespace().collect();
    ensure!(
        words == ["subject", "motto", "kept", "subject"],
        "after the reboot: {answer}"
    );
    Ok(())
}

fn identity(machine: &mut Machine, _: &Stage) -> Result<String> {
    let identity = machine.ask(
        "cat /etc/machine-id; sudo ssh-keygen -l -f /state/ssh/ssh_host_ed25519_key.pub; \
         id core; id alice; stat -c '%u %g' /home/core /home/alice",
    )?;
    ensure!(
        identity.lines().count() == 6,
        "the machine's identity is {identity}"
    );
    Ok(identity)
}

fn identity_is(machine: &mut Machine, stage: &Stage, before: &str) -> Result<()> {
    let now = identity(machine, stage)?;
    ensure!(
        now == before,
        "before the reboot:\n{before}after it:\n{now}"
    );
    Ok(())
}
