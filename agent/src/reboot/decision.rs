//! What comes next on the way to a reboot. Pure: `next(what is known) -> step`.
//!
//! The order is: healthy, wanted, allowed by window and inhibitors, the lock, the surroundings, the
//! users, the units, the hooks, the reboot. Whatever forbids it once something has begun leads to
//! `StepBack`, which gives the lock back and lets units come again: nobody holds the lock and waits
//! for a window.

use std::fmt;
use std::time::Duration;

use strake_cloud_config::config::RebootStrategy;
use strake_updates::policy::Window;
use strake_updates::time::Timestamp;
use strake_updates::version::Version;

/// Between two looks at what no signal tells of.
pub const LOOK: Duration = Duration::from_secs(30);
/// While something is close to happening.
pub const SOON: Duration = Duration::from_secs(5);
/// Before the end of their time, users are warned once more.
pub const LAST_WARNING: Duration = Duration::from_secs(60);

/// Why a reboot is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A release waits in the passive slot.
    Update(Version),
    /// Another program said so, in locksmith's way.
    Asked,
    /// Somebody said `strake reboot now`: windows do not count, and users are not waited for.
    Now { reason: String, heed: Heed },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heed {
    All,
    /// Neither inhibitors nor the surroundings count; the lock does.
    LockOnly,
}

/// What this machine, or an earlier boot of it, has left in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traces {
    None,
    /// Of the reboot that is under way.
    Ours,
    /// Of an earlier boot, or of an earlier start of the service.
    Earlier,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    No,
    Yes,
    /// Taken in this machine's name by a person: good enough, and theirs to free.
    ByHand,
    /// The store is silent and the strategy is best-effort.
    Silent,
    /// By another machine with this machine's id.
    Twin(String),
}

/// A stage that is passed once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Ahead,
    Passed,
}

/// Until when nothing is tried, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    pub until: Duration,
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boot {
    /// boot-complete.target is not reached.
    Judged,
    Healthy,
}

/// Everything that counts. Times but for windows are since the start of the service.
#[derive(Debug, Clone)]
pub struct Situation {
    pub clock: Duration,
    pub strategy: RebootStrategy,
    /// Whether there is a store to keep a lock in.
    pub in_cluster: bool,
    pub boot: Boot,
    pub wanted: Option<Wanted>,
    /// `strake reboot cancel` was said about what is wanted.
    pub cancelled: bool,
    /// The cluster refuses the release that waits.
    pub refused: bool,
    pub window: Window,
    pub traces: Traces,
    pub held: Held,
    pub inhibitors: Vec<String>,
    pub pause: Option<Pause>,
    pub surroundings: Stage,
    /// Who is logged in.
    pub users: Vec<String>,
    /// When they were first and last warned.
    pub warned: Option<(Duration, Duration)>,
    /// How long they are waited for.
    pub users_limit: Duration,
    pub units: Stage,
    pub hooks: Stage,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Wait(Wait),
    /// Undo what an earlier boot has left: this one is healthy.
    Settle,
    /// Undo what has been done.
    StepBack(String),
    Queue,
    LookAround,
    /// Tell users how long they have.
    Warn(Duration),
    Drain,
    RunHooks,
    Reboot,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// For the verdict on this boot.
    Verdict,
    /// Nothing is wanted.
    Idle,
    Off(Wanted),
    Cancelled(Wanted),
    Refused(Version),
    Window(Timestamp),
    Inhibitors(Vec<String>),
    Pause(Pause),
    Users {
        names: Vec<String>,
        until: Duration,
    },
    Twin(String),
}

pub fn next(now: &Situation) -> Step {
    if now.boot == Boot::Judged {
        return Step::Wait(Wait::Verdict);
    }
    if now.traces == Traces::Earlier {
        return match &now.pause {
            Some(pause) if now.clock < pause.until => Step::Wait(Wait::Pause(pause.clone())),
            _ => Step::Settle,
        };
    }
    match (keeps_from(now), now.traces) {
        (Some(wait), Traces::Ours) => Step::StepBack(wait.to_string()),
        (Some(wait), _) => Step::Wait(wait),
        (None, _) => forward(now),
    }
}

/// What forbids the reboot that is wanted, if one is.
fn keeps_from(now: &Situation) -> Option<Wait> {
    let Some(wanted) = now.wanted.clone() else {
        return Some(Wait::Idle);
    };
    let heed = match &wanted {
        Wanted::Now { heed, .. } => Some(*heed),
        Wanted::Update(_) | Wanted::Asked => None,
    };
    if now.cancelled {
        return Some(Wait::Cancelled(wanted));
    }
    // A person may reboot; the release is not booted by that either: it is taken from the loader.
    if let (Wanted::Update(version), true) = (&wanted, now.refused) {
        return Some(Wait::Refused(*version));
    }
    if now.strategy == RebootStrategy::Off && heed.is_none() {
        return Some(Wait::Off(wanted));
    }
    if let Held::Twin(boot) = &now.held {
        return Some(Wait::Twin(boot.clone()));
    }
    if let (Window::OpensAt(opens), None) = (now.window, heed) {
        return Some(Wait::Window(opens));
    }
    if let Some(pause) = now.pause.as_ref().filter(|pause| now.clock < pause.until) {
        return Some(Wait::Pause(pause.clone()));
    }
    if !now.inhibitors.is_empty() && heed != Some(Heed::LockOnly) {
        return Some(Wait::Inhibitors(now.inhibitors.clone()));
    }
    None
}

