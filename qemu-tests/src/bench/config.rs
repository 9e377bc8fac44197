//! Checking, planning and applying cloud-configs, against cloud-init.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::boot::describe;
use super::cloud_init::CloudInit;
use super::{Row, Site, Summary};
use crate::lab::{Cluster, ClusterMachine, membership};
use crate::machine::{Machine, MachineSpec};
use crate::measure::Cost;
use crate::ssh::KeyPair;
use crate::wait::Deadline;

const PEER: &str = "cloud-init, init and modules";
const LARGE: &str = "1,000 files, 200 units, 2 MB";
const FILES: usize = 1000;
const UNITS: usize = 200;
/// Of the config that both read.
const SHARED_FILES: usize = 50;
/// What takes milliseconds is measured more often.
const OFTEN: usize = 5;
/// The kernel's magic number of tmpfs.
const TMPFS: i64 = 0x0102_1994;
const BOOT_LIMIT: u64 = 600;

pub fn config(site: &Site<'_>) -> Result<Vec<Row>> {
    let directory = site.workspace.work().join("bench/config");
    fs::create_dir_all(&directory)?;
    let strake = Strake {
        site,
        program: site.workspace.program("strake"),
        root: PathBuf::from(format!("/dev/shm/strake-bench-{}", std::process::id())),
    };
    let mut rows = vec![Row::machine(&describe())];
    rows.extend(site.progress.stage(LARGE, || large(&strake, &directory))?);
    rows.extend(against_cloud_init(&strake, site)?);
    rows.push(before_boot(site, &directory)?);
    Ok(rows)
}

fn large(strake: &Strake<'_>, directory: &Path) -> Result<[Row; 8]> {
    let file = directory.join("large.yaml");
    fs::write(&file, large_config())?;
    let file = file.to_str().context("the path is not UTF-8")?;
    let [mut validate, mut plan, mut apply] =
        [Times::default(), Times::default(), Times::default()];
    for _ in 0..OFTEN * strake.site.runs {
        validate.add(strake.run(&["config", "validate", file])?);
        plan.add(strake.run(&["config", "plan", file])?);
        apply.add(strake.apply(&large_config(), FILES, UNITS)?);
    }
    let time = |what: &str, times: &Times, bar| {
        Row::new(&format!("{what}: {LARGE}"), times.wall.median(), "ms").at_most(bar)
    };
    // What a busy host moves less.
    let processor = |what: &str, times: &Times| {
        Row::new(
            &format!("{what}, processor time"),
            times.processor.median(),
            "ms",
        )
    };
    let memory = |what: &str, times: &Times| {
        Row::new(&format!("{what}, memory"), times.peak.median(), "MB").at_most(30.0)
    };
    Ok([
        time("validate", &validate, 50.0),
        processor("validate", &validate),
        memory("validate", &validate),
        time("plan", &plan, 50.0),
        processor("plan", &plan),
        memory("plan", &plan),
        time("apply to an empty tmpfs", &apply, 300.0),
        processor("apply", &apply),
    ])
}

fn against_cloud_init(strake: &Strake<'_>, site: &Site<'_>) -> Result<[Row; 1]> {
    let text = shared_config();
    let cloud_init = CloudInit::prepare(site, &text)?;
    let (mut own, mut peer) = (Summary::default(), Summary::default());
    for number in 1..=site.runs {
        let name = format!("{SHARED_FILES} files {number} of {}", site.runs);
        site.progress.stage(&name, || {
            own.add(strake.apply(&text, SHARED_FILES, 0)?.cpu_ms);
            peer.add(cloud_init.run(SHARED_FILES)?);
            Ok(())
        })?;
    }
    let measure = format!("processor time for {SHARED_FILES} files");
    Ok([Row::new(&measure, own.median(), "ms")
        .against(PEER, peer.median())
        .ratio_at_most(0.05)])
}

/// What strake-init notes of the phase, on machines with the example's config.
fn before_boot(site: &Site<'_>, directory: &Path) -> Result<Row> {
    let example = site.workspace.root().join("examples/cluster.yaml");
    let cluster = Cluster::parse(&fs::read_to_string(example)?)?;
    let key = KeyPair::in_directory(directory, site.tools)?;
    let ssh_key = key.public()?;
    let node = ClusterMachine {
        number: 1,
        ssh_key: &ssh_key,
        // Nothing is pulled before the boot.
        registry: "10.0.2.2:5000",
        membership: &membership(directory, 1, site.tools)?,
    };
    let user_data = node.user_data(&cluster)?;
    let mut times = Summary::default();
    for number in 1..=site.runs {
        let name = format!("boot {number} of {}", site.runs);
        site.progress.stage(&name, || {
            let spec = MachineSpec::new("node", &site.image.disk, &key).config_drive(&user_data);
            let mut machine = Machine::start(spec, &directory.join("node"), site.tools)?;
            machine.wait_for_ssh(Deadline::seconds(BOOT_LIMIT))?;
            let told = machine.ask("cat /run/strake/init.json")?;
            times.add(config_step(&told)?);
            Ok(())
        })?;
    }
    let measure = "before PID 1, examples/cluster.yaml, on a machine";
    Ok(Row::new(measure, times.median(), "ms").at_most(300.0))
}

