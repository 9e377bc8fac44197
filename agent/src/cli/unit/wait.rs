//! Waiting until units are as they were ordered to be.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use super::show;
use crate::scheduler::explain::explain;
use crate::scheduler::keys::State;
use crate::scheduler::model::Model;
use crate::scheduler::name::UnitName;
use crate::scheduler::part::View;
use crate::scheduler::standing::standing;
use crate::store::etcd::Etcd;

/// Before it is told why a unit is on no machine yet.
const WHY: Duration = Duration::from_secs(2);
/// Units of which that is told.
const FEW: usize = 5;

pub(super) enum Waited {
    Reached,
    TooLong,
}

pub(super) async fn until(
    store: &Etcd,
    names: &[UnitName],
    state: State,
    timeout: Duration,
) -> Result<Waited> {
    let mut open: BTreeSet<&UnitName> = names.iter().collect();
    let waiting = async {
        let mut view = View::open(store, names).await?;
        let mut why = (state != State::Inactive).then(|| Instant::now() + WHY);
        loop {
            open.retain(|name| !told(view.model(), name, state));
            if open.is_empty() {
                return anyhow::Ok(());
            }
            let asked = async {
                match why {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let advanced = tokio::select! {
                advanced = view.advance() => advanced,
                () = asked => {
                    why = None;
                    tell_why(store, view.model(), &open).await?;
                    continue;
                }
            };
            if advanced.is_err() {
                view = View::open(store, names).await?;
            }
        }
    };
    match tokio::time::timeout(timeout, waiting).await {
        Ok(result) => result.map(|()| Waited::Reached),
        Err(_) => {
            let view = View::open(store, names).await?;
            for name in open {
                let (now, _) = standing(view.model(), name);
                eprintln!(
                    "strake: {name} is {now} after {} s, not {state}: `strake unit explain {name}` \
                     and `strake unit status {name}` may say why",
                    timeout.as_secs()
                );
            }
            Ok(Waited::TooLong)
        }
    }
}

/// What no machine may hold waits for one that may: the user ought to know for what.
async fn tell_why(store: &Etcd, model: &Model, open: &BTreeSet<&UnitName>) -> Result<()> {
    let nowhere = |name: &&UnitName| model.holders(name).is_empty() && !name.is_template();
    for name in open.iter().copied().filter(nowhere).take(FEW) {
        if let Some(refusal) = explain(store, name).await?.refusal() {
            eprintln!("strake: {name} waits, no machine may hold it: {refusal}");
        }
    }
    Ok(())
}

/// Whether it is so; says it once.
fn told(model: &Model, name: &UnitName, state: State) -> bool {
    let (now, holder) = standing(model, name);
    if now != state {
        return false;
    }
    let place = holder.map(|id| format!(" on {}", show::machine(model, id)));
    println!("Unit {name} {state}{}", place.unwrap_or_default());
    true
}
