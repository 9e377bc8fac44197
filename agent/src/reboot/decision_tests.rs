//! Tables: from what is known to what comes next.

use std::time::Duration;

use strake_cloud_config::config::RebootStrategy;
use strake_updates::policy::Window;
use strake_updates::time::Timestamp;

use super::decision::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn update() -> Wanted {
    Wanted::Update("1.2.0".parse().expect("version"))
}

fn by_hand(heed: Heed) -> Wanted {
    Wanted::Now {
        reason: "by hand".into(),
        heed,
    }
}

/// A healthy machine of a cluster, in its window, with an update and everything done but the reboot.
fn ready() -> Situation {
    Situation {
        clock: seconds(1000),
        strategy: RebootStrategy::EtcdLock,
        in_cluster: true,
        boot: Boot::Healthy,
        wanted: Some(update()),
        cancelled: false,
        refused: false,
        window: Window::Open,
        traces: Traces::Ours,
        held: Held::Yes,
        inhibitors: Vec::new(),
        pause: None,
        surroundings: Stage::Passed,
        users: Vec::new(),
        warned: None,
        users_limit: seconds(300),
        units: Stage::Passed,
        hooks: Stage::Passed,
    }
}

/// The same before anything was done.
fn fresh() -> Situation {
    Situation {
        traces: Traces::None,
        held: Held::No,
        surroundings: Stage::Ahead,
        units: Stage::Ahead,
        hooks: Stage::Ahead,
        ..ready()
    }
}

#[track_caller]
fn check(base: fn() -> Situation, change: impl FnOnce(&mut Situation), expected: &Step) {
    let mut situation = base();
    change(&mut situation);
    assert_eq!(next(&situation), *expected, "{situation:?}");
}

const OPENS: u64 = 1_800_000_000;

fn closed() -> Window {
    Window::OpensAt(Timestamp::from_unix(OPENS))
}

#[test]
fn the_stages_come_one_after_another() {
    let mut situation = fresh();
    let mut seen = Vec::new();
    for _ in 0..6 {
        let step = next(&situation);
        match &step {
            Step::Queue => {
                (situation.held, situation.traces) = (Held::Yes, Traces::Ours);
            }
            Step::LookAround => situation.surroundings = Stage::Passed,
            Step::Drain => situation.units = Stage::Passed,
            Step::RunHooks => situation.hooks = Stage::Passed,
            _ => {}
        }
        seen.push(step);
    }
    let expected = [
        Step::Queue,
        Step::LookAround,
        Step::Drain,
        Step::RunHooks,
        Step::Reboot,
        Step::Reboot,
    ];
    assert_eq!(seen, expected);
}

#[test]
fn nothing_happens_before_the_boot_is_healthy() {
    let verdict = Step::Wait(Wait::Verdict);
    for base in [ready, fresh] {
        check(base, |now| now.boot = Boot::Judged, &verdict);
    }
    let leave_lock = |now: &mut Situation| {
        (now.boot, now.traces) = (Boot::Judged, Traces::Earlier);
    };
    check(fresh, leave_lock, &verdict);
    check(fresh, |now| now.traces = Traces::Earlier, &Step::Settle);
    let nothing_more = |now: &mut Situation| {
        (now.traces, now.wanted) = (Traces::Earlier, None);
    };
    check(fresh, nothing_more, &Step::Settle);
}

#[test]
fn the_strategy_says_whether_the_lock_is_taken() {
    use RebootStrategy::*;
    let lone = Step::LookAround;
    let cases = [
        (EtcdLock, true, Step::Queue),
        (BestEffort, true, Step::Queue),
        (BestEffort, false, lone.clone()),
        (Reboot, true, lone.clone()),
        (Reboot, false, lone),
        (Off, true, Step::Wait(Wait::Off(update()))),
        (Off, false, Step::Wait(Wait::Off(update()))),
    ];
    for (strategy, in_cluster, expected) in cases {
        let change = |now: &mut Situation| {
            (now.strategy, now.in_cluster) = (strategy, in_cluster);
        };
        check(fresh, change, &expected);
    }
    let silent = |now: &mut Situation| {
        (now.strategy, now.held) = (BestEffort, Held::Silent);
    };
    check(fresh, silent, &Step::LookAround);
    let by_person = |now: &mut Situation| {
        (now.strategy, now.wanted) = (Off, Some(by_hand(Heed::All)));
    };
    check(fresh, by_person, &Step::Queue);
}

type Change<'a> = dyn Fn(&mut Situation) + 'a;

