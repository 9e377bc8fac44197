use super::*;
use crate::root::Root;
use crate::store::memory::Memory;
use crate::update::node::{Node, Refusal};

fn version(text: &str) -> Version {
    text.parse().expect("version")
}

fn refusal(text: &str, time: u64, cause: &str) -> Refusal {
    Refusal {
        version: version(text),
        time: Timestamp::from_unix(time),
        cause: cause.into(),
        boots: 3,
        journal: vec!["-- boot 1".into(), "it broke".into()],
    }
}

fn machine(refusals: &[Refusal]) -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().expect("temp dir");
    let root = Root::new(dir.path());
    let mut node = Node::default();
    refusals
        .iter()
        .cloned()
        .for_each(|refusal| node.refuse(refusal));
    node.save(&root).expect("saved");
    (dir, root)
}

async fn live(store: &Memory, machines: usize) {
    for index in 0..machines {
        store.put(format!("{MACHINES}m{index}"), &"").await;
    }
}

#[test]
fn one_machine_is_enough_in_a_small_cluster_and_a_fiftieth_in_a_large_one() {
    let cases = [
        (0, 1),
        (1, 1),
        (9, 1),
        (10, 1),
        (99, 1),
        (100, 2),
        (149, 2),
        (10_000, 200),
    ];
    for (machines, budget) in cases {
        assert_eq!(default_budget(machines), budget, "{machines}");
    }
}

#[tokio::test]
async fn what_fell_back_is_told_once_and_lifting_it_starts_anew() {
    let store = Memory::default();
    let by_cluster = format!("{BY_CLUSTER}kernel panic");
    let (_dir, root) = machine(&[
        refusal("1.1.0", 100, "kernel panic"),
        refusal("1.0.5", 50, &by_cluster),
    ]);
    for _ in 0..2 {
        tell(&root, &store, "a", None).await.expect("told");
    }
    let known = standings(&store).await.expect("answer");
    assert_eq!(known.len(), 1);
    assert_eq!(
        (known[0].version, known[0].fallbacks.len()),
        (version("1.1.0"), 1)
    );
    assert_eq!(known[0].fallbacks[0].journal[1], "it broke");
    let refused = known[0].refused.as_ref().expect("refused");
    assert_eq!(
        (refused.budget, refused.cause.as_str()),
        (1, "kernel panic")
    );
    assert!(is_refused(&store, version("1.1.0")).await.expect("answer"));
    assert!(lift(&store, version("1.1.0")).await.expect("lifted"));
    assert!(!lift(&store, version("1.1.0")).await.expect("nothing there"));
    tell(&root, &store, "a", None).await.expect("told before");
    assert_eq!(standings(&store).await.expect("answer"), Vec::new());
    // It was tried again here, and fell back again.
    let mut node = Node::load(&root).expect("node");
    node.refuse(refusal("1.1.0", 200, "kernel panic"));
    node.save(&root).expect("saved");
    tell(&root, &store, "a", None).await.expect("told");
    assert_eq!(refusals(&store).await.expect("answer").len(), 1);
}

#[tokio::test]
async fn an_unproven_release_is_tried_by_no_more_than_the_budget_at_once() {
    let store = Memory::default();
    live(&store, 5).await;
    let bad = version("2.0.0");
    let enter = async |id: &str, given| {
        let entered = enter(&store, id, bad, given).await;
        entered.expect("answer")
    };
    let others = |others| Some(Obstacle::Unproven { others });
    assert_eq!(enter("a", None).await, None);
    assert_eq!(enter("a", None).await, None, "it may ask twice");
    assert_eq!(enter("b", None).await, others(1));
    assert_eq!(enter("b", Some(2)).await, None);
    assert_eq!(enter("c", Some(2)).await, others(2));
    leave(&store, "a", bad).await.expect("left");
    leave(&store, "b", bad).await.expect("left");
    assert_eq!(enter("c", None).await, None);
    assert_eq!(enter("d", None).await, others(1));
    prove(&store, "c", bad).await.expect("proven");
    for id in ["d", "e", "f"] {
        assert_eq!(enter(id, None).await, None);
    }
    let (_dir, root) = machine(&[refusal("2.0.0", 100, "it hung")]);
    tell(&root, &store, "d", None).await.expect("told");
    assert_eq!(enter("g", None).await, Some(Obstacle::Refused));
    assert!(lift(&store, bad).await.expect("lifted"));
    assert_eq!(
        enter("g", None).await,
        others(2),
        "e and f are not back yet"
    );
}

#[tokio::test]
async fn a_release_is_refused_by_all_when_the_budget_is_used_up_and_not_before() {
    let bad = version("2.0.0");
    for (machines, given, enough) in [(100, None, 2), (3, Some(3), 3), (500, None, 10)] {
        let store = Memory::default();
        live(&store, machines).await;
        for count in 1..=enough {
            let (_dir, root) = machine(&[refusal("2.0.0", 100, "it hung")]);
            let id = format!("m{count}");
            tell(&root, &store, &id, given).await.expect("told");
            let refused = is_refused(&store, bad).await.expect("answer");
            assert_eq!(refused, count == enough, "{count} of {machines}");
        }
    }
}
