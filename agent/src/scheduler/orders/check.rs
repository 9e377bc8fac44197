//! What speaks against an order, found before it is written.

use std::collections::BTreeSet;

use super::{Error, text};
use crate::scheduler::keys::State;
use crate::scheduler::name::UnitName;
use crate::scheduler::requirement::Requirements;
use crate::scheduler::target::Target;
use crate::scheduler::text::Text;
use crate::store::Store;

pub(super) fn check(name: &UnitName, text: &Text) -> Result<Requirements, Error> {
    Requirements::read(name, text).map_err(|problems| Error::Wrong {
        unit: name.clone(),
        problems,
    })
}

/// Units that follow each other in a ring wait for each other for ever. A ring that two users close
/// in the same moment is not found here; `explain` tells of it.
pub(super) async fn refuse_ring(
    store: &impl Store,
    unit: &UnitName,
    wanted: &Requirements,
) -> Result<(), Error> {
    let targets = |follower: &UnitName, wanted: &Requirements| {
        let units = wanted.machine_of.iter().filter_map(Target::unit);
        let pairs = units.map(|target| (target.clone(), follower.clone()));
        pairs.collect::<Vec<_>>()
    };
    let mut open = targets(unit, wanted);
    let mut met = BTreeSet::new();
    while let Some((target, follower)) = open.pop() {
        if target == *unit {
            let unit = unit.clone();
            return Err(Error::Ring { unit, follower });
        }
        if !met.insert(target.clone()) {
            continue;
        }
        match text(store, &target).await {
            Ok(text) => {
                let wanted = Requirements::read(&target, &text).unwrap_or_default();
                open.extend(targets(&target, &wanted));
            }
            Err(Error::NoUnit(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A template is started only with its replicas.
pub(super) fn refuse_bare_template(
    name: &UnitName,
    text: &Text,
    state: State,
) -> Result<(), Error> {
    if !name.is_template() || state == State::Inactive {
        return Ok(());
    }
    match Requirements::read(name, text) {
        Ok(requirements) if requirements.replicas.count > 0 => Ok(()),
        _ => Err(Error::Template(name.clone())),
    }
}
