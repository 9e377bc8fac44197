//! `strake update run`: looks now and then, installs what is offered, and answers on D-Bus.
//!
//! The work is done in a thread of its own, one piece at a time, so that callers get an answer
//! while a slot is written. Without a server it ends: there is nothing to wait for.

use std::time::Duration;

use anyhow::{Context as _, Result};
use strake_updates::entry::Counter;
use strake_updates::policy::Choice;
use strake_updates::time::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use zbus::Connection;
use zbus::connection::Builder;
use zbus::object_server::InterfaceRef;

use super::bus::{self, Manager, Order};
use super::engine::{self, Engine, Insistence};
use super::entries::Entries;
use super::figures::Figures;
use super::install::Goal;
use super::live::{Failure, FailureKind, Live, Operation};
use super::node::{Kind, Node};
use super::schedule::Schedule;
use super::settings::Settings;
use super::{alarm, clock, look, rollback, running, settle};
use crate::metrics::{self, Registry};
use crate::root::Root;

/// How the service's loop ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Off,
    Stopped,
}

/// What a piece of work came to.
#[derive(Debug)]
struct Outcome {
    answered: bool,
    /// What the server asked for.
    asked: Option<Duration>,
}

/// Runs until the bus is gone. `random` is asked for each time's jitter.
pub async fn run(root: &Root, builder: Builder<'_>, random: fn() -> u64) -> Result<Ending> {
    let settings = Settings::read(root)?;
    if settings.server.is_none() {
        settle::settle(root).context("finding out what became of the last release")?;
        return Ok(Ending::Off);
    }
    let (told, mut news) = watch::channel(Live::read(root));
    let (orders, mut queue) = mpsc::channel(2);
    let manager = Manager {
        live: told.borrow().clone(),
        orders,
    };
    let connection = serve(builder, manager).await?;
    let shown = connection.object_server().interface(bus::PATH).await;
    let shown = shown.context("serving the D-Bus interface")?;
    let mut schedule = Schedule::new(settings.interval);
    let mut next = plan(root, schedule.first(random()));
    let mut work = None;
    let registry = Registry::default();
    let figures = Figures::new(&registry);
    figures.tell(root, &Live::read(root));
    let telling = metrics::offer(root, "update", &registry);
    tokio::pin!(telling);
    loop {
        tokio::select! {
            never = &mut telling => never,
            () = sleep_until(next), if work.is_none() => {
                work = Some(spawn(root, told.clone(), Order::Attempt));
            }
            Some(order) = queue.recv(), if work.is_none() => {
                work = Some(spawn(root, told.clone(), order));
            }
            done = join(&mut work), if work.is_some() => {
                work = None;
                let outcome = done?;
                schedule.failures = if outcome.answered { 0 } else { schedule.failures + 1 };
                let counter = if outcome.answered { &figures.answered } else { &figures.failed };
                counter.inc();
                next = plan(root, schedule.next(outcome.asked, random()));
                let live = news.borrow_and_update().clone();
                figures.tell(root, &live);
                publish(&shown, live).await;
                told.send_modify(|live| if live.operation == Operation::ReportingErrorEvent {
                    live.operation = Operation::Idle;
                });
            }
            Ok(()) = news.changed() => {
                let live = news.borrow_and_update().clone();
                figures.tell(root, &live);
                publish(&shown, live).await;
            }
            () = connection.closed() => return Ok(Ending::Stopped),
        }
    }
}

async fn serve(builder: Builder<'_>, manager: Manager) -> Result<Connection> {
    let builder = builder.serve_at(bus::PATH, manager);
    builder.build().await.context("connecting to D-Bus")
}

async fn publish(shown: &InterfaceRef<Manager>, live: Live) {
    let (time, progress, operation, version, size) = bus::tuple(&live);
    shown.get_mut().await.live = live;
    let emitter = shown.signal_emitter();
    // Who does not listen any more needs no signal.
    let _ = Manager::status_update(emitter, time, progress, &operation, &version, size).await;
}

/// When the next look is due, told to whoever asks.
fn plan(root: &Root, wait: Duration) -> Instant {
    let mut live = Live::read(root);
    live.next_check = Some(Timestamp::from_unix(
        clock().unix().saturating_add(wait.as_secs()),
    ));
    live.write(root);
    Instant::now() + wait
}

type Work = tokio::task::JoinHandle<Outcome>;

async fn join(work: &mut Option<Work>) -> Result<Outcome> {
    match work {
        Some(work) => work.await.context("the work did not end by itself"),
        None => std::future::pending().await,
    }
}

fn spawn(root: &Root, told: watch::Sender<Live>, order: Order) -> Work {
    let root = root.clone();
    tokio::task::spawn_blocking(move || {
        let mut tell = |live: &Live| told.send_modify(|known| known.clone_from(live));
        let outcome = match order {
            Order::Attempt => attempt(&root, &mut tell),
            Order::Reset => reset(&root, &mut tell).map(|()| Outcome {
                answered: true,
                asked: None,
            }),
        };
        outcome.unwrap_or_else(|error| {
            eprintln!("strake: update: {error:#}");
            Outcome {
                answered: false,
                asked: None,
            }
        })
    })
}

fn attempt(root: &Root, tell: &mut engine::Tell<'_>) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.context("starting a runtime")?;
    runtime.block_on(async {
        let mut engine = Engine::open(root, tell)?;
        // Only an administrator may begin anew without what was proven before.
        if let Some(alarm) = alarm::state(root) {
            let (time, kind) = (clock(), FailureKind::Alarm);
            let failure = Failure {
                time,
                text: alarm.text.clone(),
                kind,
            };
            engine.say(|live| live.last_error = Some(failure));
            anyhow::bail!(alarm.text);
        }
        let look = match engine.check().await {
            Ok(look) => look,
            Err(error) => {
                eprintln!("strake: update: {}", engine::text(&error));
                return Ok(Outcome {
                    answered: false,
                    asked: engine::asked(&error),
                });
            }
        };
        match look.decision.choice {
            Choice::Install(version) if is_blessed(root) => {
                engine
                    .install(&look, version, Goal::Activated, Insistence::None)
                    .await?;
                eprintln!("strake: update: {version} is installed; a reboot brings it");
            }
            // Until it is blessed, the other slot is what this machine falls back to.
            Choice::Install(_) => engine.say(|live| live.operation = Operation::Idle),
            Choice::Discard(version) => {
                engine.discard(version, "no longer allowed by the channel")?;
            }
            _ => {}
        }
        Ok(Outcome {
            answered: true,
            asked: None,
        })
    })
}

/// The running release is no longer on trial, so that the passive slot may be written.
fn is_blessed(root: &Root) -> bool {
    let own = || Entries::read(root).ok()?.of(running(root).ok()?);
    own().is_some_and(|own| own.counter == Counter::Blessed)
}

/// What waits for a reboot is not booted.
fn reset(root: &Root, tell: &mut engine::Tell<'_>) -> Result<()> {
    let mut engine = Engine::open(root, tell)?;
    let node = Node::load(root)?;
    let staged = look::staged(&node, &Entries::read(root)?, running(root)?);
    match (staged, node.attempt.map(|attempt| attempt.kind)) {
        (Some(entry), Some(Kind::Update)) => engine.discard(entry.version, "status was reset")?,
        (Some(_), Some(Kind::Rollback)) => rollback::undo(root).map(drop)?,
        _ => {}
    }
    engine.say(|live| {
        live.operation = Operation::Idle;
        live.progress = 0.0;
        (live.version, live.last_error) = (None, None);
    });
    Ok(())
}
