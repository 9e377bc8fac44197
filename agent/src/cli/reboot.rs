//! `strake reboot ...`: reboots that do no harm.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use zbus::connection;

use super::output::{Output, columns};
use super::runtime::on_one_thread;
use crate::exit::Exit;
use crate::metrics::{self, Registry};
use crate::reboot::decision::{Heed, Wanted};
use crate::reboot::logind::Logind;
use crate::reboot::pending::{self, Only, Pending};
use crate::reboot::service::{Doors, Ending, Service};
use crate::reboot::settings::{Environment, Settings};
use crate::reboot::socket::{self, Call, Order, SOCKET, Told};
use crate::reboot::{need, obey, own, settle, undo};
use crate::root::Root;
use crate::scheduler::service::{group_of_users, until_certified, until_renewed};
use crate::store::etcd::{self, Etcd};
use crate::store::measured::Measured;
use crate::systemd::Units;
use crate::systemd::bus::Bus;

/// Between two tries at what another process or the cluster keeps.
const AGAIN: Duration = Duration::from_secs(2);
const LATER: Duration = Duration::from_secs(15);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Reboot into updates as the strategy says (run by strake-reboot.service)
    ///
    /// Strategies, by coreos.update.reboot_strategy: etcd-lock, reboot, best-effort, off. Exit code 3:
    /// the strategy is off
    Run,
    /// Give back what the last reboot took, once this boot is healthy (run by
    /// strake-reboot-settle.service). Exit code 3: nothing was taken
    Settle,
    /// Reboot as soon as the lock and the cluster allow; windows do not count, and logged-in users
    /// are told and not waited for
    Now(Now),
    /// What the machine does about its next reboot, and what it waits for. Exit code 3: nothing
    /// reboots it by itself
    When {
        #[command(flatten)]
        output: Output,
    },
    /// Take back `now`, and do not reboot into the update that waits. Exit code 3: no service to tell
    Cancel,
}

#[derive(Debug, Args)]
pub(super) struct Now {
    /// For those who look at the lock and for users
    #[arg(long, value_name = "TEXT", default_value = "strake reboot now")]
    reason: String,
    /// Neither inhibitors nor etcd's majority nor zones count. The lock still does
    #[arg(long)]
    force: bool,
}

pub(super) fn run(command: Command) -> Result<Exit> {
    match command {
        Command::Run => on_one_thread(LocalSet::new().run_until(serve()))?,
        Command::Settle => on_one_thread(settle_machine())?,
        Command::Now(now) => on_one_thread(LocalSet::new().run_until(reboot_now(now)))?,
        Command::When { output } => on_one_thread(when(output))?,
        Command::Cancel => on_one_thread(cancel())?,
    }
}

fn log(line: &str) {
    eprintln!("strake: reboot: {line}");
}

async fn serve() -> Result<Exit> {
    let root = Root::new("/");
    until_certified(&root).await;
    let only = loop {
        match pending::only(&root).context("taking /run/strake/reboot.lock")? {
            Some(only) => break only,
            None => tokio::time::sleep(AGAIN).await,
        }
    };
    let path = root.locate(SOCKET.as_ref()).context("placing the socket")?;
    let listener = crate::fleet::bind(&path, group_of_users(&root))?;
    let settings = Settings::read(&root, &Environment::read())?;
    let followed = settings.store.clone();
    let calls = socket::listen(listener);
    let figures = Registry::default();
    let telling = metrics::offer(&root, "reboot", &figures);
    let work = work(&root, settings, calls, None, figures.clone());
    let renewed = async {
        match &followed {
            Some(followed) => until_renewed(&root, followed).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = work => ended,
        never = telling => never,
        () = renewed => {
            log("the machine has another certificate: beginning anew with it");
            Ok(Ending::Stopped)
        }
    };
    drop(only);
    Ok(match ended? {
        Ending::Stopped => Exit::Done,
        Ending::Off => {
            log("the strategy is off: this machine reboots only by hand");
            Exit::NothingToDo
        }
    })
}

/// Until the machine goes down or somebody stops it.
async fn work(
    root: &Root,
    settings: Settings,
    calls: mpsc::Receiver<Call>,
    wanted: Option<Wanted>,
    figures: Registry,
) -> Result<Ending> {
    let store = match &settings.store {
        Some(settings) => Some(Measured::new(Etcd::connect(settings).await?, &figures)),
        None => None,
    };
    let systemd = Bus::system().await.context("reaching systemd")?;
    let connection = connection::Builder::system().build().await;
    let connection = connection.context("reaching D-Bus")?;
    let heard = need::listen(&connection).await;
    // Where there is no store, nobody refuses anything: the channel is closed.
    let refused = match &store {
        Some(store) => obey::follow(store.clone()),
        None => watch::channel(BTreeSet::new()).1,
    };
    let doors = Doors {
        systemd,
        refused,
        logind: Logind::new(connection.clone()).await?,
        store,
        heard: heard.context("listening to com.coreos.update1")?,
        calls,
        stop: signals()?,
        figures,
    };
    let mut service = Service::new(root, settings, doors, own::claimant(root)?, log)?;
    if let Some(wanted) = wanted {
        service.want(wanted);
    }
    service.run().await
}

fn signals() -> Result<mpsc::Receiver<()>> {
    let (sender, receiver) = mpsc::channel(1);
    let mut end = signal(SignalKind::terminate()).context("taking signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("taking signals")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = end.recv() => {}
            _ = interrupt.recv() => {}
        }
        let _ = sender.send(()).await;
    });
    Ok(receiver)
}

