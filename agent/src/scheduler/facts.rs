//! What this machine says of itself: read from its own files, told again only when it matters.

use std::collections::BTreeMap;

use crate::root::Root;

use super::machine::{Fact, LIVE_FACTS, Machine, MachineId};

/// Facts by name. What cannot be read is not there.
pub fn read(root: &Root) -> BTreeMap<String, Fact> {
    let mut facts = BTreeMap::new();
    let text = |path: &str| root.read_text(path).unwrap_or_default();
    let mut add = |name: &str, fact: Option<Fact>| {
        if let Some(fact) = fact {
            facts.insert(name.to_string(), fact);
        }
    };
    let cpus = text("/proc/cpuinfo");
    let cpus = cpus
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    add("cpus", (cpus > 0).then_some(Fact::Number(cpus as f64)));
    let memory = text("/proc/meminfo");
    add("memory", kibibytes(&memory, "MemTotal:"));
    add("memory_free", kibibytes(&memory, "MemAvailable:"));
    let loads = text("/proc/loadavg");
    for (name, word) in ["load1", "load5", "load15"].iter().zip(loads.split(' ')) {
        add(name, word.parse().ok().map(Fact::Number));
    }
    let kernel = text("/proc/sys/kernel/osrelease").trim().to_string();
    add("kernel", (!kernel.is_empty()).then_some(Fact::Text(kernel)));
    let release = text("/usr/lib/os-release");
    let release = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_ID="));
    let release = release.map(|value| Fact::Text(value.trim_matches('"').to_string()));
    add("release", release);
    for (name, text) in crate::status::told::facts(root) {
        add(name, Some(Fact::Text(text)));
    }
    for (name, version) in runtimes(&text(PACKAGES)) {
        add(name, Some(Fact::Text(version)));
    }
    add("arch", Some(Fact::Text(std::env::consts::ARCH.to_string())));
    if let Some(space) = root
        .follow(std::path::Path::new("/var"))
        .ok()
        .and_then(|path| nix::sys::statvfs::statvfs(&path).ok())
    {
        let bytes = |blocks: u64| Fact::Number((blocks * space.fragment_size()) as f64);
        add("disk", Some(bytes(space.blocks())));
        add("disk_free", Some(bytes(space.blocks_available())));
    }
    facts
}

/// What the image was made of.
const PACKAGES: &str = "/usr/share/strake/packages.json";
/// What runs units, by the fact and the package that brings it.
const RUNTIMES: [(&str, &str); 4] = [
    ("containerd", "containerd"),
    ("docker", "docker.io"),
    ("runc", "runc"),
    ("systemd", "systemd"),
];

#[derive(serde::Deserialize)]
struct Package {
    name: String,
    version: String,
}

fn runtimes(packages: &str) -> Vec<(&'static str, String)> {
    let packages: Vec<Package> = serde_json::from_str(packages).unwrap_or_default();
    let found = packages.into_iter().filter_map(|package| {
        let runtime = RUNTIMES.iter().find(|(_, name)| *name == package.name)?;
        Some((runtime.0, package.version))
    });
    found.collect()
}

fn kibibytes(text: &str, name: &str) -> Option<Fact> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(Fact::Number(number * 1024.0))
}

/// `key=value,key=value`, as fleet's metadata setting.
pub fn metadata(text: &str) -> BTreeMap<String, String> {
    let pairs = text
        .split(',')
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .filter(|(key, value)| !key.is_empty() && !value.is_empty())
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect()
}

pub fn machine_id(root: &Root) -> anyhow::Result<MachineId> {
    use anyhow::Context;
    let text = root
        .read_text("/etc/machine-id")
        .context("reading /etc/machine-id")?;
    text.trim().parse().context("understanding /etc/machine-id")
}

/// Whether the difference is worth a write: a live fact counts when it has moved by a tenth of
/// what there is (a quarter of the processors for the loads).
pub fn is_material(before: &Machine, after: &Machine) -> bool {
    let mut told = before.clone();
    for name in LIVE_FACTS {
        let scale = match name {
            "memory_free" => after
                .fact("memory")
                .and_then(|fact| fact.number())
                .map(|m| m / 10.0),
            "disk_free" => after
                .fact("disk")
                .and_then(|fact| fact.number())
                .map(|d| d / 10.0),
            _ => after
                .fact("cpus")
                .and_then(|fact| fact.number())
                .map(|c| c / 4.0),
        };
        let number = |machine: &Machine| machine.facts.get(name).and_then(Fact::number);
        if let (Some(old), Some(new), Some(scale)) = (number(before), number(after), scale)
            && (old - new).abs() < scale
        {
            told.facts.insert(name.to_string(), Fact::Number(new));
        }
    }
    told != *after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_come_from_the_machines_files() {
        let dir = tempfile::tempdir().expect("temp dir");
        let files = [
            (
                "proc/cpuinfo",
                "processor\t: 0\nmodel\t: x\nprocessor\t: 1\n",
            ),
            (
                "proc/meminfo",
                "MemTotal:  2048 kB\nMemFree: 1 kB\nMemAvailable: 1024 kB\n",
            ),
            ("proc/loadavg", "0.50 1.25 2.00 1/100 999\n"),
            ("proc/sys/kernel/osrelease", "6.12.1\n"),
            ("usr/lib/os-release", "ID=strake\nVERSION_ID=\"1.2\"\n"),
            (
                "usr/share/strake/packages.json",
                r#"[{"name": "docker.io", "version": "26.1.5", "sha256": "x"},
                    {"name": "docker", "version": "1"}]"#,
            ),
            ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
        ];
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("dir")).expect("dir");
            std::fs::write(path, text).expect("file");
        }
        std::fs::create_dir(dir.path().join("var")).expect("dir");
        let root = Root::new(dir.path());
        let facts = read(&root);
        let number = |name: &str| facts[name].number().expect(name);
        assert_eq!((number("cpus"), number("load5")), (2.0, 1.25));
        assert_eq!(number("memory"), 2048.0 * 1024.0);
        assert_eq!(number("memory_free"), 1024.0 * 1024.0);
        assert_eq!(facts["release"].to_string(), "1.2");
        assert_eq!(facts["docker"].to_string(), "26.1.5");
        assert!(!facts.contains_key("containerd"));
        assert!(number("disk") >= number("disk_free"));
        assert_eq!(machine_id(&root).expect("id").short(), "01234567");
        assert!(read(&Root::new(dir.path().join("none"))).len() <= 1);
    }

    #[test]
    fn small_moves_are_not_told() {
        let machine = |load: f64, free: f64, zone: &str| {
            let mut machine = Machine::bare("m");
            let facts = [
                ("cpus", 4.0),
                ("memory", 10e9),
                ("load5", load),
                ("memory_free", free),
            ];
            for (name, value) in facts {
                machine.facts.insert(name.to_string(), Fact::Number(value));
            }
            machine.metadata = metadata(&format!("zone={zone},bad, =x"));
            machine
        };
        let before = machine(1.0, 5e9, "a");
        assert!(!is_material(&before, &machine(1.9, 5.9e9, "a")));
        assert!(is_material(&before, &machine(2.1, 5e9, "a")));
        assert!(is_material(&before, &machine(1.0, 3.9e9, "a")));
        assert!(is_material(&before, &machine(1.0, 5e9, "b")));
    }
}
