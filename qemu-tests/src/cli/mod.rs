//! The command line: what is asked, and the exit code of the answer.

mod bench;
mod machines;
mod status;
mod terminal;
mod test;
mod up;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use strake_qemu_tests::lab::{BadCluster, Lab};
use strake_qemu_tests::measure::Cost;
use strake_qemu_tests::switch::{self, Groups, Port};
use strake_qemu_tests::tools::Tools;
use strake_qemu_tests::workspace::Workspace;

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 bad input or usage, 3 nothing to do";
const SEED: u64 = 1;

/// Boots clusters of Strake machines in QEMU and runs the tests.
#[derive(Debug, Parser)]
#[command(name = "cargo lab", bin_name = "cargo lab", version, after_help = EXIT_CODES)]
struct Cli {
    /// Which lab; each has its own machines, network and keys
    #[arg(long, global = true, default_value = "lab", value_name = "NAME")]
    name: String,
    /// Where images, caches and labs live [default: target/strake]
    #[arg(long, global = true, env = "STRAKE_DIR", value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build what is missing and boot the cluster of a description
    Up(up::Arguments),
    /// End the lab and remove its machines
    Down,
    /// What runs and how it fares
    Status {
        #[arg(long, short, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Log in to a machine, or run a command there
    Ssh {
        machine: Port,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Hold a machine's serial console; leave it with Ctrl-]
    Console { machine: Port },
    /// What a machine's console has said
    Logs {
        machine: Port,
        /// Go on showing what comes, until the machine ends
        #[arg(long, short)]
        follow: bool,
    },
    /// Cut a machine's power; `up` brings it back with its disk
    Kill { machine: Port },
    /// Cut the network into groups such as 1,2:3
    Partition { groups: Groups },
    /// Make the network whole again
    Heal,
    /// Record the frames of the lab's network
    Capture { file: PathBuf },
    /// Run every test and print one summary
    Test(test::Arguments),
    /// Measure against a peer and print a table
    Bench(bench::Arguments),
    /// Run one command and say what it cost; for `bench`
    #[command(hide = true)]
    Measure {
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// The lab's network; started by `up`
    #[command(hide = true)]
    Switch { directory: PathBuf },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
    Yaml,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Exit {
    Done = 0,
    Failed = 1,
    BadInput = 2,
    NothingToDo = 3,
}

/// The user asked for something that cannot be meant.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BadInput(String);

pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let exit = run(&cli).unwrap_or_else(|error| {
        eprintln!("strake-lab: {error:#}");
        let bad_input = error.is::<BadInput>() || error.is::<BadCluster>();
        if bad_input {
            Exit::BadInput
        } else {
            Exit::Failed
        }
    });
    ExitCode::from(exit as u8)
}

fn run(cli: &Cli) -> Result<Exit> {
    if let Command::Switch { directory } = &cli.command {
        switch::serve(directory, SEED)?;
        return Ok(Exit::Done);
    }
    if let Command::Measure { command } = &cli.command {
        let cost = Cost::of_only_child(&command[0], &command[1..])?;
        println!("{}", serde_json::to_string(&cost)?);
        return Ok(Exit::Done);
    }
    let workspace = Workspace::find(cli.dir.as_deref())?;
    let lab = Lab::named(&workspace, &cli.name).map_err(|error| BadInput(error.to_string()))?;
    let tools = Tools::new(workspace.program("strake-image"), workspace.work());
    match &cli.command {
        Command::Up(arguments) => up::run(arguments, &workspace, &lab),
        Command::Down => machines::down(&lab),
        Command::Status { output } => status::run(&lab, &tools, *output),
        Command::Ssh { machine, command } => machines::ssh(&lab, *machine, command, &tools),
        Command::Console { machine } => machines::console(&lab, *machine),
        Command::Logs {
            machine,
            follow: true,
        } => machines::follow_logs(&lab, *machine),
        Command::Logs {
            machine,
            follow: false,
        } => machines::logs(&lab, *machine),
        Command::Kill { machine } => machines::kill(&lab, *machine),
        Command::Partition { groups } => {
            machines::network(&lab, &switch::Request::Partition(groups.clone()))
        }
        Command::Heal => machines::network(&lab, &switch::Request::Heal),
        Command::Capture { file } => {
            machines::network(&lab, &switch::Request::Capture(absolute(file)?))
        }
        Command::Test(arguments) => test::run(arguments, &workspace),
        Command::Bench(arguments) => bench::run(arguments, &workspace),
        Command::Measure { .. } | Command::Switch { .. } => unreachable!("served above"),
    }
}

/// The switch has a current directory of its own.
fn absolute(path: &Path) -> Result<PathBuf> {
    Ok(std::path::absolute(path)?)
}
