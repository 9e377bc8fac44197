//! `cargo lab bench`.

use anyhow::Result;
use clap::{Args, ValueEnum};
use strake_qemu_tests::bench::{self, RUNS, Row, Site};
use strake_qemu_tests::progress::Progress;
use strake_qemu_tests::workspace::Workspace;

use super::{BadInput, Exit, Output, status, up};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Which
    bench: Bench,
    /// Runs of which the median is taken, 3 or more
    #[arg(long, default_value_t = RUNS)]
    runs: usize,
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// Kernel start to a healthy node, against the same packages booted the usual way
    Boot,
    /// Packages to disk image, against mkosi
    Build,
    /// Checking and applying cloud-configs, against cloud-init
    Config,
    /// Machines that want the reboot lock, 1,000 on a real etcd and 10,000 in memory
    Lock,
    /// The overlay network between namespaces, against a vxlan made by hand (as root)
    Overlay,
    /// Units through a real etcd, with machines simulated up to 10,000
    Scheduler,
    /// Bytes and work of updates, against casync, zchunk, xdelta3, RAUC and zstd
    Update,
}

const HEADINGS: [&str; 7] = [
    "measure", "Strake", "peer", "peer's", "ratio", "bar", "holds",
];

pub(super) fn run(arguments: &Arguments, workspace: &Workspace) -> Result<Exit> {
    if arguments.runs < RUNS {
        return Err(BadInput(format!("a median needs {RUNS} runs or more")).into());
    }
    let progress = Progress::default();
    let (image, tools) = up::build(workspace, &progress)?;
    let site = Site {
        workspace,
        tools: &tools,
        image: &image,
        progress: &progress,
        runs: arguments.runs,
    };
    let rows = match arguments.bench {
        Bench::Boot => bench::boot(&site)?,
        Bench::Build => bench::build(&site)?,
        Bench::Config => bench::config(&site)?,
        Bench::Lock => bench::lock(&site)?,
        Bench::Overlay => bench::overlay(&site)?,
        Bench::Scheduler => bench::scheduler(&site)?,
        Bench::Update => bench::update(&site)?,
    };
    print(&rows, arguments.output)?;
    Ok(Exit::Done)
}

fn print(rows: &[Row], output: Output) -> Result<()> {
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(rows)?),
        Output::Yaml => print!("{}", serde_yaml::to_string(&rows)?),
        Output::Table => {
            let (machine, measured) = rows.split_first().expect("the machine's row is there");
            println!("{}", machine.cells()[1]);
            let cells: Vec<[String; 7]> = measured.iter().map(Row::cells).collect();
            print!("{}", status::table(&HEADINGS, &cells));
        }
    }
    Ok(())
}
