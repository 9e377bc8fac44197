use super::*;
use crate::scheduler::keys::{self, Desired, Tags};
use crate::scheduler::machine::Machine;
use crate::scheduler::orders;
use crate::store::memory::Memory;
use crate::store::{Store, Transaction, Write};

fn id(number: usize) -> MachineId {
    format!("m{number:02}").parse().expect("id")
}

/// Machines that each are to hold something.
async fn cluster(count: usize) -> Memory {
    let store = Memory::default();
    for number in 0..count {
        let id = id(number);
        let desired = serde_json::json!({
            "generation": 1,
            "units": {"a.service": {"digest": "0", "state": "launched"}},
        });
        let machine = Machine::new(id.clone());
        store.put(keys::machine(&id), &machine).await;
        store.put(keys::desired(&id), &desired).await;
    }
    store
}

async fn lose(store: &Memory, number: usize) {
    let key = keys::machine(&id(number));
    let transaction = Transaction {
        compares: Vec::new(),
        writes: vec![Write::Delete { key }],
    };
    store.commit(&transaction).await.expect("written");
}

async fn look(losses: &mut Losses, store: &Memory) -> BTreeMap<MachineId, Away> {
    let model = Model::read(store).await.expect("a model");
    losses.step(&model, &Pace::default(), Instant::now()).0
}

/// What was given up has left, as the leader writes it.
async fn move_units(store: &Memory, away: &BTreeMap<MachineId, Away>) -> usize {
    let over = away.iter().filter(|(_, away)| **away == Away::Over);
    let ids: Vec<&MachineId> = over.map(|(id, _)| id).collect();
    for id in &ids {
        store.put(keys::desired(id), &Desired::default()).await;
    }
    ids.len()
}

#[tokio::test(start_paused = true)]
async fn machines_that_are_lost_one_after_the_other_pull_the_brake_all_the_same() {
    let store = cluster(20).await;
    let mut losses = Losses::default();
    look(&mut losses, &store).await;
    let mut moved = 0;
    for number in 0..10 {
        lose(&store, number).await;
        look(&mut losses, &store).await;
        tokio::time::advance(Duration::from_secs(1)).await;
        let away = look(&mut losses, &store).await;
        moved += move_units(&store, &away).await;
    }
    assert_eq!(moved, 5, "those that were lost before there were too many");
    tokio::time::advance(Duration::from_secs(600)).await;
    let away = look(&mut losses, &store).await;
    assert_eq!(move_units(&store, &away).await, 0, "time frees nothing");
    // An operator knows better, machine by machine.
    for number in 0..9 {
        orders::give_up(&store, &id(number))
            .await
            .expect("given up");
    }
    let away = look(&mut losses, &store).await;
    assert_eq!(
        move_units(&store, &away).await,
        5,
        "the given up and, freed by that, the last"
    );
    let tags = store.read(&keys::tags(&id(3))).await.expect("an answer");
    let tags: Tags = serde_json::from_slice(&tags.expect("tags").value).expect("json");
    assert!(tags.given_up);
}

#[tokio::test(start_paused = true)]
async fn few_losses_and_drained_machines_pull_no_brake() {
    let store = cluster(20).await;
    let mut losses = Losses::default();
    look(&mut losses, &store).await;
    for number in 0..8 {
        let id = id(number);
        store.put(keys::desired(&id), &Desired::default()).await;
    }
    look(&mut losses, &store).await;
    for number in 0..8 {
        lose(&store, number).await;
    }
    for number in 8..13 {
        lose(&store, number).await;
    }
    look(&mut losses, &store).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    let away = look(&mut losses, &store).await;
    assert_eq!(move_units(&store, &away).await, 5);
    // A minute later, five more are few again.
    tokio::time::advance(Duration::from_secs(61)).await;
    look(&mut losses, &store).await;
    for number in 13..18 {
        lose(&store, number).await;
    }
    look(&mut losses, &store).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    let away = look(&mut losses, &store).await;
    assert_eq!(move_units(&store, &away).await, 5);
}
