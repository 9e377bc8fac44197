//! The thread that does all of it, beside the scheduler's: what that one is busy with keeps no name
//! waiting.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::task::LocalSet;

use super::follow::Follower;
use super::local::Local;
use super::place::Places;
use super::serve::{Door, serve};
use super::settings::Settings;
use super::status::Report;
use super::zone::{Zone, domain};
use crate::root::Root;
use crate::scheduler::facts::machine_id;
use crate::scheduler::machine::MachineId;
use crate::scheduler::service::until_certified;
use crate::store::Store;
use crate::store::etcd::{self, Etcd};

/// Nothing where the cluster has no names. What is wrong with the settings is told: units run
/// without names.
pub fn start(root: &Root, address: Option<IpAddr>) {
    let settings = match Settings::load(root) {
        Ok(Some(settings)) => settings,
        Ok(None) => return,
        Err(error) => return eprintln!("names: {error:#}"),
    };
    let root = root.clone();
    let body = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let done = match runtime {
            Ok(runtime) => LocalSet::new().block_on(&runtime, run(&root, settings, address)),
            Err(error) => Err(error).context("starting the runtime"),
        };
        if let Err(error) = done {
            eprintln!("names: {error:#}");
        }
    };
    let started = std::thread::Builder::new().name("names".to_string());
    if let Err(error) = started.spawn(body) {
        eprintln!("names: starting a thread: {error}");
    }
}

/// All other names are answered from the first moment, also before the machine has a certificate.
async fn run(root: &Root, settings: Settings, address: Option<IpAddr>) -> Result<()> {
    let report = Report::new(root.clone(), domain(&settings.cluster));
    let report = Rc::new(RefCell::new(report));
    let (told, own) = watch::channel(None);
    let local = Local {
        root: root.clone(),
        address,
        told,
        report: report.clone(),
    };
    let store = async {
        until_certified(root).await;
        Ok(Etcd::connect(&etcd::Settings::read(root)?).await?)
    };
    tokio::select! {
        never = local.run() => never,
        ended = follow_and_serve(machine_id(root)?, settings, store, own, report) => {
            ended.map(|never| match never {})
        }
    }
}

/// Beginning with what the report knows from the last run. Runs among local tasks.
pub async fn follow_and_serve<S: Store>(
    id: MachineId,
    settings: Settings,
    store: impl Future<Output = Result<S>>,
    own: watch::Receiver<Option<Places>>,
    report: Rc<RefCell<Report>>,
) -> Result<Infallible> {
    let zone = Zone::new(&settings.cluster, report.borrow().machines().values());
    let (sender, zone) = watch::channel(Arc::new(zone));
    let door = Rc::new(Door::new(zone, settings.forward));
    let follow = async {
        let follower = Follower {
            store: store.await?,
            id,
            cluster: settings.cluster,
            own,
            zone: sender,
            report: report.clone(),
        };
        follower.run().await
    };
    tokio::select! {
        never = serve(door, settings.listen, report.clone()) => never,
        ended = follow => ended,
    }
}
