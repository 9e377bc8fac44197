//! `strake update ...`

mod change;
mod cluster;
mod show;
mod work;

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use strake_updates::version::Version;

use super::RootArg;
use super::output::Output;
use super::runtime::on_one_thread;
use crate::exit::Exit;
use crate::root::Root;
use crate::update::service::{self, Ending};
use crate::update::{Lock, bus, lock};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Look for releases and install them, and answer on D-Bus (run by strake-update.service)
    ///
    /// First after 7 minutes, give or take 5; then each strake.update.poll_interval (45m), moved
    /// by up to a tenth and twice as long after each failure, up to 4 hours. Ends at once when
    /// there is no server.
    Run,
    /// Find out what became of the last release (run by strake-update-settle.service)
    Settle {
        #[command(flatten)]
        root: RootArg,
    },
    /// What runs, what is staged, what is refused and why, and what needs somebody
    Status {
        /// Which releases fell back in the cluster: where, why, and which it refuses
        #[arg(long)]
        cluster: bool,
        #[command(flatten)]
        root: RootArg,
        #[command(flatten)]
        output: Output,
    },
    /// Ask the server what the channel offers; exit code 3 when there is nothing to install
    Check {
        #[command(flatten)]
        root: RootArg,
        #[command(flatten)]
        output: Output,
    },
    /// Put the release into the passive slot, without booting it next
    Download(work::Arguments),
    /// Put the release into the passive slot and boot it next
    Install(work::Arguments),
    /// Boot the release in the passive slot next, and stay on it (pin)
    ///
    /// The older release gets three tries; should it not come up healthy, the machine returns to
    /// the newer one by itself. With --undo a rollback is taken back before the reboot.
    Rollback {
        #[command(flatten)]
        root: RootArg,
        /// Take back a rollback that was not rebooted into
        #[arg(long)]
        undo: bool,
    },
    /// Want only this release, older or newer
    Pin {
        version: Version,
        #[command(flatten)]
        root: RootArg,
    },
    /// Follow the channel again
    Unpin {
        #[command(flatten)]
        root: RootArg,
    },
    /// Let a release be tried again that did not come up healthy here, or that the cluster refuses
    Retry {
        version: Version,
        #[command(flatten)]
        root: RootArg,
    },
    /// Say for each release of the channel why this machine takes it or does not
    Explain {
        #[command(flatten)]
        root: RootArg,
        #[command(flatten)]
        output: Output,
    },
    /// What happened on this machine, oldest first
    History {
        #[command(flatten)]
        root: RootArg,
        #[command(flatten)]
        output: Output,
    },
}

pub(super) fn run(command: Command) -> Result<Exit> {
    mount_esp();
    match command {
        Command::Run => service(),
        Command::Settle { root } => change::settle(&root.root()),
        Command::Status {
            cluster: true,
            output,
            ..
        } => cluster::status(output),
        Command::Status { root, output, .. } => show::status(&root.root(), output),
        Command::Check { root, output } => work::check(&root.root(), output),
        Command::Download(arguments) => work::download(arguments),
        Command::Install(arguments) => work::install(arguments),
        Command::Rollback { root, undo: false } => change::rollback(&root.root()),
        Command::Rollback { root, undo: true } => change::undo(&root.root()),
        Command::Pin { version, root } => change::pin(&root.root(), version),
        Command::Unpin { root } => change::unpin(&root.root()),
        Command::Retry { version, root } => change::retry(&root.root(), version),
        Command::Explain { root, output } => work::explain(&root.root(), output),
        Command::History { root, output } => show::history(&root.root(), output),
    }
}

fn service() -> Result<Exit> {
    let random = || getrandom::u64().unwrap_or(0);
    let bus = zbus::connection::Builder::system().name(bus::NAME);
    let ended = on_one_thread(service::run(&Root::new("/"), bus, random))??;
    match ended {
        Ending::Off => {
            eprintln!("strake: update: no SERVER in /etc/coreos/update.conf, updates are off");
            Ok(Exit::Done)
        }
        // systemd starts it again, and it finds the bus that is there then.
        Ending::Stopped => bail!("the connection to D-Bus has ended"),
    }
}

/// After a boot that nobody had to bless, the ESP is not mounted. Whoever may not mount it is told
/// by what needs it.
fn mount_esp() {
    let esp = Path::new("/efi");
    let is_mounted = esp.join("EFI").exists();
    if nix::unistd::geteuid().is_root() && esp.exists() && !is_mounted {
        let mut systemctl = std::process::Command::new("systemctl");
        let _ = systemctl.args(["start", "efi.mount"]).status();
    }
}

fn take_lock(root: &Root) -> Result<Lock> {
    match lock(root).context("locking /run/strake/update.lock")? {
        Some(lock) => Ok(lock),
        None => bail!(
            "another update command or strake-update.service is at work; `strake update status` \
             shows how far it is"
        ),
    }
}
