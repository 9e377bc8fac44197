use proptest::prelude::*;

use super::*;

fn digest(text: &str) -> Digest {
    serde_json::from_value(text.into()).expect("digest")
}

fn target(text: &str, most_down: usize) -> Target {
    Target {
        digest: digest(text),
        run: 1,
        most_down,
    }
}

/// `a+` is healthy with text a, `a` rising, `a!` failed, `-` nowhere.
fn replicas(code: &str) -> Vec<Replica> {
    let held = |word: &str| {
        let text = word.trim_end_matches(['+', '!', '-']);
        let health = match word.chars().last() {
            Some('+') => Health::Healthy,
            Some('!') => Health::Failed("it failed".to_string()),
            _ => Health::Rising,
        };
        (!text.is_empty()).then(|| Held {
            digest: digest(text),
            health,
        })
    };
    let replica = |(index, word)| Replica {
        name: format!("r@{}.service", index + 1).parse().expect("name"),
        held: held(word),
    };
    code.split(' ').enumerate().map(replica).collect()
}

fn kept(good: &str, refused: &str) -> Rollout {
    Rollout {
        good: (!good.is_empty()).then(|| digest(good)),
        refused: (!refused.is_empty()).then(|| Refused {
            digest: digest(refused),
            run: 1,
            cause: "r@1.service: it failed".to_string(),
        }),
    }
}

#[track_caller]
fn check(before: &Rollout, wanted: (&str, usize), code: &str, texts: &str, after: Option<Rollout>) {
    let (found, news) = before.step(&target(wanted.0, wanted.1), &replicas(code));
    let found: Vec<&str> = found.iter().map(Digest::as_str).collect();
    assert_eq!(found.join(" "), texts, "{wanted:?} {code}");
    assert_eq!(news, after, "{wanted:?} {code}");
}

#[test]
fn replicas_are_replaced_a_few_at_a_time() {
    let none = Rollout::default();
    // All begin at once.
    check(&none, ("a", 1), "- - -", "a a a", None);
    check(&none, ("a", 1), "a a+ a+", "a a a", None);
    check(&none, ("a", 1), "a+ a+ a+", "a a a", Some(kept("a", "")));
    let a = kept("a", "");
    check(&a, ("a", 1), "a+ a+ a+", "a a a", None);
    check(&a, ("b", 1), "a+ a+ a+", "b a a", None);
    check(&a, ("b", 1), "b a+ a+", "b a a", None);
    check(&a, ("b", 1), "b+ a+ a+", "b b a", None);
    check(&a, ("b", 2), "a+ a+ a+", "b b a", None);
    check(&a, ("b", 2), "b+ b a+", "b b b", None);
    check(&a, ("b", 1), "b+ b+ b+", "b b b", Some(kept("b", "")));
    // What is down anyway is replaced first, and leaves the others up.
    check(&a, ("b", 1), "a+ a+ a!", "a a b", None);
    check(&a, ("b", 1), "a+ a a!", "a b a", None);
    // One that lost its machine comes back with what is proven.
    check(&a, ("b", 1), "b+ - a+", "b a b", None);
}

#[test]
fn a_text_that_fails_is_taken_back() {
    let a = kept("a", "");
    let refused = kept("a", "b");
    check(&a, ("b", 1), "b! a+ a+", "a a a", Some(refused.clone()));
    check(&refused, ("b", 1), "a a+ a+", "a a a", None);
    check(&refused, ("b", 1), "a+ a+ a+", "a a a", None);
    // Two of them: one after the other, those that are down first.
    let half = kept("a", "b");
    check(&half, ("b", 1), "b+ b! a+", "b a a", None);
    check(&half, ("b", 1), "b+ a+ a+", "a a a", None);
    // With nothing to go back to it stays.
    check(&Rollout::default(), ("b", 1), "b! b b", "b b b", None);
    // Another text, or a new start, is another try.
    check(&refused, ("c", 1), "a+ a+ a+", "c a a", None);
    let again = Target {
        run: 2,
        ..target("b", 1)
    };
    let (texts, _) = refused.step(&again, &replicas("a+ a+ a+"));
    assert_eq!(texts[0], digest("b"));
    // A replica of the proven text that fails refuses nothing.
    check(&a, ("a", 1), "a! a+ a+", "a a a", None);
}

const TEXTS: [&str; 3] = ["good1", "good2", "bad"];

/// Replicas whose texts begin as they are told, and rise or fail when they are settled.
struct World {
    rollout: Rollout,
    replicas: Vec<Replica>,
    /// Which were healthy when their text was replaced, and are not again.
    taken_down: Vec<bool>,
}

impl World {
    fn step(&mut self, wanted: &Target) {
        let (texts, news) = self.rollout.step(wanted, &self.replicas);
        for (index, text) in texts.into_iter().enumerate() {
            let held = self.replicas[index].held.as_ref();
            if held.is_some_and(|held| held.digest == text) {
                continue;
            }
            let was_up = held.is_some_and(|held| held.health == Health::Healthy);
            self.taken_down[index] |= was_up;
            self.replicas[index].held = Some(Held {
                digest: text,
                health: Health::Rising,
            });
        }
        self.rollout = news.unwrap_or_else(|| self.rollout.clone());
    }

    fn settle(&mut self, index: usize) {
        if let Some(held) = &mut self.replicas[index].held {
            if held.digest.as_str() == "bad" {
                held.health = Health::Failed("bad".to_string());
            } else {
                held.health = Health::Healthy;
                self.taken_down[index] = false;
            }
        }
    }

    fn lose(&mut self, index: usize) {
        self.replicas[index].held = None;
        self.taken_down[index] = false;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn never_more_than_allowed_are_taken_down_and_a_bad_text_never_stays(
        count in 1..6usize,
        most_down in 1..4usize,
        events in prop::collection::vec((0..8usize, 0..6usize, any::<bool>()), 1..60),
    ) {
        let mut wanted = target("good1", most_down);
        let mut world = World {
            rollout: Rollout::default(),
            replicas: replicas(&vec!["-"; count].join(" ")),
            taken_down: vec![false; count],
        };
        for (kind, index, again) in events {
            match kind {
                0 => {
                    wanted.digest = digest(TEXTS[index % 3]);
                    wanted.run += u64::from(again);
                }
                1 => world.lose(index % count),
                _ => world.settle(index % count),
            }
            world.step(&wanted);
            let down = world.taken_down.iter().filter(|down| **down).count();
            prop_assert!(down <= most_down, "{} are down", down);
            prop_assert!(world.rollout.good != Some(digest("bad")));
        }
        let proven = world.rollout.good.clone();
        for _ in 0..8 * count {
            (0..count).for_each(|index| world.settle(index));
            world.step(&wanted);
        }
        let end = match (wanted.digest.as_str(), proven) {
            ("bad", Some(proven)) => proven,
            // There is nothing to go back to: it stops where it is.
            ("bad", None) => return Ok(()),
            _ => wanted.digest.clone(),
        };
        for replica in &world.replicas {
            let held = replica.held.as_ref().expect("held");
            prop_assert_eq!(&held.digest, &end);
        }
    }
}
