//! The planner alone: 100,000 units on 10,000 machines, one core. `cargo bench -p strake-agent
//! --bench planner` prints the best, the median and the worst of seven runs of each case.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use strake_agent::scheduler::machine::{Fact, Machine};
use strake_agent::scheduler::name::UnitName;
use strake_agent::scheduler::plan::{Change, Snapshot, Wanted, plan};
use strake_agent::scheduler::requirement::Requirements;
use strake_agent::scheduler::text::Text;

const UNITS: usize = 100_000;
const MACHINES: usize = 10_000;
const RUNS: usize = 7;

/// A hundred kinds of units, one in ten with each of the dearer options.
fn options(kind: usize) -> String {
    let zone = kind % 10;
    match kind / 10 {
        0 => format!("[X-Fleet]\nMachineMetadata=zone=z{zone}\n"),
        1 => format!("[X-Fleet]\nConflicts=u{kind}-*\n"),
        2 => format!("[X-Strake]\nRequire=zone =~ ^z[{zone}-9]$\n"),
        3 => format!("[X-Strake]\nSpread=zone\nPriority={zone}\n"),
        4 => format!("[X-Strake]\nPrefer=+30 zone = z{zone}\n"),
        5 => format!("[X-Strake]\nMemory=256M\nCPU=0.1\nPriority={zone}\n"),
        _ => format!("[X-Strake]\nMemory={zone}M\n"),
    }
}

fn cluster() -> Snapshot {
    let mut snapshot = Snapshot::default();
    for index in 0..MACHINES {
        let mut machine = Machine::new(format!("{index:032x}").parse().expect("id"));
        let zone = format!("z{}", index % 10);
        machine.metadata.insert("zone".to_string(), zone);
        let facts = [("cpus", 8.0), ("memory", 32e9), ("load5", 1.0)];
        for (name, value) in facts {
            machine.facts.insert(name.to_string(), Fact::Number(value));
        }
        snapshot
            .machines
            .insert(machine.id.clone(), Arc::new(machine));
    }
    for index in 0..UNITS {
        let kind = index % 100;
        let name: UnitName = format!("u{kind}-{index}.service").parse().expect("name");
        let text = Text::parse(&options(kind)).expect("text");
        let requirements = Requirements::read(&name, &text).expect("requirements");
        let requirements = Arc::new(requirements);
        snapshot.units.insert(name, Wanted { requirements });
    }
    snapshot
}

fn measure(what: &str, snapshot: &Snapshot) {
    let mut times = Vec::new();
    let mut changes = 0;
    for _ in 0..RUNS {
        let start = Instant::now();
        changes = plan(snapshot).changes.len();
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let (best, median, worst) = (times[0], times[RUNS / 2], times[RUNS - 1]);
    println!("{what:24} {changes:7} changes  {best:.3} s  {median:.3} s  {worst:.3} s");
}

fn main() {
    let mut snapshot = cluster();
    measure("everything new", &snapshot);
    for change in plan(&snapshot).changes {
        if let Change::Place { unit, machine } = change {
            let machines: &mut BTreeSet<_> = snapshot.placed.entry(unit).or_default();
            machines.insert(machine);
        }
    }
    measure("nothing to do", &snapshot);
    let lost: Vec<_> = snapshot.machines.keys().take(100).cloned().collect();
    for id in &lost {
        snapshot.machines.remove(id);
    }
    measure("100 machines lost", &snapshot);
    snapshot
        .placed
        .retain(|_, machines| !lost.contains(machines.first().expect("held")));
    measure("their units placed", &snapshot);
}
