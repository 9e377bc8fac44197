use std::collections::BTreeMap;

use super::units::read;
use super::*;
use crate::scheduler::keys::{self, State, Tags};
use crate::scheduler::machine::{Duty, MachineId};
use crate::scheduler::text::Text;
use crate::store::memory::Memory;

fn unit(options: &str) -> Text {
    let text = format!("[Service]\nExecStart=/bin/true\n{options}");
    Text::parse(&text).expect("text")
}

#[tokio::test]
async fn a_unit_is_submitted_started_replaced_and_destroyed() {
    let store = Memory::default();
    let name: UnitName = "a.service".parse().expect("name");
    let first = submit(&store, &name, &unit(""), Known::Refuse).await;
    assert!(matches!(first, Ok(Outcome::Done(_))));
    let again = submit(&store, &name, &unit("# a comment\n"), Known::Refuse).await;
    assert!(matches!(again, Ok(Outcome::Refused)));
    let started = set_state(&store, &name, State::Launched).await;
    assert!(matches!(started, Ok(Outcome::Done(_))));
    let other = unit("[X-Strake]\nMemory=1M\n");
    let error = submit(&store, &name, &other, Known::Refuse).await;
    assert!(matches!(error, Err(Error::Different { .. })));
    let replaced = submit(&store, &name, &other, Known::Replace).await;
    assert!(matches!(replaced, Ok(Outcome::Done(_))));
    assert_eq!(text(&store, &name).await.expect("text"), other);
    let (kept, _) = read(&store, &name).await.expect("unit").expect("unit");
    assert_eq!(kept.state, State::Launched);
    assert!(matches!(destroy(&store, &name).await, Ok(Outcome::Done(_))));
    let gone = set_state(&store, &name, State::Launched).await;
    assert_eq!(
        gone.expect_err("gone").to_string(),
        "a.service is not known to the cluster"
    );
}

#[tokio::test]
async fn content_and_state_are_set_together() {
    let store = Memory::default();
    let name: UnitName = "a.service".parse().expect("name");
    let other = unit("[X-Strake]\nMemory=1M\n");
    for (text, state, expected) in [
        (&unit(""), State::Launched, Changed::Content),
        (&unit(""), State::Launched, Changed::Nothing),
        (&unit(""), State::Loaded, Changed::State),
        (&other, State::Launched, Changed::Content),
    ] {
        let changed = set(&store, &name, text, state).await.expect("set");
        assert_eq!(changed, expected);
        let (unit, _) = read(&store, &name).await.expect("unit").expect("unit");
        assert_eq!((unit.digest, unit.state), (text.digest(), state));
    }
    let template: UnitName = "a@.service".parse().expect("name");
    let refused = set(&store, &template, &other, State::Launched).await;
    assert!(matches!(refused, Err(Error::Template(_))));
    assert!(!store.holds(&keys::unit(&template)));
}

#[tokio::test]
async fn what_is_refused_leaves_nothing_in_the_store() {
    let store = Memory::default();
    let name: UnitName = "a@.service".parse().expect("name");
    let wrong = unit("[X-Fleet]\nConflict=b\n");
    let error = submit(&store, &name, &wrong, Known::Replace).await;
    let error = error.expect_err("refused").to_string();
    assert!(error.contains("line 4, column 1") && error.contains("did you mean Conflicts?"));
    assert!(!store.holds(&keys::unit(&name)) && !store.holds(&keys::text(&wrong.digest())));
    submit(&store, &name, &unit(""), Known::Refuse)
        .await
        .expect("a template");
    let error = set_state(&store, &name, State::Launched).await;
    assert!(matches!(error, Err(Error::Template(_))));
}

#[tokio::test]
async fn a_container_and_a_service_of_one_name_are_not_known_together() {
    let store = Memory::default();
    let name = |text: &str| text.parse::<UnitName>().expect("name");
    let container = Text::parse("[Container]\nImage=web\n").expect("text");
    for (first, second) in [
        ("a.container", "a.service"),
        ("b@1.service", "b@1.container"),
    ] {
        let text = |name: &UnitName| match name.is_container() {
            true => container.clone(),
            false => unit(""),
        };
        let (first, second) = (name(first), name(second));
        let done = submit(&store, &first, &text(&first), Known::Refuse).await;
        assert!(matches!(done, Ok(Outcome::Done(_))), "{done:?}");
        let refused = submit(&store, &second, &text(&second), Known::Refuse).await;
        assert!(matches!(refused, Err(Error::Twin { .. })), "{refused:?}");
        destroy(&store, &first).await.expect("gone");
        let done = submit(&store, &second, &text(&second), Known::Refuse).await;
        assert!(matches!(done, Ok(Outcome::Done(_))), "{done:?}");
    }
    let wrong = submit(&store, &name("c.container"), &unit(""), Known::Refuse).await;
    assert!(matches!(wrong, Err(Error::Wrong { .. })), "{wrong:?}");
}

