//! `strake dashboard ...`

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Subcommand;
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use super::runtime::on_one_thread;
use super::store;
use crate::cluster::clock::Clock;
use crate::dashboard::serve::{Door, serve};
use crate::dashboard::settings::Settings;
use crate::exit::Exit;
use crate::metrics::{self, Registry};
use crate::peer::Credentials;
use crate::root::Root;
use crate::scheduler::service::{until_certified, until_renewed};
use crate::store::etcd::Etcd;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve the cluster as a page for browsers (run by strake-dashboard.service)
    ///
    /// Where and for whom is in /etc/strake/dashboard.json, which strake.dashboard makes, unless
    /// it is said here.
    Run {
        /// Address and port; strake.dashboard.listen when it is left out
        #[arg(long, value_name = "ADDRESS:PORT")]
        listen: Option<SocketAddr>,
        /// File with the token alone; with --listen. Without it only users with a certificate come in
        #[arg(long, value_name = "FILE", requires = "listen")]
        token_file: Option<PathBuf>,
    },
}

pub(super) fn run(command: Command) -> Result<Exit> {
    match command {
        Command::Run { listen, token_file } => {
            on_one_thread(LocalSet::new().run_until(work(listen, token_file.as_deref())))?
        }
    }
}

/// Until the machine has another certificate; the next start uses it.
async fn work(listen: Option<SocketAddr>, token_file: Option<&Path>) -> Result<Exit> {
    let root = &Root::new("/");
    until_certified(root).await;
    let settings = match listen {
        None => Settings::read(root)?,
        Some(listen) => {
            let read = |path: &Path| {
                let reading = || format!("reading {}", path.display());
                std::fs::read_to_string(path).with_context(reading)
            };
            let token = token_file.map(read).transpose()?;
            Settings::of(root, listen, token.as_deref().map(str::trim))?
        }
    };
    let access = store::settings()?;
    let door = Door {
        credentials: Credentials::read(root, &access)?,
        clock: Clock::load(root),
    };
    let listen = settings.listen;
    let listener = TcpListener::bind(listen).await;
    let listener = listener.with_context(|| format!("listening at {listen}"))?;
    println!("the cluster is shown at {}", listener.local_addr()?);
    let store = Etcd::connect(&access).await?;
    let figures = Registry::default();
    let serving = serve(listener, store, settings, door, figures.clone());
    tokio::select! {
        ended = serving => ended.map(|never| match never {}),
        never = metrics::offer(root, "dashboard", &figures) => never,
        () = until_renewed(root, &access) => Ok(Exit::Done),
    }
}
