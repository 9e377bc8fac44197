//! A machine as QEMU's command line.

use std::fs::{self, File};
use std::path::Path;

use super::files::Files;
use super::spec::{Cloud, Disk, MachineSpec, Watchdog};

/// Of the interface that leads to the host.
pub const WAN_MAC: &str = "52:54:00:12:34:56";

/// What the host's processor allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    Kvm,
    Tcg,
}

impl Accelerator {
    pub fn of_host() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let kvm = File::options().read(true).write(true).open("/dev/kvm");
        Self::choose(&cpuinfo, kvm.is_ok())
    }

    /// `/dev/kvm` alone proves nothing: it exists in sandboxes that cannot run a stock kernel.
    pub fn choose(cpuinfo: &str, kvm_opens: bool) -> Self {
        let flags = cpuinfo
            .lines()
            .find(|line| line.starts_with("flags"))
            .unwrap_or_default();
        let capable = flags
            .split_whitespace()
            .any(|flag| flag == "vmx" || flag == "svm");
        if capable && kvm_opens {
            Self::Kvm
        } else {
            Self::Tcg
        }
    }

    fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "Nehalem"],
        }
    }
}

/// A guest port and the loopback port of the host that leads to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Forward {
    pub host: u16,
    pub guest: u16,
}

pub(super) fn arguments(
    spec: &MachineSpec,
    files: &Files,
    forwards: &[Forward],
    accelerator: Accelerator,
) -> Vec<String> {
    let mut all: Vec<String> = vec!["-nodefaults".into(), "-no-user-config".into()];
    let mut add = |option: &str, value: String| all.extend([option.to_owned(), value]);

    add("-name", escape(&spec.name));
    add("-machine", "q35".into());
    for pair in accelerator.arguments().chunks(2) {
        add(pair[0], pair[1].into());
    }
    add("-smp", spec.cpus.to_string());
    add("-m", spec.memory_mib.to_string());
    add("-display", "none".into());
    add("-vga", "none".into());
    add("-rtc", "base=utc".into());

    add(
        "-drive",
        "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd".into(),
    );
    add(
        "-drive",
        format!("if=pflash,format=qcow2,file={}", path(&files.variables)),
    );

    add("-blockdev", disk(spec.disk, files));
    add(
        "-device",
        "virtio-blk-pci,id=disk,drive=disk,serial=strake,bootindex=0".into(),
    );
    if let Some(drive) = files.config_drive(spec) {
        add(
            "-blockdev",
            block_device("config", "raw", &drive, "read-only=on"),
        );
        add(
            "-device",
            "virtio-blk-pci,drive=config,serial=config".into(),
        );
    }

    add(
        "-chardev",
        format!(
            "socket,id=console,server=on,wait=off,path={},logfile={},logappend=on",
            path(&files.console_socket),
            path(&files.console_log)
        ),
    );
    add("-serial", "chardev:console".into());
    let monitor = path(&files.monitor);
    add(
        "-chardev",
        format!("socket,id=monitor,server=on,wait=off,path={monitor}"),
    );
    add("-mon", "chardev=monitor,mode=control".into());

    let forwarded: String = forwards
        .iter()
        .map(|Forward { host, guest }| format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}"))
        .collect();
    let link_local = spec.cloud.as_ref().map(link_local).unwrap_or_default();
    add("-netdev", format!("user,id=wan{link_local}{forwarded}"));
    add(
        "-device",
        format!("virtio-net-pci,netdev=wan,romfile=,mac={WAN_MAC}"),
    );
    if let Some(lan) = &spec.lan {
        let socket = path(&lan.socket);
        add(
            "-netdev",
            format!("stream,id=lan,server=off,addr.type=unix,addr.path={socket},reconnect-ms=500"),
        );
        add(
            "-device",
            format!("virtio-net-pci,netdev=lan,romfile=,mac={}", lan.mac),
        );
    }

    add("-device", "virtio-rng-pci".into());
    if spec.watchdog == Watchdog::I6300esb {
        add("-device", "i6300esb".into());
    }
    if let Some(cloud) = &spec.cloud {
        let (manufacturer, product) = (escape(&cloud.manufacturer), escape(&cloud.product));
        add(
            "-smbios",
            format!("type=1,manufacturer={manufacturer},product={product}"),
        );
    }
    if !spec.kernel_options.is_empty() {
        let options = escape(&spec.kernel_options.join(" "));
        add(
            "-smbios",
            format!("type=11,value=io.systemd.stub.kernel-cmdline-extra={options}"),
        );
    }
    all
}

/// Each connection of the guest to the address is led to the host's loopback by a process of its own.
fn link_local(cloud: &Cloud) -> String {
    format!(
        ",net=169.254.0.0/16,guestfwd=tcp:169.254.169.254:80-cmd:socat STDIO TCP4:127.0.0.1:{}",
        cloud.metadata
    )
}

