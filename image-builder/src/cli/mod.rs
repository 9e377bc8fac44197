//! The command line.

mod build;
mod inspect;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use crate::mirror::Mirror;
use crate::progress::Progress;
use crate::tools::{Kit, Tools};
use crate::workspace::Workspace;
use crate::{BadInput, sandbox};

/// Build the Strake image.
#[derive(Debug, Parser)]
#[command(name = "strake-image", version, after_help = EXIT_CODES)]
struct Cli {
    /// Where tools, packages, cached stages and images live [default: target/strake]
    #[arg(long, global = true, env = "STRAKE_DIR", value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Debian mirror [default: the one of the host's apt]
    #[arg(long, global = true, value_name = "URL")]
    mirror: Option<String>,
    #[command(subcommand)]
    command: Subcommands,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 bad input or usage";

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Build the image and everything published beside it
    Build(Box<build::BuildArguments>),
    /// Resolve the recipe's packages anew and write packages.lock
    Lock(build::LockArguments),
    /// Make the tools tree when it is missing and print its path
    Tools,
    /// Say what a disk image or the directory of a build holds
    Inspect(inspect::InspectArguments),
    /// Run a program of the tools tree in this process
    Tool(ToolArguments),
}

#[derive(Debug, Args)]
struct ToolArguments {
    /// From a tree of its own with a browser, which is made when it is missing (0.9 GB)
    #[arg(long)]
    browser: bool,
    /// Program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<std::ffi::OsString>,
}

pub fn main() -> ExitCode {
    let progress = Progress::on_stderr();
    match run(Cli::parse(), &progress) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("strake-image: {error:#}");
            if full_disk(&error) {
                eprintln!(
                    "the disk is full: free some space, or put the workspace elsewhere with --dir"
                );
            }
            ExitCode::from(if error.is::<BadInput>() { 2 } else { 1 })
        }
    }
}

/// Found by its text, since it may have come from a program of the tools tree.
fn full_disk(error: &anyhow::Error) -> bool {
    format!("{error:#}").contains("No space left on device")
}

fn run(cli: Cli, progress: &Progress) -> Result<()> {
    if let Subcommands::Inspect(arguments) = &cli.command {
        return inspect::run(arguments);
    }
    let workspace = Workspace::locate(cli.dir)?;
    let mirror = cli.mirror;
    let find_mirror = || match &mirror {
        Some(url) => Mirror::parse(url),
        None => Mirror::of_host("/etc/apt".as_ref()),
    };
    let kit = match &cli.command {
        Subcommands::Tool(arguments) if arguments.browser => Kit::Browser,
        _ => Kit::Build,
    };
    let tools = Tools::prepare(&workspace, kit, find_mirror, progress)?;
    let host = build::Host {
        workspace: &workspace,
        tools: &tools,
        progress,
    };
    match cli.command {
        Subcommands::Build(arguments) => build::build(&host, *arguments, find_mirror)?,
        Subcommands::Lock(arguments) => build::lock(&host, &arguments, find_mirror)?,
        Subcommands::Inspect(_) => unreachable!("done above"),
        Subcommands::Tools => println!("{}", tools.tree().display()),
        Subcommands::Tool(arguments) => return tool(&workspace, &tools, &arguments),
    }
    Ok(())
}

fn tool(workspace: &Workspace, tools: &Tools, arguments: &ToolArguments) -> Result<()> {
    sandbox::enter(tools.tree(), &[workspace.root()])?;
    let [program, rest @ ..] = arguments.command.as_slice() else {
        unreachable!("clap requires one word");
    };
    let error = Command::new(program)
        .args(rest)
        .env("PATH", sandbox::PATH)
        .exec();
    Err(error).with_context(|| format!("running {} in the tools tree", program.display()))
}