fn config_step(init: &str) -> Result<f64> {
    let told: Value = serde_json::from_str(init).context("reading init.json")?;
    let mut steps = told["steps"].as_array().into_iter().flatten();
    let step = steps
        .find(|step| step["name"] == "config")
        .context("init.json has no step named config")?;
    let time = |key: &str| {
        step[key]
            .as_u64()
            .context("init.json has a step without times")
    };
    Ok(time("end_us")?.saturating_sub(time("start_us")?) as f64 / 1e3)
}

#[derive(Debug, Default)]
struct Times {
    wall: Summary,
    processor: Summary,
    peak: Summary,
}

impl Times {
    fn add(&mut self, cost: Cost) {
        self.wall.add(cost.wall_ms);
        self.processor.add(cost.cpu_ms);
        self.peak.add(cost.peak_mb);
    }
}

/// The program of the image, run on the host.
struct Strake<'a> {
    site: &'a Site<'a>,
    program: PathBuf,
    /// In memory.
    root: PathBuf,
}

impl Strake<'_> {
    fn run(&self, arguments: &[&str]) -> Result<Cost> {
        Cost::of(self.site.tools, self.program.as_os_str(), arguments)
    }

    /// The phase before PID 1, with a root that has nothing but a CONFIG partition.
    fn apply(&self, text: &str, files: usize, units: usize) -> Result<Cost> {
        let _ = fs::remove_dir_all(&self.root);
        fs::create_dir_all(self.root.join("config"))?;
        let kind = rustix::fs::statfs(&self.root)?.f_type;
        ensure!(kind == TMPFS, "{} is not in memory", self.root.display());
        fs::write(self.root.join("config/user_data"), text)?;
        let root = self.root.to_str().context("the path is not UTF-8")?;
        let cost = self.run(&["config", "apply", "--before-boot", "--root", root])?;
        let found = (
            count(&self.root.join("etc/files")),
            count(&self.root.join("etc/systemd/system")),
        );
        fs::remove_dir_all(&self.root)?;
        // Beside the units lies the directory of their links.
        ensure!(
            found.0 == files && found.1 >= units,
            "{found:?} files and units were made of {files} and {units}"
        );
        Ok(cost)
    }
}

/// Entries of a directory; none where it is missing.
pub(super) fn count(directory: &Path) -> usize {
    fs::read_dir(directory).map_or(0, Iterator::count)
}

fn large_config() -> String {
    let mut text = String::from("#cloud-config\n");
    add_files(&mut text, FILES, 50);
    text.push_str("coreos:\n  units:\n");
    for unit in 0..UNITS {
        let _ = write!(
            text,
            "    - name: unit-{unit}.service\n      enable: true\n      content: |\n        \
             [Service]\n        ExecStart=/bin/true\n"
        );
        for line in 0..35 {
            let _ = writeln!(text, "        Environment=NAME{line}=some value");
        }
        text.push_str("        [Install]\n        WantedBy=multi-user.target\n");
    }
    text
}

/// Only what cloud-init understands as well.
fn shared_config() -> String {
    let mut text = String::from("#cloud-config\nhostname: measured\n");
    add_files(&mut text, SHARED_FILES, 20);
    text
}

fn add_files(text: &mut String, files: usize, lines: usize) {
    text.push_str("write_files:\n");
    for file in 0..files {
        let _ = write!(
            text,
            "  - path: /etc/files/{file}\n    permissions: '0644'\n    content: |\n"
        );
        for line in 0..lines {
            let _ = writeln!(text, "      line {line} of a file in the config");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_large_config_is_as_large_as_its_name_says() {
        let text = large_config();
        assert_eq!(text.matches("  - path: ").count(), FILES);
        assert_eq!(text.matches("    - name: ").count(), UNITS);
        assert!(
            (2_000_000..2_500_000).contains(&text.len()),
            "{}",
            text.len()
        );
        assert_eq!(shared_config().matches("  - path: ").count(), SHARED_FILES);
    }

    #[test]
    fn the_time_of_the_step_is_found() {
        let text = r#"{"steps": [{"name": "etc", "start_us": 1, "end_us": 2},
            {"name": "config", "start_us": 1000, "end_us": 81500}]}"#;
        assert_eq!(config_step(text).unwrap(), 80.5);
        assert!(config_step(r#"{"steps": []}"#).is_err());
    }
}
