//! Which units would be better off elsewhere. Told to an operator, who may ask for the moves; by
//! itself no plan moves what may stay.

use std::collections::BTreeMap;

use super::Snapshot;
use super::moving::{self, Followed};
use super::work::Work;
use crate::scheduler::machine::MachineId;
use crate::scheduler::name::UnitName;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    pub unit: UnitName,
    pub from: MachineId,
    pub to: MachineId,
    /// By how much it costs less there.
    pub gain: i64,
}

/// The best moves one after the other: at most so many, each worth at least so much.
pub fn rebalance(snapshot: &Snapshot, most: usize, least_gain: i64) -> Vec<Move> {
    let mut work = super::finished(snapshot);
    let followed = Followed::of(snapshot);
    let mut moves = Vec::new();
    while moves.len() < most {
        let Some((gain, unit, from, to)) = best(&mut work, &followed) else {
            break;
        };
        if gain < least_gain {
            break;
        }
        work.unsettle(unit, from);
        work.settle(unit, to);
        moves.push(Move {
            unit: unit.clone(),
            from: work.slots[from].id.clone(),
            to: work.slots[to].id.clone(),
            gain,
        });
    }
    moves
}

/// Gain, unit and the machines of the best move; of equal ones the first by unit.
fn best<'s>(work: &mut Work<'s>, followed: &Followed) -> Option<(i64, &'s UnitName, usize, usize)> {
    let mut targets: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut found: Option<(i64, &UnitName, usize, usize)> = None;
    for (from, class, unit) in movable(work, followed) {
        let fitting = targets
            .entry(class)
            .or_insert_with(|| cheapest(work, class));
        work.unsettle(unit, from);
        let here = work.cost(class, from);
        let requirements = &*work.snapshot.units[unit].requirements;
        let free = |index: &&usize| work.slots[**index].against(unit, requirements).is_none();
        let zones = fitting.iter().filter(free);
        let cheapest = zones.map(|index| (work.cost(class, *index), *index)).min();
        work.settle(unit, from);
        if let Some((cost, to)) = cheapest.filter(|(_, to)| *to != from) {
            let gain = here - cost;
            if found.is_none_or(|(known, name, ..)| (-gain, unit) < (-known, name)) {
                found = Some((gain, unit, from, to));
            }
        }
    }
    found
}

/// One unit of each class on each machine, of those that may move by themselves.
fn movable<'s>(work: &Work<'s>, followed: &Followed) -> Vec<(usize, usize, &'s UnitName)> {
    let mut first: BTreeMap<(usize, usize), &UnitName> = BTreeMap::new();
    for (index, slot) in work.slots.iter().enumerate() {
        for resident in &slot.residents {
            let asked = resident.requirements;
            if moving::may_move(asked) && !followed.contains(resident.name) {
                let class = work.classes.of_unit[resident.name];
                let known = first.entry((index, class)).or_insert(resident.name);
                *known = (*known).min(resident.name);
            }
        }
    }
    let found = first.into_iter();
    found
        .map(|((index, class), unit)| (index, class, unit))
        .collect()
}

/// How many machines of one zone are looked at for each unit: the first has no room sometimes.
const FEW: usize = 8;

/// The values of the keys that a class is spread over.
type Zone<'s> = Vec<(&'s str, &'s str)>;

/// The cheapest machines of each zone that fit the class.
fn cheapest(work: &Work, class: usize) -> Vec<usize> {
    let mut zones: BTreeMap<Zone, Vec<(i64, usize)>> = BTreeMap::new();
    for index in work.fitting(class) {
        let zone = zones.entry(work.zone(class, index)).or_default();
        zone.push((work.own_cost(class, index), index));
    }
    let mut found = Vec::new();
    for mut machines in zones.into_values() {
        machines.sort_unstable();
        found.extend(machines.into_iter().take(FEW).map(|(_, index)| index));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::golden::read;
    use super::*;

    fn found(cluster: &str, most: usize, least_gain: i64) -> Vec<String> {
        let moves = rebalance(&read(cluster), most, least_gain);
        let line = |m: &Move| format!("{} {} {} {}", m.unit, m.from, m.to, m.gain);
        moves.iter().map(line).collect()
    }

    #[test]
    fn what_is_cheaper_elsewhere_is_told_best_first() {
        let crowded = "machine m1\nmachine m2\nunit a.service on m1\nunit b.service on m1\n\
                       unit c.service on m1\nunit d.service on m1\n";
        let moves = ["a.service m1 m2 30", "b.service m1 m2 10"];
        assert_eq!(found(crowded, 9, 1), moves);
        assert_eq!(found(crowded, 1, 1), moves[..1]);
        assert_eq!(found(crowded, 9, 11), moves[..1]);
        let even = "machine m1\nmachine m2\nunit a.service on m1\nunit b.service on m2\n";
        assert!(found(even, 9, 1).is_empty());
    }

    #[test]
    fn what_has_to_stay_stays() {
        let cases = [
            "unit a.service on m1 : Sticky=yes",
            "unit a.service on m1 : MachineID=m1",
            "unit a.service on m1 : Batch=yes",
            "unit a.service on m1 : Memory=2G",
            "unit a.service on m1 : MachineMetadata=zone=a",
            "unit a.service on m1 : Conflicts=z*",
            "unit g.service on m1 : Global=yes",
        ];
        for unit in cases {
            let cluster = format!(
                "machine m1 zone=a memory=4G\nmachine m2 zone=b memory=1G\n{unit}\n\
                 unit z.service on m2 : MachineID=m2\nunit x.service on m1 : MachineID=m1\n\
                 unit y.service on m1 : MachineID=m1\n"
            );
            assert_eq!(found(&cluster, 9, 1), [""; 0], "{unit}");
        }
        let drained = "machine m1\nmachine m2 drain\nunit a.service on m1\nunit b.service on m1\n";
        assert!(found(drained, 9, 1).is_empty());
    }

    #[test]
    fn zones_are_evened_out() {
        let cluster = "machine m1 zone=a\nmachine m2 zone=b\nmachine m3 zone=a\n\
                       unit r@1.service on m1 : Spread=zone\nunit r@2.service on m3 : Spread=zone\n";
        assert_eq!(found(cluster, 9, 100), ["r@1.service m1 m2 1000"]);
    }
}
