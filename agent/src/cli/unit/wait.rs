//! Waiting until units are as they were ordered to be.

use std::collections::BTreeSet;
use std::pin::pin;
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
            let nowhere = nowhere(view.model(), &open);
            let telling = async {
                match why {
                    Some(at) => {
                        tokio::time::sleep_until(at).await;
                        tell_why(store, &nowhere).await
                    }
                    None => std::future::pending().await,
                }
            };
            let advanced = {
                // Not given up for the telling: the change that it takes in would be lost.
                let mut advance = pin!(view.advance());
                tokio::select! {
                    advanced = &mut advance => advanced,
                    told = telling => {
                        told?;
                        why = None;
                        advance.await
                    }
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

/// Units that are on no machine, the first of them.
fn nowhere(model: &Model, open: &BTreeSet<&UnitName>) -> Vec<UnitName> {
    let nowhere = |name: &&UnitName| model.holders(name).is_empty() && !name.is_template();
    let names = open.iter().copied().filter(nowhere);
    names.take(FEW).cloned().collect()
}

/// What no machine may hold waits for one that may: the user ought to know for what.
async fn tell_why(store: &Etcd, names: &[UnitName]) -> Result<()> {
    for name in names {
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