async fn reboot_now(now: Now) -> Result<Exit> {
    let order = Order::Now {
        reason: now.reason.clone(),
        force: now.force,
    };
    if let Some(told) = ask(&order).await? {
        println!("{}", told.doing);
        return Ok(Exit::Done);
    }
    let root = Root::new("/");
    if !nix::unistd::geteuid().is_root() {
        bail!("strake-reboot.service does not run, and only root may reboot without it");
    }
    let _only = alone(&root)?;
    let settings = Settings::read(&root, &Environment::read())?;
    let wanted = Wanted::Now {
        reason: now.reason,
        heed: match now.force {
            true => Heed::LockOnly,
            false => Heed::All,
        },
    };
    // Nobody calls: the socket is the service's.
    let (_, calls) = mpsc::channel(1);
    work(&root, settings, calls, Some(wanted), Registry::default()).await?;
    Ok(Exit::Done)
}

fn alone(root: &Root) -> Result<Only> {
    let only = pending::only(root).context("taking /run/strake/reboot.lock")?;
    only.context("another process is about to reboot this machine, or gives the lock back")
}

/// The service does the same when it runs, and then there is nothing to do here.
async fn settle_machine() -> Result<Exit> {
    let root = Root::new("/");
    let Some(_only) = pending::only(&root).context("taking /run/strake/reboot.lock")? else {
        return Ok(Exit::NothingToDo);
    };
    let Some(pending) = Pending::read(&root)? else {
        return Ok(Exit::NothingToDo);
    };
    let bus = Bus::system().await.context("reaching systemd")?;
    while !bus.active("boot-complete.target").await?.is_up() {
        tokio::time::sleep(AGAIN).await;
    }
    until_certified(&root).await;
    let who = own::claimant(&root)?;
    loop {
        match settle_once(&root, pending.store.as_ref(), &who).await {
            Ok(told) => {
                log(told.unwrap_or("nothing was taken"));
                return Ok(Exit::Done);
            }
            Err(error) => match error.downcast_ref::<undo::Error>() {
                Some(known) if !known.is_passing() => return Err(error),
                _ => log(&format!("{error:#}")),
            },
        }
        tokio::time::sleep(LATER).await;
    }
}

async fn settle_once(
    root: &Root,
    store: Option<&etcd::Settings>,
    who: &crate::lock::Claimant,
) -> Result<Option<&'static str>> {
    let settings = Settings::read(root, &Environment::read())?;
    let store = match store.cloned().or(settings.store) {
        Some(settings) => Some(Etcd::connect(&settings).await?),
        None => None,
    };
    Ok(settle(root, store.as_ref(), who, settings.budget).await?)
}

async fn ask(order: &Order) -> Result<Option<Told>> {
    let told = socket::ask(SOCKET.as_ref(), order).await;
    told.with_context(|| format!("asking strake-reboot.service at {SOCKET}"))
}

async fn when(output: Output) -> Result<Exit> {
    let Some(told) = ask(&Order::When).await? else {
        eprintln!("strake-reboot.service does not run: this machine reboots only by hand");
        return Ok(Exit::NothingToDo);
    };
    output.print(&told, || table(&told))?;
    Ok(Exit::Done)
}

fn table(told: &Told) -> String {
    let or_none = |words: &[String]| match words {
        [] => "-".to_string(),
        words => words.join(", "),
    };
    let rows = [
        ("doing", told.doing.clone()),
        ("strategy", told.strategy.clone()),
        ("wanted", told.wanted.clone().unwrap_or("-".to_string())),
        (
            "lock",
            if told.holds_lock { "held" } else { "-" }.to_string(),
        ),
        (
            "window",
            told.window_opens
                .as_ref()
                .map_or("open".to_string(), |opens| format!("opens at {opens}")),
        ),
        ("users", or_none(&told.users)),
        ("inhibitors", or_none(&told.inhibitors)),
    ];
    let row = |(name, value): &(&str, String)| vec![name.to_string(), value.clone()];
    let alarm = told.alarm.iter().map(|alarm| format!("{alarm}\n"));
    alarm.collect::<String>() + &columns(&rows.iter().map(row).collect::<Vec<_>>())
}

async fn cancel() -> Result<Exit> {
    let Some(told) = ask(&Order::Cancel).await? else {
        eprintln!("strake-reboot.service does not run: there is nothing to cancel");
        return Ok(Exit::NothingToDo);
    };
    println!("{}", told.doing);
    Ok(Exit::Done)
}
