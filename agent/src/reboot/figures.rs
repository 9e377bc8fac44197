//! What the reboot service tells Prometheus.

use strake_updates::policy::Window;
use strake_updates::time::Timestamp;

use super::decision::{Held, Situation, Step, Wait};
use crate::metrics::{Counter, Gauge, Registry};
use crate::update::clock;

/// Each of what `word` says.
const STEPS: [&str; 17] = [
    "idle",
    "verdict",
    "off",
    "cancelled",
    "refused",
    "window",
    "inhibitors",
    "pause",
    "users",
    "twin",
    "settle",
    "step-back",
    "queue",
    "look-around",
    "drain",
    "hooks",
    "reboot",
];

#[derive(Debug)]
pub(super) struct Figures {
    steps: Vec<(&'static str, Gauge)>,
    wanted_since: Gauge,
    window_opens: Gauge,
    holds_lock: Gauge,
    pub(super) failures: Counter,
    since: Option<Timestamp>,
}

impl Figures {
    pub(super) fn new(registry: &Registry) -> Figures {
        let step = |word| {
            let help = "1 for what the machine does about its next reboot, or waits for.";
            let gauge = registry.gauge("strake_reboot_step", help, &[("step", word)]);
            (word, gauge)
        };
        let gauge = |name, help| registry.gauge(name, help, &[]);
        Figures {
            steps: STEPS.map(step).into(),
            wanted_since: gauge(
                "strake_reboot_wanted_since_timestamp_seconds",
                "Since when the service has known that a reboot is wanted; 0: none is.",
            ),
            window_opens: gauge(
                "strake_reboot_window_opens_timestamp_seconds",
                "When the window opens; 0: it is open, or there are no windows.",
            ),
            holds_lock: gauge(
                "strake_reboot_holds_lock",
                "1 while this machine has the reboot lock.",
            ),
            failures: registry.counter(
                "strake_reboot_failures_total",
                "Tries on the way to a reboot that did not work and are made again later.",
                &[],
            ),
            since: None,
        }
    }

    pub(super) fn tell(&mut self, now: &Situation, next: &Step) {
        let does = word(next);
        for (word, gauge) in &self.steps {
            gauge.set_count(usize::from(*word == does));
        }
        self.since = now
            .wanted
            .as_ref()
            .and(self.since.or_else(|| Some(clock())));
        let seconds = |time: Option<Timestamp>| time.map_or(0.0, |time| time.unix() as f64);
        self.wanted_since.set(seconds(self.since));
        self.window_opens.set(seconds(match now.window {
            Window::OpensAt(opens) => Some(opens),
            Window::Open => None,
        }));
        let holds_lock = matches!(now.held, Held::Yes | Held::ByHand);
        self.holds_lock.set_count(usize::from(holds_lock));
    }
}

fn word(step: &Step) -> &'static str {
    match step {
        Step::Wait(wait) => match wait {
            Wait::Verdict => "verdict",
            Wait::Idle => "idle",
            Wait::Off(_) => "off",
            Wait::Cancelled(_) => "cancelled",
            Wait::Refused(_) => "refused",
            Wait::Window(_) => "window",
            Wait::Inhibitors(_) => "inhibitors",
            Wait::Pause(_) => "pause",
            Wait::Users { .. } => "users",
            Wait::Twin(_) => "twin",
        },
        Step::Settle => "settle",
        Step::StepBack(_) => "step-back",
        Step::Queue => "queue",
        Step::LookAround => "look-around",
        Step::Warn(_) => "users",
        Step::Drain => "drain",
        Step::RunHooks => "hooks",
        Step::Reboot => "reboot",
    }
}