fn disk(disk: Disk, files: &Files) -> String {
    match disk {
        Disk::Overlay => block_device("disk", "qcow2", &files.disk, "discard=unmap"),
        Disk::Copy => block_device("disk", "raw", &files.disk, "discard=unmap"),
        Disk::Recorded => format!(
            "driver=blklogwrites,node-name=disk,log-super-update-interval=1,\
             file.driver=raw,file.file.driver=file,file.file.filename={},\
             log.driver=file,log.filename={}",
            path(&files.disk),
            path(&files.recording)
        ),
    }
}

fn block_device(node: &str, format: &str, file: &Path, option: &str) -> String {
    let file = path(file);
    format!("driver={format},node-name={node},{option},file.driver=file,file.filename={file}")
}

fn path(path: &Path) -> String {
    escape(&path.to_string_lossy())
}

/// In QEMU's option lists a comma is written twice.
fn escape(value: &str) -> String {
    value.replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::spec::Config;
    use crate::ssh::KeyPair;

    fn spec() -> MachineSpec {
        let key: KeyPair = serde_json::from_str("{\"private\": \"/k\"}").unwrap();
        MachineSpec::new("node1", Path::new("/images/strake.raw"), &key)
    }

    fn line(spec: &MachineSpec) -> String {
        let files = Files::new(Path::new("/lab,1/node1"), Path::new("/tmp/s"));
        let forwards = [Forward {
            host: 2201,
            guest: 22,
        }];
        arguments(spec, &files, &forwards, Accelerator::Tcg).join(" ")
    }

    #[test]
    fn the_accelerator_needs_both_the_processor_and_the_device() {
        let capable = "processor : 0\nflags\t\t: fpu vme vmx sse\n";
        for (cpuinfo, opens, expected) in [
            (capable, true, Accelerator::Kvm),
            (capable, false, Accelerator::Tcg),
            ("flags : fpu svm_lock\n", true, Accelerator::Tcg),
            ("", true, Accelerator::Tcg),
        ] {
            assert_eq!(Accelerator::choose(cpuinfo, opens), expected, "{cpuinfo}");
        }
    }

    #[test]
    fn a_plain_machine_has_one_disk_and_one_network() {
        let line = line(&spec());
        assert!(
            line.contains("-accel tcg,thread=multi -cpu Nehalem -smp 2 -m 2048"),
            "{line}"
        );
        assert!(line.contains("driver=qcow2,node-name=disk,"), "{line}");
        assert!(
            line.contains("user,id=wan,hostfwd=tcp:127.0.0.1:2201-:22"),
            "{line}"
        );
        assert!(
            line.contains("file.filename=/lab,,1/node1/disk.qcow2"),
            "{line}"
        );
        for absent in ["node-name=config", "id=lan", "i6300esb", "-smbios"] {
            assert!(!line.contains(absent), "{absent} in {line}");
        }
    }

    #[test]
    fn a_machine_of_a_cloud_has_its_name_and_the_address_of_its_metadata() {
        let line = line(&spec().cloud("Amazon EC2", "t3.micro", 8123));
        for part in [
            "-smbios type=1,manufacturer=Amazon EC2,product=t3.micro",
            "user,id=wan,net=169.254.0.0/16,guestfwd=tcp:169.254.169.254:80-cmd:socat STDIO \
             TCP4:127.0.0.1:8123,hostfwd=tcp:127.0.0.1:2201-:22 ",
        ] {
            assert!(line.contains(part), "{line}");
        }
    }

    #[test]
    fn options_add_their_devices() {
        let mut spec = spec()
            .config_drive("#cloud-config\n")
            .kernel_option("strake.debug")
            .kernel_option("a=b,c")
            .lan(Path::new("/tmp/s/port-1"), "52:54:00:00:00:01")
            .watchdog();
        let full = line(&spec);
        assert!(
            full.contains("kernel-cmdline-extra=strake.debug a=b,,c"),
            "{full}"
        );
        assert!(
            full.contains("addr.path=/tmp/s/port-1,reconnect-ms=500"),
            "{full}"
        );
        assert!(
            full.contains("netdev=lan,romfile=,mac=52:54:00:00:00:01"),
            "{full}"
        );
        assert!(full.contains("node-name=config,read-only=on"), "{full}");
        assert!(full.contains("-device i6300esb"), "{full}");

        spec.config = Config::None;
        spec = spec.config_partition("#cloud-config\n");
        let copied = line(&spec);
        assert!(copied.contains("driver=raw,node-name=disk,"), "{copied}");
        assert!(!copied.contains("node-name=config"), "{copied}");

        let recorded = line(&spec.recorded());
        assert!(
            recorded.contains("driver=blklogwrites,node-name=disk,"),
            "{recorded}"
        );
        assert!(
            recorded.contains("log.filename=/lab,,1/node1/writes.log"),
            "{recorded}"
        );
    }
}
