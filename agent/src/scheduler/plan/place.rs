//! Second half of a plan: where units go that are nowhere yet.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::obstacle::{self, Obstacle, Purpose};
use super::work::Work;
use super::{Cause, Pending};
use crate::scheduler::name::UnitName;
use crate::scheduler::requirement::{Reach, Requirements};

pub(super) fn globals(work: &mut Work) {
    let snapshot = work.snapshot;
    let units = snapshot.units.iter();
    for (name, wanted) in units.filter(|(_, wanted)| wanted.reach() == Reach::Global) {
        for index in 0..work.slots.len() {
            let slot = &work.slots[index];
            let requirements = &*wanted.requirements;
            let there = slot.residents.iter().any(|resident| resident.name == name);
            let free = obstacle::of_machine(requirements, slot.machine, Purpose::Everywhere)
                .or_else(|| slot.against(name, requirements))
                .is_none();
            if !there && free {
                work.place(name, index);
            }
        }
    }
}

pub(super) fn singles(work: &mut Work) {
    let snapshot = work.snapshot;
    let mut queue: Vec<(Reverse<i32>, usize, &UnitName)> = Vec::new();
    let mut followers: Vec<&UnitName> = Vec::new();
    for (name, wanted) in &snapshot.units {
        let held = work.holders.get(name).is_some_and(|held| !held.is_empty());
        if wanted.reach() == Reach::Global || held || work.elsewhere.contains(name) {
            continue;
        }
        // Whatever a plan removed it places in a later one.
        if snapshot.placed.contains_key(name) || snapshot.leaving.contains_key(name) {
            work.pending.insert(name.clone(), Pending::Leaving);
        } else if wanted.requirements.machine_of.is_empty() {
            let class = work.classes.of_unit[name];
            queue.push((Reverse(wanted.requirements.priority), class, name));
        } else {
            followers.push(name);
        }
    }
    queue.sort();
    for run in queue.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let mut candidates = Candidates::of(work, run[0].1);
        for (_, _, name) in run {
            candidates.place(work, name);
        }
    }
    place_followers(work, followers);
}

fn place_followers<'s>(work: &mut Work<'s>, mut followers: Vec<&'s UnitName>) {
    let snapshot = work.snapshot;
    loop {
        let before = followers.len();
        followers.retain(|name| {
            let requirements = &*snapshot.units[*name].requirements;
            let machines = work.followed(requirements).unwrap_or_default();
            let free = |index: &usize| {
                let slot = &work.slots[*index];
                obstacle::of_machine(requirements, slot.machine, Purpose::Place)
                    .or_else(|| slot.against(name, requirements))
                    .is_none()
            };
            let class = work.classes.of_unit[name];
            let best = machines.into_iter().filter(free);
            match best.min_by_key(|index| (work.cost(class, *index), *index)) {
                Some(index) => {
                    put(work, name, index);
                    false
                }
                None => true,
            }
        });
        if followers.len() == before {
            break;
        }
    }
    for name in followers {
        let requirements = &snapshot.units[name].requirements;
        let nowhere = work.followed(requirements).is_none_or(|m| m.is_empty());
        let pending = match nowhere {
            true => Pending::FollowsNothing,
            false => Pending::NoMachine,
        };
        work.pending.insert(name.clone(), pending);
    }
}

pub(super) fn put<'s>(work: &mut Work<'s>, name: &'s UnitName, index: usize) {
    let requirements = &*work.snapshot.units[name].requirements;
    if !requirements.replaces.is_empty() {
        let own = (name, requirements);
        let pushed: Vec<UnitName> = work.slots[index]
            .residents
            .iter()
            .filter(|other| obstacle::replaces(own, (other.name, other.requirements)))
            .map(|other| other.name.clone())
            .collect();
        for other in pushed {
            work.evict(&other, index, Cause::ReplacedBy(name.clone()));
        }
    }
    work.place(name, index);
}

/// The machines that may take units of one class, the best first, apart by zone.
///
/// A machine's own cost only grows while units are placed, so an entry that is too cheap is put
/// back with its cost of now, and one that is right is the best of its zone.
struct Candidates {
    class: usize,
    zones: Vec<Zone>,
    preemption: Preemption,
}

struct Zone {
    /// Any machine of it, to ask what the zone costs.
    one: usize,
    heap: BinaryHeap<Reverse<(i64, usize)>>,
}

impl Zone {
    /// Own cost and machine of the best one.
    fn best(&mut self, work: &Work, class: usize) -> Option<(i64, usize)> {
        loop {
            let Reverse((cost, index)) = *self.heap.peek()?;
            let now = work.own_cost(class, index);
            if now <= cost {
                return Some((cost, index));
            }
            self.heap.pop();
            self.heap.push(Reverse((now, index)));
        }
    }
}

