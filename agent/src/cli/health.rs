//! `strake health ...`

use anyhow::{Context, Result};
use clap::Subcommand;

use super::RootArg;
use super::output::Output;
use super::runtime::on_one_thread;
use crate::exit::Exit;
use crate::health::decision::OnFailure;
use crate::health::{Boot, Health, State, judge};
use crate::root::Root;
use crate::status::{boot_entry, entry, release};
use crate::systemd::Units;
use crate::systemd::bus::Bus;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Wait until this boot is known to be healthy or not (run by strake-health.service)
    ///
    /// Healthy: local-fs.target and multi-user.target are reached, every unit in
    /// strake.health.require is up and no unit of the image that the boot pulls in has failed,
    /// all that without a gap for strake.health.for (30s); /var/lib/strake can be written; etcd,
    /// when it runs, says it is healthy; every executable in /etc/strake/health.d exits 0 within
    /// 30 s. At strake.health.deadline (10m) a release on trial is rebooted, a blessed one stays
    /// and the exit code is 1.
    Run,
    /// Show what was found on this boot; exit code 1 unless it is healthy
    Status {
        #[command(flatten)]
        root: RootArg,
        #[command(flatten)]
        output: Output,
    },
}

pub(super) fn run(command: Command) -> Result<Exit> {
    let health = match command {
        Command::Run => judge_machine()?,
        Command::Status { root, output } => {
            let health = Health::read(&root.root());
            output.print(&health, || table(&health))?;
            health
        }
    };
    Ok(if health.state == State::Healthy {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn judge_machine() -> Result<Health> {
    let root = Root::new("/");
    on_one_thread(async {
        let bus = Bus::system().await.context("reaching systemd")?;
        let blessing = bus.unit("systemd-bless-boot.service").await;
        let blessed = blessing.is_ok_and(|unit| unit.active.is_up());
        let entry = boot_entry(&root, blessed, &mut Vec::new());
        let on_failure = match entry.state {
            entry::State::Trying => OnFailure::Reboot,
            entry::State::Blessed | entry::State::Unknown => OnFailure::Stay,
        };
        let release = release(&root).unwrap_or_default();
        judge(
            &root,
            &bus,
            &Boot {
                release,
                entry: entry.file,
                on_failure,
            },
        )
        .await
    })?
}

fn table(health: &Health) -> String {
    let reason = health
        .reason
        .as_ref()
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default();
    format!("{}{reason}\n", health.state.word())
}
