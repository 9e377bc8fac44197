use std::collections::BTreeSet;

use proptest::prelude::*;

use super::golden::read;
use super::*;
use crate::scheduler::requirement::Hold;

const OPTIONS: [&str; 13] = [
    "",
    "Conflicts=u1*",
    "Conflicts=*",
    "MachineMetadata=zone=a",
    "Global=yes",
    "MachineOf=u1.service",
    "Replaces=u2*",
    "Memory=1G",
    "Memory=1G; Priority=5",
    "Spread=zone; Avoid=u3*",
    "Sticky=yes",
    "CPU=1; Require=zone =~ a|b",
    "MachineOf=u[12]*",
];

fn cluster() -> impl Strategy<Value = Snapshot> {
    let machine = (0..3u8, any::<bool>(), 1..4u8);
    let machines = prop::collection::vec(machine, 1..5);
    let unit = (0..OPTIONS.len(), prop::option::of(0..6u8), any::<bool>());
    let units = prop::collection::vec(unit, 0..10);
    let away = prop::collection::vec(any::<bool>(), 2);
    let moves = prop::collection::vec((0..10u8, 0..4u8, 0..4u8, 0..4usize), 0..4);
    (machines, units, away, moves).prop_map(|(machines, units, away, moves)| {
        let mut text = String::new();
        for (index, (zone, draining, size)) in machines.iter().enumerate() {
            let zone = ["a", "b", "c"][usize::from(*zone)];
            let duty = if *draining && index > 0 { "drain" } else { "" };
            text += &format!("machine m{index} zone={zone} cpus={size} memory={size}G {duty}\n");
        }
        for (index, over) in away.iter().enumerate() {
            let state = if *over { "over" } else { "waiting" };
            text += &format!("away m{} {state}\n", machines.len() + index);
        }
        for (index, (options, on, wanted)) in units.iter().enumerate() {
            let options = match OPTIONS[*options].contains(&format!("=u{index}")) {
                true => "",
                false => OPTIONS[*options],
            };
            let place = on.filter(|on| usize::from(*on) < machines.len() + 2);
            let place = place.map(|on| format!(" on m{on}")).unwrap_or_default();
            let kind = if *wanted { "unit" } else { "former" };
            text += &format!("{kind} u{index}.service{place} : {options}\n");
        }
        for (unit, from, to, progress) in moves {
            let progress = ["asked", "held", "begun", "arrived"][progress];
            text += &format!("move u{unit}.service m{from} m{to} {progress}\n");
        }
        read(&text)
    })
}

/// The snapshot after every write of the plan has arrived and every machine has done as told.
fn obey(snapshot: &Snapshot, plan: &Plan) -> Snapshot {
    let mut next = snapshot.clone();
    for change in &plan.changes {
        match change {
            Change::Place { unit, machine } => {
                let machines = next.placed.entry(unit.clone()).or_default();
                machines.insert(machine.clone());
            }
            Change::Remove { unit, machine, .. } => {
                next.placed
                    .get_mut(unit)
                    .expect("placed")
                    .retain(|held| held != machine);
            }
        }
    }
    next.placed.retain(|_, machines| !machines.is_empty());
    for (unit, step) in &plan.moves {
        match step {
            Step::Over(_) => drop(next.moves.remove(unit)),
            Step::Begin => next.moves.get_mut(unit).expect("asked").progress = Progress::Begun,
        }
    }
    for (unit, way) in &mut next.moves {
        if way.progress == Progress::Begun && next.placed.contains_key(unit) {
            way.progress = Progress::Arrived;
        }
    }
    next
}

fn holds(snapshot: &Snapshot) -> Result<(), TestCaseError> {
    for (unit, machines) in &snapshot.placed {
        let Some(wanted) = snapshot.units.get(unit) else {
            return Err(TestCaseError::fail(format!("{unit} is not wanted")));
        };
        let requirements = &wanted.requirements;
        prop_assert!(
            requirements.reach == Reach::Global || machines.len() == 1,
            "{} twice",
            unit
        );
        for machine in machines {
            let Some(machine) = snapshot.machines.get(machine) else {
                continue;
            };
            if requirements.hold == Hold::Movable {
                for (key, values) in &requirements.metadata {
                    let value = machine.metadata.get(key);
                    prop_assert!(value.is_some_and(|value| values.contains(value)));
                }
            }
            for (other, theirs) in &snapshot.placed {
                let conflict = requirements
                    .conflicts
                    .iter()
                    .any(|g| g.matches(other.as_str()));
                let together = other != unit && theirs.contains(&machine.id);
                prop_assert!(!(conflict && together), "{} with {}", unit, other);
            }
            for target in &requirements.machine_of {
                let beside = snapshot.placed.iter().any(|(other, held)| {
                    other != unit && target.is(other) && held.contains(&machine.id)
                });
                prop_assert!(beside, "{} without {}", unit, target);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_same_cluster_gets_the_same_plan(snapshot in cluster()) {
        prop_assert_eq!(plan(&snapshot), plan(&snapshot.clone()));
    }

    #[test]
    fn one_plan_never_moves_a_unit_in_one_step(snapshot in cluster()) {
        let plan = plan(&snapshot);
        let mut removed = BTreeSet::new();
        for change in &plan.changes {
            match change {
                Change::Remove { unit, .. } => drop(removed.insert(unit.clone())),
                Change::Place { unit, .. } => {
                    let global = snapshot.units[unit].reach() == Reach::Global;
                    prop_assert!(global || !removed.contains(unit), "{} moved", unit);
                    prop_assert!(global || !snapshot.placed.contains_key(unit));
                    prop_assert!(!snapshot.leaving.contains_key(unit));
                }
            }
        }
    }

    #[test]
    fn plans_come_to_rest_and_then_every_constraint_holds(snapshot in cluster()) {
        let mut now = snapshot;
        for _ in 0..12 {
            let plan = plan(&now);
            if plan.changes.is_empty() {
                return holds(&now);
            }
            now = obey(&now, &plan);
        }
        prop_assert_eq!(plan(&now).changes, Vec::new(), "it does not come to rest");
    }

    #[test]
    fn memory_is_never_given_twice(snapshot in cluster()) {
        let plan = plan(&snapshot);
        let after = obey(&snapshot, &plan);
        for (id, machine) in &snapshot.machines {
            let placed_here = |change: &Change| matches!(change, Change::Place { machine, .. } if machine == id);
            if !plan.changes.iter().any(placed_here) {
                continue;
            }
            let held = after.placed.iter().filter(|(_, machines)| machines.contains(id));
            let asked: u64 = held.map(|(unit, _)| after.units[unit].requirements.memory).sum();
            let before = snapshot.placed.iter().filter(|(_, machines)| machines.contains(id));
            let given: u64 = before
                .filter_map(|(unit, _)| Some(snapshot.units.get(unit)?.requirements.memory))
                .sum();
            prop_assert!(asked <= machine.amount("memory").expect("memory").max(given));
        }
    }
}