#[derive(PartialEq, Eq)]
enum Preemption {
    Possible,
    InVain,
}

impl Candidates {
    fn of(work: &Work, class: usize) -> Candidates {
        let mut zones: BTreeMap<Vec<(&str, &str)>, Vec<usize>> = BTreeMap::new();
        for index in work.fitting(class) {
            zones
                .entry(work.zone(class, index))
                .or_default()
                .push(index);
        }
        let zones = zones.into_values().map(|machines| Zone {
            one: machines[0],
            heap: machines
                .into_iter()
                .map(|index| Reverse((work.own_cost(class, index), index)))
                .collect(),
        });
        Candidates {
            class,
            zones: zones.collect(),
            preemption: Preemption::Possible,
        }
    }

    fn place<'s>(&mut self, work: &mut Work<'s>, name: &'s UnitName) {
        let requirements = work.classes.all[self.class].requirements;
        match self.best(work, name, requirements) {
            Some((zone, index)) => {
                put(work, name, index);
                let cost = work.own_cost(self.class, index);
                self.zones[zone].heap.push(Reverse((cost, index)));
            }
            None => {
                if self.preemption == Preemption::Possible
                    && !preempt(work, self.class, name, requirements)
                {
                    self.preemption = Preemption::InVain;
                }
                work.pending
                    .entry(name.clone())
                    .or_insert(Pending::NoMachine);
            }
        }
    }

    /// Takes the best machine out of its zone.
    fn best(
        &mut self,
        work: &Work,
        name: &UnitName,
        requirements: &Requirements,
    ) -> Option<(usize, usize)> {
        let mut aside = Vec::new();
        let found = loop {
            let mut best: Option<(i64, usize, usize)> = None;
            for (number, zone) in self.zones.iter_mut().enumerate() {
                if let Some((cost, index)) = zone.best(work, self.class) {
                    let cost = cost + work.spread_cost(self.class, zone.one);
                    if best.is_none_or(|(known, other, _)| (cost, index) < (known, other)) {
                        best = Some((cost, index, number));
                    }
                }
            }
            let Some((_, index, zone)) = best else {
                break None;
            };
            let entry = self.zones[zone].heap.pop();
            match work.slots[index].against(name, requirements) {
                None => break Some((zone, index)),
                // These hold for every unit of the class and until the end of the plan.
                Some(Obstacle::Memory { .. } | Obstacle::Cpu { .. }) => {}
                Some(Obstacle::KeepsAway(_)) => {}
                Some(_) => aside.extend(entry.map(|entry| (zone, entry))),
            }
        };
        for (zone, entry) in aside {
            self.zones[zone].heap.push(entry);
        }
        found
    }
}

/// Takes units of lower priority off the machine where the fewest have to go. The unit itself
/// comes there with a later plan, when they have left.
fn preempt(work: &mut Work, class: usize, name: &UnitName, wanted: &Requirements) -> bool {
    if wanted.memory == 0 && wanted.cpu == 0 {
        return false;
    }
    let victims = |index: usize| -> Option<Vec<(i32, UnitName)>> {
        let slot = &work.slots[index];
        if slot.company(name, wanted).is_some() {
            return None;
        }
        let lower = slot.residents.iter().filter(|resident| {
            let other = resident.requirements;
            other.priority < wanted.priority
                && other.reach == Reach::Single
                && other.memory + other.cpu > 0
        });
        let mut lower: Vec<_> = lower.collect();
        lower.sort_by_key(|resident| (resident.requirements.priority, resident.name));
        let (mut memory, mut cpu) = (slot.memory, slot.cpu);
        let mut gone = Vec::new();
        for resident in lower {
            let fits =
                memory + wanted.memory <= slot.memory_size && cpu + wanted.cpu <= slot.cpu_size;
            if fits {
                break;
            }
            memory -= resident.requirements.memory;
            cpu -= resident.requirements.cpu;
            gone.push((resident.requirements.priority, resident.name.clone()));
        }
        let fits = memory + wanted.memory <= slot.memory_size && cpu + wanted.cpu <= slot.cpu_size;
        (fits && !gone.is_empty()).then_some(gone)
    };
    let choices = work.fitting(class).into_iter();
    let choices = choices.filter_map(|index| Some((victims(index)?, index)));
    let Some((gone, index)) = choices.min_by_key(|(gone, index)| (gone.len(), *index)) else {
        return false;
    };
    for (_, victim) in gone {
        work.evict(&victim, index, Cause::PreemptedBy(name.clone()));
    }
    // Kept free for it, or the next one in line would take it.
    work.slots[index].memory += wanted.memory;
    work.slots[index].cpu += wanted.cpu;
    true
}
