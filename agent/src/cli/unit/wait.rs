//! Waiting until units are as they were ordered to be.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;

use super::show;
use crate::scheduler::keys::State;
use crate::scheduler::model::Model;
use crate::scheduler::name::UnitName;
use crate::scheduler::part::View;
use crate::scheduler::standing::standing;
use crate::store::etcd::Etcd;

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
        loop {
            open.retain(|name| !told(view.model(), name, state));
            if open.is_empty() {
                return anyhow::Ok(());
            }
            if view.advance().await.is_err() {
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
