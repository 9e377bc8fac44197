//! From what is wanted and what is there to the next things to do. Pure.

use std::collections::BTreeMap;
use std::fmt;

use crate::scheduler::keys::{Assignment, Desired, Seen, State};
use crate::scheduler::name::UnitName;
use crate::scheduler::text::Digest;
use crate::systemd::Active;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Stop(UnitName),
    Unload(UnitName),
    Load(UnitName, Digest),
    Start(UnitName, u64),
}

/// How much may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The machine is not registered: only what leads away from running.
    Removals,
    /// The store was never heard of: nothing is taken away.
    Additions,
    All,
}

/// Whether two things agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Same,
    Differs,
}

/// All that can be done at once: what is being stopped is unloaded by a later call.
pub(super) fn steps(
    desired: &Desired,
    local: &BTreeMap<UnitName, Seen>,
    phase: Phase,
) -> Vec<Action> {
    let mut actions = Vec::new();
    if phase != Phase::Additions {
        for (name, seen) in local {
            let wanted = desired.units.get(name);
            let stays = wanted.is_some_and(|wanted| fits(wanted, seen));
            let rests = wanted.is_some_and(|wanted| wanted.state == State::Loaded);
            if stays && !(rests && (seen.started || !seen.active.is_down())) {
                continue;
            }
            if !seen.active.is_down() {
                if seen.active != Active::Deactivating {
                    actions.push(Action::Stop(name.clone()));
                }
            } else if !stays {
                actions.push(Action::Unload(name.clone()));
            } else if seen.started {
                // Down already, but it was started once; the next start is a new one.
                actions.push(Action::Stop(name.clone()));
            }
        }
    }
    if phase == Phase::Removals {
        return actions;
    }
    for (name, wanted) in &desired.units {
        let seen = local.get(name);
        match seen {
            Some(seen) if !fits(wanted, seen) => {
                // One that is down was unloaded above; the others come later.
                if !seen.active.is_down() || phase == Phase::Additions {
                    continue;
                }
                actions.push(Action::Load(name.clone(), wanted.digest.clone()));
            }
            None => actions.push(Action::Load(name.clone(), wanted.digest.clone())),
            Some(_) => {}
        }
        let started = seen.is_some_and(|seen| seen.started && fits(wanted, seen));
        if wanted.state == State::Launched && !started {
            actions.push(Action::Start(name.clone(), wanted.run));
        }
    }
    actions
}

/// Whether what is here is what is wanted: another run of a unit begins as another text does.
fn fits(wanted: &Assignment, seen: &Seen) -> bool {
    wanted.digest == seen.digest && (wanted.run == seen.run || !seen.started)
}

/// The unit has done what this run was for.
pub(super) fn has_ended(wanted: &Assignment, seen: &Seen) -> bool {
    let launched = wanted.run > 0 && wanted.state == State::Launched;
    launched && seen.started && fits(wanted, seen) && seen.active.is_down()
}

/// Whether nothing is here that does not belong here: then the generation is obeyed as far as
/// other machines are concerned.
pub(super) fn at_rest(desired: &Desired, local: &BTreeMap<UnitName, Seen>) -> Standing {
    match local.keys().all(|name| desired.units.contains_key(name)) {
        true => Standing::Same,
        false => Standing::Differs,
    }
}