/// Whether the reboot waits for its turn in the cluster.
pub fn takes_lock(strategy: RebootStrategy, in_cluster: bool) -> bool {
    match strategy {
        RebootStrategy::Reboot => false,
        // A person's own reboot, where the machine does none by itself.
        RebootStrategy::Off | RebootStrategy::EtcdLock | RebootStrategy::BestEffort => in_cluster,
    }
}

fn forward(now: &Situation) -> Step {
    if takes_lock(now.strategy, now.in_cluster) && now.held == Held::No {
        return Step::Queue;
    }
    if now.surroundings == Stage::Ahead {
        return Step::LookAround;
    }
    if let Some(step) = users(now) {
        return step;
    }
    match (now.units, now.hooks) {
        (Stage::Ahead, _) => Step::Drain,
        (_, Stage::Ahead) => Step::RunHooks,
        (Stage::Passed, Stage::Passed) => Step::Reboot,
    }
}

/// Nothing when nobody is waited for any more.
fn users(now: &Situation) -> Option<Step> {
    let limit = match now.wanted {
        Some(Wanted::Now { .. }) => Duration::ZERO,
        _ => now.users_limit,
    };
    if now.users.is_empty() {
        return None;
    }
    let Some((first, last)) = now.warned else {
        return Some(Step::Warn(limit));
    };
    let until = first.saturating_add(limit);
    if now.clock >= until {
        return None;
    }
    let left = until.saturating_sub(now.clock);
    let is_last = left <= LAST_WARNING && until.saturating_sub(last) > LAST_WARNING;
    Some(match is_last {
        true => Step::Warn(left),
        false => Step::Wait(Wait::Users {
            names: now.users.clone(),
            until,
        }),
    })
}

impl Wait {
    /// How long at most, before everything is looked at again. `now` is the machine's clock.
    pub fn at_most(&self, clock: Duration, now: Timestamp) -> Duration {
        let until = |time: Duration| time.saturating_sub(clock);
        let wanted = match self {
            Wait::Verdict | Wait::Inhibitors(_) => SOON,
            Wait::Idle | Wait::Off(_) | Wait::Cancelled(_) | Wait::Refused(_) | Wait::Twin(_) => {
                LOOK
            }
            // Not longer than a look: clocks are set.
            Wait::Window(opens) => Duration::from_secs(opens.unix().saturating_sub(now.unix())),
            Wait::Pause(pause) => until(pause.until),
            Wait::Users { until: end, .. } => until(*end).min(SOON),
        };
        wanted.clamp(Duration::from_millis(10), LOOK)
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wanted::Update(version) => write!(f, "update to {version}"),
            Wanted::Asked => f.write_str("another program asked for it"),
            Wanted::Now { reason, .. } => f.write_str(reason),
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wait::Verdict => f.write_str("waits until this boot is known to be healthy"),
            Wait::Idle => f.write_str("no reboot is wanted"),
            Wait::Off(wanted) => write!(
                f,
                "the strategy is off: {wanted} waits for somebody's reboot"
            ),
            Wait::Cancelled(wanted) => write!(f, "the reboot was cancelled ({wanted})"),
            Wait::Refused(version) => write!(f, "the cluster refuses {version}: it fell back"),
            Wait::Window(opens) => write!(f, "waits for its window, which opens at {opens}"),
            Wait::Inhibitors(who) => write!(f, "is kept from it by {}", who.join("; ")),
            Wait::Pause(pause) => write!(f, "tries again later: {}", pause.why),
            Wait::Users { names, .. } => write!(f, "waits for users: {}", names.join(", ")),
            Wait::Twin(boot) => write!(
                f,
                "ALARM: another machine with this machine's id holds the lock, running since boot \
                 {boot}; give one of them another id"
            ),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Wait(wait) => wait.fmt(f),
            Step::Settle => f.write_str("is healthy again: gives back what the reboot took"),
            Step::StepBack(why) => write!(f, "steps back: {why}"),
            Step::Queue => f.write_str("waits for its turn at the lock"),
            Step::LookAround => f.write_str("looks whether the cluster can spare this machine"),
            Step::Warn(left) => write!(f, "warns users: {} s are left", left.as_secs()),
            Step::Drain => f.write_str("waits for its units to run elsewhere"),
            Step::RunHooks => f.write_str("runs /etc/strake/reboot.d"),
            Step::Reboot => f.write_str("reboots"),
        }
    }
}
