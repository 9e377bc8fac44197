use std::time::Duration;

use super::*;
use crate::scheduler::keys::{Assignment, Observed, Seen, State};
use crate::scheduler::orders::{self, Known};
use crate::scheduler::standing::standing;
use crate::scheduler::text::Text;
use crate::store::faulty::{Faulty, Random};
use crate::store::memory::Memory;
use crate::systemd::Active;

fn name(text: &str) -> UnitName {
    text.parse().expect("name")
}

fn id(text: &str) -> MachineId {
    text.parse().expect("id")
}

/// The machine is to hold these, and does.
async fn hold(store: &Memory, machine: &str, units: &[&str]) {
    let id = id(machine);
    let mut desired = Desired::default();
    let mut observed = Observed::default();
    for unit in units.iter().map(|unit| name(unit)) {
        let text = orders::text(store, &unit).await.expect("text");
        let assignment = Assignment {
            digest: text.digest(),
            state: State::Launched,
            scope: Default::default(),
            run: 0,
            fence: Default::default(),
        };
        let seen = Seen {
            digest: text.digest(),
            load: "loaded".to_string(),
            active: Active::Active,
            sub: "running".to_string(),
            started: true,
            run: 0,
            problem: None,
        };
        desired.units.insert(unit.clone(), assignment);
        observed.units.insert(unit, seen);
    }
    let machine = crate::scheduler::machine::Machine::new(id.clone());
    store.put(keys::machine(&id), &machine).await;
    store.put(keys::desired(&id), &desired).await;
    store.put(keys::observed(&id), &observed).await;
}

async fn known(store: &Memory, unit: &str) {
    let text = Text::parse("[Service]\nExecStart=/bin/true\n").expect("text");
    let done = orders::submit(store, &name(unit), &text, Known::Refuse).await;
    done.expect("known");
    let started = orders::set_state(store, &name(unit), State::Launched).await;
    started.expect("started");
}

#[tokio::test]
async fn only_machines_that_have_to_do_with_the_unit_are_read() {
    let store = Memory::default();
    for unit in ["a.service", "aa.service", "b.service"] {
        known(&store, unit).await;
    }
    hold(&store, "m1", &["a.service"]).await;
    hold(&store, "m2", &["aa.service", "b.service"]).await;
    let model = part(&store, &[name("a.service")]).await.expect("a model");
    let machines: Vec<&str> = model.observed.keys().map(MachineId::as_str).collect();
    assert_eq!(machines, ["m1"]);
    assert_eq!(model.units.len(), 1);
    let whole = Feed::open(&store).await.expect("all").model;
    for unit in ["a.service", "aa.service", "b.service"].map(name) {
        let model = part(&store, std::slice::from_ref(&unit)).await;
        let model = model.expect("a model");
        assert_eq!(standing(&model, &unit), standing(&whole, &unit));
        assert_eq!(
            model.read_requirements(&unit),
            whole.read_requirements(&unit)
        );
    }
}

#[tokio::test]
async fn a_view_sees_a_unit_come_go_and_end() {
    let (few, many) = (
        vec![name("a.service")],
        (0..20).map(|n| name(&format!("u{n}.service"))),
    );
    let many: Vec<UnitName> = many.chain(few.clone()).collect();
    for names in [few, many] {
        let store = Memory::default();
        known(&store, "a.service").await;
        known(&store, "b.service").await;
        hold(&store, "m9", &["b.service"]).await;
        let mut view = View::open(&store, &names).await.expect("a view");
        let unit = name("a.service");
        assert_eq!(standing(view.model(), &unit), (State::Inactive, None));
        hold(&store, "m1", &["a.service"]).await;
        until(&mut view, |model| {
            standing(model, &unit) == (State::Launched, Some(&id("m1")))
        })
        .await;
        hold(&store, "m2", &["a.service"]).await;
        hold(&store, "m1", &[]).await;
        until(&mut view, |model| {
            standing(model, &unit) == (State::Launched, Some(&id("m2")))
        })
        .await;
        orders::destroy(&store, &unit).await.expect("destroyed");
        let id = id("m2");
        store.put(keys::desired(&id), &Desired::default()).await;
        store.put(keys::observed(&id), &Observed::default()).await;
        until(&mut view, |model| {
            !model.units.contains_key(&unit) && standing(model, &unit) == (State::Inactive, None)
        })
        .await;
    }
}

/// Whoever waits for something else as well may give `advance` up at any moment.
#[tokio::test(start_paused = true)]
async fn a_view_that_is_given_up_while_it_reads_misses_nothing() {
    for seed in 0..50 {
        let (memory, random) = (Memory::default(), Random::new(seed));
        known(&memory, "a.service").await;
        let store = Faulty::new(memory.clone(), random.clone());
        let names = [name("a.service")];
        let waiting = async {
            let mut view = View::open(&store, &names).await.expect("a view");
            for machine in ["m1", "m2", "m3"] {
                hold(&memory, machine, &["a.service"]).await;
            }
            while view.model().observed.len() < 3 {
                let patience = Duration::from_millis(random.below(40));
                if let Ok(Err(_)) = tokio::time::timeout(patience, view.advance()).await {
                    view = View::open(&store, &names).await.expect("a view");
                }
            }
            let (state, _) = standing(view.model(), &names[0]);
            assert_eq!(state, State::Launched, "seed {seed}");
        };
        let local = tokio::task::LocalSet::new();
        let in_time = tokio::time::timeout(Duration::from_secs(60), local.run_until(waiting));
        in_time
            .await
            .unwrap_or_else(|_| panic!("seed {seed}: the view stands still"));
    }
}

async fn until(view: &mut View<Memory>, is_so: impl Fn(&Model) -> bool) {
    let waiting = async {
        while !is_so(view.model()) {
            view.advance().await.expect("a change");
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(10), waiting).await;
    in_time.expect("it comes to be so");
}