impl Action {
    pub(super) fn unit(&self) -> &UnitName {
        match self {
            Action::Stop(name)
            | Action::Unload(name)
            | Action::Load(name, _)
            | Action::Start(name, _) => name,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Stop(name) => write!(f, "stop {name}"),
            Action::Unload(name) => write!(f, "unload {name}"),
            Action::Load(name, digest) => write!(f, "load {name} {}", digest.short()),
            Action::Start(name, _) => write!(f, "start {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::keys::{Fence, Scope};

    fn digest(text: &str) -> Digest {
        serde_json::from_value(text.into()).expect("digest")
    }

    fn seen(code: &str) -> Seen {
        let words: Vec<&str> = code.split(' ').collect();
        Seen {
            digest: digest(words[0]),
            load: "loaded".to_string(),
            active: Active::from(words[1]),
            sub: String::new(),
            started: words.len() > 2,
            run: words.get(3).map_or(0, |run| run.parse().expect("run")),
            problem: None,
        }
    }

    fn wanted(code: &str) -> Assignment {
        let words: Vec<&str> = code.split(' ').collect();
        Assignment {
            digest: digest(words[0]),
            state: words[1].parse().expect("state"),
            scope: Scope::Single,
            run: words.get(2).map_or(0, |run| run.parse().expect("run")),
            fence: Fence::No,
        }
    }

    #[track_caller]
    fn check(want: &str, have: &str, phase: Phase, expected: &[&str]) {
        let name = || "a.service".parse::<UnitName>().expect("name");
        let mut desired = Desired::default();
        if !want.is_empty() {
            desired.units.insert(name(), wanted(want));
        }
        let have = (!have.is_empty()).then(|| (name(), seen(have)));
        let found: Vec<String> = steps(&desired, &have.into_iter().collect(), phase)
            .iter()
            .map(|action| action.to_string().replace(" a.service", ""))
            .collect();
        assert_eq!(found, expected, "{want} on {phase:?}");
    }

    #[test]
    fn the_next_steps_follow_from_what_is_wanted_and_what_is_there() {
        let all = Phase::All;
        check("d1 launched", "", all, &["load d1", "start"]);
        check("d1 loaded", "", all, &["load d1"]);
        check("d1 launched", "d1 inactive", all, &["start"]);
        check("d1 launched", "d1 active started", all, &[]);
        // What ended or failed by itself is systemd's business.
        check("d1 launched", "d1 failed started", all, &[]);
        check("d1 loaded", "d1 active started", all, &["stop"]);
        check("d1 loaded", "d1 failed started", all, &["stop"]);
        check("d1 loaded", "d1 deactivating started", all, &[]);
        check("", "d1 active started", all, &["stop"]);
        check("", "d1 deactivating", all, &[]);
        check("", "d1 inactive", all, &["unload"]);
        check("d2 launched", "d1 active started", all, &["stop"]);
        let replaced = ["unload", "load d2", "start"];
        check("d2 launched", "d1 inactive started", all, &replaced);
    }

    #[test]
    fn a_run_is_started_once_and_another_one_anew() {
        let all = Phase::All;
        check("d1 launched 5", "", all, &["load d1", "start"]);
        check("d1 launched 5", "d1 inactive started 5", all, &[]);
        check("d1 launched 5", "d1 failed started 5", all, &[]);
        check("d1 launched 6", "d1 active started 5", all, &["stop"]);
        let again = ["unload", "load d1", "start"];
        check("d1 launched 6", "d1 inactive started 5", all, &again);
        let cases = [
            ("d1 launched 5", "d1 inactive started 5", true),
            ("d1 launched 5", "d1 failed started 5", true),
            ("d1 launched 5", "d1 activating started 5", false),
            ("d1 launched 5", "d1 inactive", false),
            ("d1 launched 6", "d1 inactive started 5", false),
            ("d2 launched 5", "d1 inactive started 5", false),
            ("d1 loaded 5", "d1 inactive started 5", false),
            ("d1 launched", "d1 inactive started", false),
        ];
        for (want, have, expected) in cases {
            assert_eq!(
                has_ended(&wanted(want), &seen(have)),
                expected,
                "{want} {have}"
            );
        }
    }

    #[test]
    fn a_machine_that_is_not_registered_starts_nothing() {
        check("d1 launched", "", Phase::Removals, &[]);
        check("", "d1 active started", Phase::Removals, &["stop"]);
        check("d2 launched", "d1 failed", Phase::Removals, &["unload"]);
    }

    #[test]
    fn from_the_cache_nothing_is_stopped() {
        check("", "d1 active started", Phase::Additions, &[]);
        check("d2 launched", "d1 active started", Phase::Additions, &[]);
        check("d1 launched", "", Phase::Additions, &["load d1", "start"]);
    }
}
