//! When a boot counts as healthy. Pure: `step(state, event, now) -> (state, effects)`.
//!
//! Times count from the start of the check. The conditions on units have to hold without a gap
//! for `settle`; then the probes run, again every few seconds until they say yes; at `deadline`
//! it is over, whatever the state.

use std::time::Duration;

const PROBE_AGAIN: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long the units have to be up without a gap.
    pub settle: Duration,
    pub deadline: Duration,
    pub on_failure: OnFailure,
}

/// What an unhealthy boot leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The entry is on trial: reboot, so that its tries run out and the other slot is booted.
    Reboot,
    /// The entry was blessed before: a reboot would not help.
    Stay,
}

/// In order of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Some unit is not as it has to be.
    Waiting {
        reasons: Vec<String>,
    },
    /// All units are as they have to be.
    Steady {
        since: Duration,
    },
    /// The units held long enough, the probes run.
    Probing,
    /// A probe said no.
    Refused {
        reasons: Vec<String>,
        again: Duration,
    },
    Ended,
}

impl Default for State {
    fn default() -> State {
        State::Waiting {
            reasons: vec!["nothing was checked yet".to_string()],
        }
    }
}

impl State {
    fn reason(&self, limits: &Limits) -> String {
        match self {
            State::Waiting { reasons } | State::Refused { reasons, .. } => reasons.join("; "),
            State::Steady { .. } => {
                format!(
                    "the units were not up for {} s without a gap",
                    limits.settle.as_secs()
                )
            }
            State::Probing | State::Ended => "the probes did not end in time".to_string(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// What is wrong with the units; nothing when all is well.
    Units(Vec<String>),
    /// What the probes found wrong.
    Probed(Vec<String>),
    /// A time asked for has come.
    Time,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    WakeAt(Duration),
    Probe,
    Pass,
    Fail { reason: String, then: OnFailure },
}

pub fn step(state: State, event: Event, now: Duration, limits: &Limits) -> (State, Vec<Effect>) {
    if state == State::Ended {
        return (state, Vec::new());
    }
    if now >= limits.deadline && !is_last_yes(&state, &event) {
        let reason = state.reason(limits);
        return (
            State::Ended,
            vec![Effect::Fail {
                reason,
                then: limits.on_failure,
            }],
        );
    }
    match (state, event) {
        (_, Event::Units(reasons)) if !reasons.is_empty() => waiting(reasons, limits),
        (State::Waiting { .. }, Event::Units(_)) => steady(now, now, limits),
        (State::Steady { since }, _) => steady(since, now, limits),
        (State::Probing, Event::Probed(reasons)) if reasons.is_empty() => {
            (State::Ended, vec![Effect::Pass])
        }
        (State::Probing, Event::Probed(reasons)) => {
            let again = now + PROBE_AGAIN;
            (State::Refused { reasons, again }, vec![wake(again, limits)])
        }
        (State::Refused { again, .. }, _) if now >= again => (
            State::Probing,
            vec![Effect::Probe, Effect::WakeAt(limits.deadline)],
        ),
        (State::Refused { reasons, again }, _) => {
            (State::Refused { reasons, again }, vec![wake(again, limits)])
        }
        (state, _) => (state, vec![Effect::WakeAt(limits.deadline)]),
    }
}

/// A yes that came with the deadline is a yes.
fn is_last_yes(state: &State, event: &Event) -> bool {
    *state == State::Probing && *event == Event::Probed(Vec::new())
}

fn waiting(reasons: Vec<String>, limits: &Limits) -> (State, Vec<Effect>) {
    (
        State::Waiting { reasons },
        vec![Effect::WakeAt(limits.deadline)],
    )
}

fn steady(since: Duration, now: Duration, limits: &Limits) -> (State, Vec<Effect>) {
    let until = since + limits.settle;
    if now >= until {
        return (
            State::Probing,
            vec![Effect::Probe, Effect::WakeAt(limits.deadline)],
        );
    }
    (State::Steady { since }, vec![wake(until, limits)])
}

fn wake(at: Duration, limits: &Limits) -> Effect {
    Effect::WakeAt(at.min(limits.deadline))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn limits() -> Limits {
        Limits {
            settle: at(30),
            deadline: at(600),
            on_failure: OnFailure::Reboot,
        }
    }

    fn bad(reason: &str) -> Event {
        Event::Units(vec![reason.to_string()])
    }

    const GOOD: Event = Event::Units(Vec::new());
    const YES: Event = Event::Probed(Vec::new());

    fn no(reason: &str) -> Event {
        Event::Probed(vec![reason.to_string()])
    }

    fn fail(reason: &str) -> Effect {
        Effect::Fail {
            reason: reason.to_string(),
            then: OnFailure::Reboot,
        }
    }

    /// Plays the events and compares the effects of the last one.
    #[track_caller]
    fn check(limits: Limits, events: &[(u64, Event)], expected: &[Effect]) {
        let mut state = State::default();
        let mut effects = Vec::new();
        for (seconds, event) in events {
            (state, effects) = step(state, event.clone(), at(*seconds), &limits);
        }
        assert_eq!(effects, expected, "{state:?}");
    }

    #[test]
    fn a_boot_passes_after_the_units_held_and_the_probes_said_yes() {
        let wake = |seconds| Effect::WakeAt(at(seconds));
        let probing = [Effect::Probe, wake(600)];
        check(limits(), &[(1, bad("x"))], &[wake(600)]);
        check(limits(), &[(1, bad("x")), (5, GOOD)], &[wake(35)]);
        check(limits(), &[(5, GOOD), (20, GOOD)], &[wake(35)]);
        check(limits(), &[(5, GOOD), (35, Event::Time)], &probing);
        check(
            limits(),
            &[(5, GOOD), (35, Event::Time), (36, YES)],
            &[Effect::Pass],
        );
        check(
            limits(),
            &[(5, GOOD), (35, Event::Time), (600, YES)],
            &[Effect::Pass],
        );
    }

    #[test]
    fn a_gap_starts_the_wait_anew() {
        let events = [(5, GOOD), (20, bad("x")), (21, GOOD), (35, Event::Time)];
        check(limits(), &events, &[Effect::WakeAt(at(51))]);
        let during_probes = [(5, GOOD), (35, Event::Time), (36, bad("x")), (37, YES)];
        check(limits(), &during_probes, &[Effect::WakeAt(at(600))]);
    }

    #[test]
    fn probes_are_asked_again_until_the_deadline() {
        let refused = [(0, GOOD), (30, Event::Time), (31, no("disk"))];
        check(limits(), &refused, &[Effect::WakeAt(at(36))]);
        let mut again = refused.to_vec();
        again.push((36, Event::Time));
        check(limits(), &again, &[Effect::Probe, Effect::WakeAt(at(600))]);
        let mut late = refused.to_vec();
        late.push((600, Event::Time));
        check(limits(), &late, &[fail("disk")]);
    }

    #[test]
    fn at_the_deadline_it_is_over_and_the_reason_is_known() {
        check(
            limits(),
            &[(1, bad("a: failed")), (600, Event::Time)],
            &[fail("a: failed")],
        );
        let short = "the units were not up for 30 s without a gap";
        check(limits(), &[(590, GOOD), (600, Event::Time)], &[fail(short)]);
        check(limits(), &[(600, GOOD), (601, GOOD)], &[]);
        let stay = Limits {
            on_failure: OnFailure::Stay,
            ..limits()
        };
        let expected = Effect::Fail {
            reason: "x".into(),
            then: OnFailure::Stay,
        };
        check(stay, &[(1, bad("x")), (700, Event::Time)], &[expected]);
    }

    #[test]
    fn no_settling_time_means_probes_at_once() {
        let limits = Limits {
            settle: Duration::ZERO,
            ..limits()
        };
        check(
            limits,
            &[(3, GOOD)],
            &[Effect::Probe, Effect::WakeAt(at(600))],
        );
    }
}
