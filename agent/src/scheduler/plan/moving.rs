//! Moves that somebody asked for: a few at a time, and nothing is taken from a machine that has no
//! place elsewhere.
//!
//! A move takes a unit from its machine once. If its new machine cannot hold it any more when it
//! has left, it goes where it costs least, as any unit that is nowhere.

use std::collections::BTreeSet;

use super::obstacle::{self, Purpose};
use super::work::Work;
use super::{Cause, Snapshot, place};
use crate::scheduler::machine::MachineId;
use crate::scheduler::name::UnitName;
use crate::scheduler::requirement::{Course, Hold, Reach, Requirements};
use crate::scheduler::target::Target;

/// Units on their way at one time.
const AT_ONCE: usize = 5;

/// A move that was asked for, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    pub from: MachineId,
    pub to: MachineId,
    pub progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Asked,
    /// Not now: another instance of its template is down.
    Held,
    /// It was taken from its machine and is not at work on another one yet.
    Begun,
    Arrived,
}

/// What a plan does about a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Begin,
    /// There is nothing left to do about it.
    Over(&'static str),
}

/// Units that others follow take those along, which nobody asked for.
#[derive(Debug)]
pub(super) struct Followed<'s>(BTreeSet<&'s Target>);

impl<'s> Followed<'s> {
    pub(super) fn of(snapshot: &'s Snapshot) -> Followed<'s> {
        let wanted = snapshot.units.values();
        let targets = wanted.flat_map(|wanted| &wanted.requirements.machine_of);
        Followed(targets.collect())
    }

    pub(super) fn contains(&self, unit: &UnitName) -> bool {
        self.0.iter().any(|target| target.is(unit))
    }
}

pub(super) fn may_move(asked: &Requirements) -> bool {
    asked.reach == Reach::Single
        && asked.hold == Hold::Movable
        && asked.course == Course::Lasting
        && asked.machine_of.is_empty()
}

/// Takes units from their machines that have a place elsewhere.
pub(super) fn begin(work: &mut Work) {
    let snapshot = work.snapshot;
    if snapshot.moves.is_empty() {
        return;
    }
    let begun = |way: &&Way| way.progress == Progress::Begun;
    let on_the_way = snapshot.moves.values().filter(begun).count();
    let mut room = AT_ONCE.saturating_sub(on_the_way);
    let mut templates: BTreeSet<UnitName> = snapshot
        .moves
        .iter()
        .filter(|(_, way)| begun(way))
        .filter_map(|(unit, _)| unit.template())
        .collect();
    let followed = Followed::of(snapshot);
    for (unit, way) in &snapshot.moves {
        match next(work, unit, way, &followed) {
            Next::Wait => {}
            Next::Over(why) => drop(work.moves.insert(unit.clone(), Step::Over(why))),
            Next::Begin(index) => {
                let taken = unit.template().is_some_and(|t| !templates.insert(t));
                if room > 0 && !taken {
                    room -= 1;
                    work.moves.insert(unit.clone(), Step::Begin);
                    work.evict(unit, index, Cause::MovedTo(way.to.clone()));
                }
            }
        }
    }
}

enum Next {
    Wait,
    Begin(usize),
    Over(&'static str),
}

fn next(work: &Work, unit: &UnitName, way: &Way, followed: &Followed) -> Next {
    let Some(wanted) = work.snapshot.units.get(unit) else {
        return Next::Over("it is not wanted any more");
    };
    match way.progress {
        Progress::Begun => return Next::Wait,
        Progress::Arrived => return Next::Over("it has arrived"),
        Progress::Asked | Progress::Held => {}
    }
    let requirements = &*wanted.requirements;
    if !may_move(requirements) || followed.contains(unit) {
        return Next::Over("it is a unit that stays where it is");
    }
    let held = work.holders.get(unit).and_then(|held| held.first());
    let here = work.index_of(&way.from).filter(|from| held == Some(from));
    let Some(here) = here.filter(|_| way.from != way.to) else {
        return Next::Over("it is not where it was");
    };
    match (work.index_of(&way.to), way.progress) {
        (Some(to), _) if !is_free(work, unit, requirements, to) => {
            Next::Over("the other machine may not hold it")
        }
        (None, _) => Next::Over("the other machine is away"),
        (Some(_), Progress::Held) => Next::Wait,
        (Some(_), _) => Next::Begin(here),
    }
}

fn is_free(work: &Work, unit: &UnitName, requirements: &Requirements, index: usize) -> bool {
    let slot = &work.slots[index];
    obstacle::of_machine(requirements, slot.machine, Purpose::Place)
        .or_else(|| slot.against(unit, requirements))
        .is_none()
}

/// Puts units that have left onto the machines that they were moved for.
pub(super) fn arrive(work: &mut Work) {
    let snapshot = work.snapshot;
    for (unit, way) in &snapshot.moves {
        let Some((unit, wanted)) = snapshot.units.get_key_value(unit) else {
            continue;
        };
        let held = work.holders.get(unit).is_some_and(|held| !held.is_empty());
        let left =
            !held && !snapshot.placed.contains_key(unit) && !snapshot.leaving.contains_key(unit);
        let requirements = &*wanted.requirements;
        if way.progress == Progress::Begun
            && left
            && may_move(requirements)
            && let Some(to) = work.index_of(&way.to)
            && is_free(work, unit, requirements, to)
        {
            place::put(work, unit, to);
        }
    }
}