#[test]
fn whatever_forbids_it_is_waited_for_without_the_lock() {
    let pause = Pause {
        until: seconds(1060),
        why: "etcd has no quorum without it".into(),
    };
    let release = "1.2.0".parse().expect("version");
    let cases: [(&Change<'_>, Wait); 7] = [
        (&|now| now.wanted = None, Wait::Idle),
        (&|now| now.cancelled = true, Wait::Cancelled(update())),
        (&|now| now.refused = true, Wait::Refused(release)),
        (
            &|now| now.window = closed(),
            Wait::Window(Timestamp::from_unix(OPENS)),
        ),
        (
            &|now| now.inhibitors = vec!["backup".into()],
            Wait::Inhibitors(vec!["backup".into()]),
        ),
        (
            &|now| now.pause = Some(pause.clone()),
            Wait::Pause(pause.clone()),
        ),
        (
            &|now| now.held = Held::Twin("b00t".into()),
            Wait::Twin("b00t".into()),
        ),
    ];
    for (change, wait) in cases {
        check(fresh, change, &Step::Wait(wait.clone()));
        check(ready, change, &Step::StepBack(wait.to_string()));
    }
    let over = |now: &mut Situation| {
        now.pause = Some(Pause {
            until: seconds(1000),
            ..pause.clone()
        });
    };
    check(ready, over, &Step::Reboot);
}

#[test]
fn a_person_overrides_windows_and_with_force_all_but_the_lock() {
    let obstacles = |heed| {
        move |now: &mut Situation| {
            now.wanted = Some(by_hand(heed));
            now.window = closed();
            now.strategy = RebootStrategy::Off;
        }
    };
    check(ready, obstacles(Heed::All), &Step::Reboot);
    check(fresh, obstacles(Heed::LockOnly), &Step::Queue);
    let inhibited = |heed| {
        move |now: &mut Situation| {
            now.wanted = Some(by_hand(heed));
            now.inhibitors = vec!["backup".into()];
        }
    };
    let kept = Wait::Inhibitors(vec!["backup".into()]);
    check(fresh, inhibited(Heed::All), &Step::Wait(kept));
    check(ready, inhibited(Heed::LockOnly), &Step::Reboot);
    let twin = |now: &mut Situation| {
        now.wanted = Some(by_hand(Heed::LockOnly));
        now.held = Held::Twin("b00t".into());
    };
    check(fresh, twin, &Step::Wait(Wait::Twin("b00t".into())));
}

#[test]
fn users_are_warned_twice_and_waited_for_up_to_the_limit() {
    let with = |clock: u64, warned: Option<(u64, u64)>| {
        move |now: &mut Situation| {
            now.clock = seconds(clock);
            now.users = vec!["core".into()];
            now.warned = warned.map(|(first, last)| (seconds(first), seconds(last)));
        }
    };
    let waits = Step::Wait(Wait::Users {
        names: vec!["core".into()],
        until: seconds(1300),
    });
    check(ready, with(1000, None), &Step::Warn(seconds(300)));
    check(ready, with(1001, Some((1000, 1000))), &waits);
    check(
        ready,
        with(1240, Some((1000, 1000))),
        &Step::Warn(seconds(60)),
    );
    check(ready, with(1245, Some((1000, 1240))), &waits);
    check(ready, with(1300, Some((1000, 1240))), &Step::Reboot);
    let left = |now: &mut Situation| {
        with(1100, Some((1000, 1000)))(now);
        now.users.clear();
    };
    check(ready, left, &Step::Reboot);
    let no_limit = |now: &mut Situation| {
        with(1000, Some((1000, 1000)))(now);
        now.users_limit = Duration::ZERO;
    };
    check(ready, no_limit, &Step::Reboot);
    let person = |now: &mut Situation| {
        with(1000, Some((1000, 1000)))(now);
        now.wanted = Some(by_hand(Heed::All));
    };
    check(ready, person, &Step::Reboot);
}

#[test]
fn no_wait_is_longer_than_a_look() {
    let far = Wait::Window(Timestamp::from_unix(OPENS));
    let now = Timestamp::from_unix(OPENS - 7);
    assert_eq!(far.at_most(Duration::ZERO, now), seconds(7));
    let now = Timestamp::from_unix(0);
    assert_eq!(far.at_most(Duration::ZERO, now), LOOK);
    let past = Timestamp::from_unix(OPENS + 7);
    assert!(far.at_most(Duration::ZERO, past) > Duration::ZERO);
}