#[tokio::test(start_paused = true)]
async fn of_two_users_at_once_one_is_told_and_nothing_is_half_done() {
    use crate::store::faulty::{Faulty, Random};
    let mut told = 0;
    for seed in 0..300 {
        let memory = Memory::default();
        let way = |n: u64| Faulty::new(memory.clone(), Random::new(seed * 2 + n));
        let (one, other) = (way(0), way(1));
        let name: UnitName = "a.service".parse().expect("name");
        let known = submit(&memory, &name, &unit(""), Known::Refuse).await;
        known.expect("known");
        let text = unit("[X-Strake]\nMemory=1M\n");
        let (first, second) = tokio::join!(
            set_state(&one, &name, State::Launched),
            set(&other, &name, &text, State::Loaded),
        );
        let (now, _) = read(&memory, &name).await.expect("unit").expect("unit");
        // Whoever comes last has the last word; whoever comes between is told.
        let whole = match (&first, &second) {
            (Ok(_), Ok(_)) => now.digest == text.digest() || now.state == State::Launched,
            (Ok(_), Err(_)) => (now.digest, now.state) == (unit("").digest(), State::Launched),
            (Err(_), Ok(_)) => (now.digest, now.state) == (text.digest(), State::Loaded),
            (Err(_), Err(_)) => false,
        };
        assert!(whole, "seed {seed}: {first:?} {second:?}");
        for error in [first.err(), second.err()].into_iter().flatten() {
            assert_eq!(
                error.to_string(),
                "a.service was changed by somebody else at the same moment: look and try again"
            );
            told += 1;
        }
    }
    assert!(told > 5, "{told} of 300 were told");
}

#[tokio::test]
async fn tags_are_added_to_those_there_are() {
    let store = Memory::default();
    let id: MachineId = "m1".parse().expect("id");
    let zone = |value: Option<&str>| Tagging {
        metadata: [("zone".to_string(), value.map(str::to_string))].into(),
        duty: None,
    };
    let drain = Tagging {
        metadata: BTreeMap::new(),
        duty: Some(Duty::Draining),
    };
    for tagging in [zone(Some("a")), drain, zone(None)] {
        let outcome = tag(&store, &id, tagging.clone()).await;
        assert!(matches!(outcome, Ok(Outcome::Done(_))));
        let again = tag(&store, &id, tagging).await;
        assert!(matches!(again, Ok(Outcome::Refused)));
    }
    let entry = store.read(&keys::tags(&id)).await.expect("answer");
    let tags: Tags = serde_json::from_slice(&entry.expect("tags").value).expect("tags");
    assert_eq!(tags.duty, Duty::Draining);
    assert_eq!(tags.metadata["zone"], None);
}

#[tokio::test]
async fn a_ring_of_followers_is_refused_with_the_one_that_closes_it() {
    let store = Memory::default();
    let follows = |other: &str| unit(&format!("[X-Fleet]\nMachineOf={other}\n"));
    let name = |text: &str| text.parse::<UnitName>().expect("name");
    for (follower, target) in [("a", "b.service x.service"), ("b", "c.service"), ("x", "y")] {
        let name = name(&format!("{follower}.service"));
        let done = submit(&store, &name, &follows(target), Known::Refuse).await;
        assert!(matches!(done, Ok(Outcome::Done(_))), "{follower}");
    }
    let last = name("c.service");
    let refused = submit(
        &store,
        &last,
        &follows("d.service a.service"),
        Known::Replace,
    )
    .await;
    assert_eq!(
        refused.expect_err("a ring").to_string(),
        "c.service would follow itself and never be placed: b.service, which is known, follows it"
    );
    let refused = set(&store, &last, &follows("a.service"), State::Launched).await;
    assert!(matches!(refused, Err(Error::Ring { .. })));
    assert!(!store.holds(&keys::unit(&last)));
    let taken = submit(&store, &last, &follows("d.service"), Known::Refuse).await;
    assert!(matches!(taken, Ok(Outcome::Done(_))));
}
