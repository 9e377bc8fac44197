//! `strake status`

use anyhow::Result;
use clap::Args;

use super::RootArg;
use super::output::Output;
use super::runtime::on_one_thread;
use crate::exit::Exit;
use crate::status::{Status, collect};
use crate::systemd::bus::Bus;

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    root: RootArg,
    #[command(flatten)]
    output: Output,
}

impl StatusArgs {
    pub(super) fn run(self) -> Result<Exit> {
        let root = self.root.root();
        let status: Status = on_one_thread(async {
            if !root.is_machine() {
                return collect(&root, Err::<&Bus, _>("not this machine's root".to_string())).await;
            }
            match Bus::system().await {
                Ok(bus) => collect(&root, Ok(&bus)).await,
                Err(error) => collect(&root, Err::<&Bus, _>(error.to_string())).await,
            }
        })?;
        self.output.print(&status, || status.to_string())?;
        Ok(Exit::Done)
    }
}
