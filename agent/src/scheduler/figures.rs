//! What the scheduler counts: the leader's plans, and what this machine holds.

use std::collections::BTreeMap;
use std::time::Duration;

use super::keys::{Seen, State};
use super::model::Model;
use super::name::UnitName;
use super::plan::{Change, Pending, Plan};
use crate::metrics::{Counter, Gauge, Histogram, Registry};
use crate::systemd::Active;

const STATES: [State; 3] = [State::Inactive, State::Loaded, State::Launched];
const ACTIVE: [Active; 9] = [
    Active::Active,
    Active::Reloading,
    Active::Refreshing,
    Active::Inactive,
    Active::Failed,
    Active::Activating,
    Active::Deactivating,
    Active::Maintenance,
    Active::Unknown,
];

/// Of the machine that leads; all but `leads` stay at nothing on the others.
#[derive(Debug)]
pub struct Leading {
    leads: Gauge,
    placed: Counter,
    removed: Counter,
    planning: Histogram,
    pending: Vec<(Pending, Gauge)>,
    machines: Gauge,
    away: Gauge,
    units: Vec<(State, Gauge)>,
}

impl Leading {
    pub fn new(registry: &Registry) -> Leading {
        let changes = |change: &str| {
            let help = "Changes planned by this machine as the leader.";
            registry.counter(
                "strake_scheduler_changes_total",
                help,
                &[("change", change)],
            )
        };
        let pending = |pending: Pending, cause: &str| {
            let help = "Units that are to be on a machine and are on none.";
            let labels = [("cause", cause)];
            let gauge = registry.gauge("strake_scheduler_pending_units", help, &labels);
            (pending, gauge)
        };
        let units = |state: State| {
            let help = "Units of the cluster by the state they are to be in.";
            let labels = [("desired", state.word())];
            (
                state,
                registry.gauge("strake_scheduler_units", help, &labels),
            )
        };
        let gauge = |name, help| registry.gauge(name, help, &[]);
        Leading {
            leads: gauge("strake_scheduler_leader", "1 on the machine that leads."),
            placed: changes("place"),
            removed: changes("remove"),
            planning: registry.histogram(
                "strake_scheduler_plan_seconds",
                "Time one plan took to make, in seconds.",
                &[],
            ),
            pending: vec![
                pending(Pending::Leaving, "leaving"),
                pending(Pending::NoMachine, "no-machine"),
                pending(Pending::FollowsNothing, "follows-nothing"),
            ],
            machines: gauge("strake_scheduler_machines", "Machines with a live lease."),
            away: gauge(
                "strake_scheduler_machines_away",
                "Machines without a live lease that still have units.",
            ),
            units: STATES.map(units).into(),
        }
    }

    pub(super) fn took_over(&self) {
        self.leads.set_count(1);
    }

    /// Figures of an earlier term would be taken for the cluster's.
    pub(super) fn stepped_down(&self) {
        let pending = self.pending.iter().map(|(_, gauge)| gauge);
        let units = self.units.iter().map(|(_, gauge)| gauge);
        let single = [&self.leads, &self.machines, &self.away];
        for gauge in pending.chain(units).chain(single) {
            gauge.set_count(0);
        }
    }

    pub(super) fn planned(&self, model: &Model, plan: &Plan, took: Duration) {
        self.planning.observe(took);
        for change in &plan.changes {
            match change {
                Change::Place { .. } => self.placed.inc(),
                Change::Remove { .. } => self.removed.inc(),
            }
        }
        for (pending, gauge) in &self.pending {
            gauge.set_count(plan.pending.values().filter(|why| *why == pending).count());
        }
        self.machines.set_count(model.machines.len());
        self.away.set_count(model.away().count());
        let mut units: BTreeMap<State, usize> = BTreeMap::new();
        for unit in model.units.values() {
            *units.entry(unit.value.state).or_default() += 1;
        }
        for (state, gauge) in &self.units {
            gauge.set_count(units.get(state).copied().unwrap_or(0));
        }
    }
}

/// Of this machine's agent.
#[derive(Debug)]
pub struct Holding {
    units: Vec<(Active, Gauge)>,
    problems: Gauge,
    registered: Gauge,
    done: Counter,
    failed: Counter,
}

impl Holding {
    pub fn new(registry: &Registry) -> Holding {
        let units = |active: Active| {
            let help = "Units of the cluster on this machine by what systemd says of them.";
            let labels = [("active", active.word())];
            (active, registry.gauge("strake_agent_units", help, &labels))
        };
        let actions = |result: &str| {
            let help = "Units loaded, started, stopped or unloaded on this machine.";
            registry.counter("strake_agent_actions_total", help, &[("result", result)])
        };
        Holding {
            units: ACTIVE.map(units).into(),
            problems: registry.gauge(
                "strake_agent_problems",
                "Units that cannot be loaded or started on this machine.",
                &[],
            ),
            registered: registry.gauge(
                "strake_agent_registered",
                "1 while this machine has its lease.",
                &[],
            ),
            done: actions("done"),
            failed: actions("failed"),
        }
    }

    pub(super) fn acted<T, E>(&self, result: &Result<T, E>) {
        match result {
            Ok(_) => self.done.inc(),
            Err(_) => self.failed.inc(),
        }
    }

    /// Its own lease is one or none.
    pub(super) fn holds(&self, units: &BTreeMap<UnitName, Seen>, leases: usize) {
        for (active, gauge) in &self.units {
            gauge.set_count(units.values().filter(|seen| seen.active == *active).count());
        }
        let problems = units.values().filter(|seen| seen.problem.is_some());
        self.problems.set_count(problems.count());
        self.registered.set_count(leases);
    }
}
