//! What the update service counts.

use super::alarm::alarms;
use super::live::{Live, Operation};
use super::node::Node;
use crate::metrics::{Counter, Gauge, Registry};
use crate::root::Root;

const OPERATIONS: [Operation; 8] = [
    Operation::Idle,
    Operation::CheckingForUpdate,
    Operation::UpdateAvailable,
    Operation::Downloading,
    Operation::Verifying,
    Operation::Finalizing,
    Operation::UpdatedNeedReboot,
    Operation::ReportingErrorEvent,
];

#[derive(Debug)]
pub(super) struct Figures {
    pub(super) answered: Counter,
    pub(super) failed: Counter,
    operations: Vec<(Operation, Gauge)>,
    progress: Gauge,
    last_check: Gauge,
    refused: Gauge,
    alarms: Gauge,
}

impl Figures {
    pub(super) fn new(registry: &Registry) -> Figures {
        let looks = |result: &str| {
            let help = "Times this machine asked for updates, or was told to.";
            registry.counter("strake_update_attempts_total", help, &[("result", result)])
        };
        let operations = |operation: Operation| {
            let help = "1 for what is being done, in the words of update_engine.";
            let labels = [("operation", operation.word())];
            let gauge = registry.gauge("strake_update_operation", help, &labels);
            (operation, gauge)
        };
        let gauge = |name, help| registry.gauge(name, help, &[]);
        Figures {
            answered: looks("answered"),
            failed: looks("failed"),
            operations: OPERATIONS.map(operations).into(),
            progress: gauge("strake_update_progress_ratio", "0 to 1 of the operation."),
            last_check: gauge(
                "strake_update_last_check_timestamp_seconds",
                "When the server last answered; 0: not since this boot.",
            ),
            refused: gauge(
                "strake_update_refused_releases",
                "Releases that did not come up healthy here.",
            ),
            alarms: gauge(
                "strake_update_alarms",
                "What stops updates and needs somebody.",
            ),
        }
    }

    pub(super) fn tell(&self, root: &Root, live: &Live) {
        for (operation, gauge) in &self.operations {
            gauge.set_count(usize::from(*operation == live.operation));
        }
        self.progress.set(live.progress);
        let last = live.last_check.map_or(0, |time| time.unix());
        self.last_check.set(last as f64);
        let refused = Node::load(root).map_or(0, |node| node.refused.len());
        self.refused.set_count(refused);
        self.alarms.set_count(alarms(root, live).len());
    }
}
