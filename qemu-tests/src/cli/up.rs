//! `cargo lab up`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use strake_qemu_tests::image::Image;
use strake_qemu_tests::lab::{self, Cluster, Lab, machine_name};
use strake_qemu_tests::progress::Progress;
use strake_qemu_tests::switch::Port;
use strake_qemu_tests::tools::Tools;
use strake_qemu_tests::workspace::Workspace;
use strake_qemu_tests::{host, programs};

use super::Exit;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// How many machines [default: as the description says]
    #[arg(long, value_name = "N")]
    nodes: Option<Port>,
    /// Description of the cluster
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, workspace: &Workspace, lab: &Lab) -> Result<Exit> {
    let example = workspace.root().join("examples/cluster.yaml");
    let path = arguments.cluster.as_ref().unwrap_or(&example);
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let cluster = Cluster::parse(&text)?;
    let cluster = cluster.with_machines(arguments.nodes.unwrap_or(cluster.machines))?;

    let progress = Progress::default();
    let (image, tools) = build(workspace, &progress)?;
    let booted = lab::up(lab, &cluster, &image, &tools, &progress)?;
    if booted.is_empty() {
        progress.say("every machine runs already; `cargo lab status` shows them");
        return Ok(Exit::NothingToDo);
    }
    println!(
        "\nStrake {}, {} of {} started:",
        image.release.version,
        booted.len(),
        cluster.machines
    );
    for machine in &booted {
        let (number, name) = (machine.number, machine_name(machine.number));
        print!(
            "  {name}  cargo lab ssh {number}  (port {} on loopback)",
            machine.ssh_port
        );
        match machine.web_port {
            Some(port) => println!("  http://127.0.0.1:{port}/"),
            None => println!(),
        }
    }
    println!("`cargo lab status` shows them, `cargo lab down` ends them.");
    Ok(Exit::Done)
}

/// Everything that comes before the first machine, for `up`, `test` and `bench` alike.
pub(super) fn build(workspace: &Workspace, progress: &Progress) -> Result<(Image, Tools)> {
    host::prepare(progress)?;
    let tools = progress.stage("programs", || programs::build(workspace))?;
    progress.stage("tools tree", || tools.prepare())?;
    let image = progress.stage("image", || Image::build(workspace, &tools))?;
    Ok((image, tools))
}
