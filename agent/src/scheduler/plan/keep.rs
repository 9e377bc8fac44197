//! First half of a plan: which units stay where they are.

use super::obstacle::{self, Purpose};
use super::work::Work;
use super::{Away, Cause, Obstacle};
use crate::scheduler::machine::MachineId;
use crate::scheduler::name::UnitName;
use crate::scheduler::requirement::{Hold, Reach};

pub(super) fn keep(work: &mut Work) {
    let snapshot = work.snapshot;
    let mut followers: Vec<(&UnitName, &MachineId)> = Vec::new();
    for (unit, machines) in &snapshot.placed {
        let Some(wanted) = snapshot.units.get(unit) else {
            let cause = match snapshot.finished.contains(unit) {
                true => Cause::Finished,
                false => Cause::NotWanted,
            };
            for machine in machines {
                work.remove(unit, machine, cause.clone());
            }
            continue;
        };
        let mut machines = machines.iter();
        if wanted.reach() == Reach::Global {
            machines
                .by_ref()
                .for_each(|machine| stay(work, unit, machine));
        }
        if let Some(machine) = machines.next() {
            match wanted.requirements.machine_of.is_empty() {
                true => stay(work, unit, machine),
                false => followers.push((unit, machine)),
            }
        }
        // A unit that was global and no longer is.
        for machine in machines {
            work.remove(unit, machine, Cause::NotWanted);
        }
    }
    follow(work, followers);
    push_off(work);
}

fn stay<'s>(work: &mut Work<'s>, unit: &'s UnitName, machine: &'s MachineId) {
    let snapshot = work.snapshot;
    let requirements = &*snapshot.units[unit].requirements;
    let Some(index) = work.index_of(machine) else {
        match snapshot.away.get(machine) {
            Some(Away::Over) | None if requirements.hold == Hold::Movable => {
                work.remove(unit, machine, Cause::MachineLost);
            }
            _ => drop(work.elsewhere.insert(unit)),
        }
        return;
    };
    let purpose = match requirements.reach {
        Reach::Single => Purpose::Keep,
        Reach::Global => Purpose::Everywhere,
    };
    let slot = &work.slots[index];
    let found = obstacle::of_machine(requirements, slot.machine, purpose)
        .filter(|_| requirements.hold == Hold::Movable)
        .or_else(|| slot.company(unit, requirements));
    match found {
        Some(obstacle) => work.remove(unit, machine, Cause::Obstacle(obstacle.to_string())),
        None => work.settle(unit, index),
    }
}

/// Followers stay where all they follow stay. One may follow another, so this goes on until
/// nothing more settles.
fn follow<'s>(work: &mut Work<'s>, mut followers: Vec<(&'s UnitName, &'s MachineId)>) {
    loop {
        let before = followers.len();
        let snapshot = work.snapshot;
        followers.retain(|(unit, machine)| {
            let requirements = &snapshot.units[*unit].requirements;
            let away = work.index_of(machine).is_none();
            let there = work.followed(requirements).is_some_and(|machines| {
                let index = work.index_of(machine);
                index.is_some_and(|index| machines.contains(&index))
            });
            if away || there {
                stay(work, unit, machine);
            }
            !(away || there)
        });
        if followers.len() == before {
            break;
        }
    }
    let snapshot = work.snapshot;
    for (unit, machine) in followers {
        let requirements = &snapshot.units[unit].requirements;
        // A target that is away with its machine takes nobody else along.
        if let Some(target) = requirements.machine_of.first() {
            let cause = Cause::Obstacle(Obstacle::Follows(target).to_string());
            work.remove(unit, machine, cause);
        }
    }
}

/// Units that another one on the same machine replaces, for example since its text has changed.
fn push_off(work: &mut Work) {
    for index in 0..work.slots.len() {
        let slot = &work.slots[index];
        if slot.guards == 0 {
            continue;
        }
        let mut pushed: Vec<(UnitName, UnitName)> = Vec::new();
        for one in &slot.residents {
            for other in &slot.residents {
                let pair = (
                    (one.name, one.requirements),
                    (other.name, other.requirements),
                );
                if obstacle::replaces(pair.0, pair.1)
                    && !pushed.iter().any(|(name, _)| name == other.name)
                {
                    pushed.push((other.name.clone(), one.name.clone()));
                }
            }
        }
        for (name, by) in pushed {
            work.evict(&name, index, Cause::ReplacedBy(by));
        }
    }
}
