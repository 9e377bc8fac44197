//! What is being done at the moment, for whoever asks: `/run/strake/update.json`, written by the
//! service and by commands alike.

use serde::{Deserialize, Serialize};
use strake_updates::install::Progress;
use strake_updates::time::Timestamp;
use strake_updates::version::Version;

use super::node::own_file;
use crate::apply::write::write_one;
use crate::root::Root;

const PATH: &str = "/run/strake/update.json";

/// In the words of `com.coreos.update1`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Operation {
    #[default]
    Idle,
    CheckingForUpdate,
    UpdateAvailable,
    Downloading,
    Verifying,
    Finalizing,
    UpdatedNeedReboot,
    ReportingErrorEvent,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Live {
    pub operation: Operation,
    /// 0 to 1 of the operation.
    pub progress: f64,
    /// The release it is about.
    pub version: Option<Version>,
    /// Bytes of it.
    pub size: u64,
    /// The last look that brought an answer.
    pub last_check: Option<Timestamp>,
    pub next_check: Option<Timestamp>,
    pub last_error: Option<Failure>,
}

/// Why the last look or installation came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub time: Timestamp,
    pub text: String,
    pub kind: FailureKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The server could not be reached or broke off: it goes by itself.
    Network,
    /// What the server says is not believed, or this machine cannot take it: someone has to act.
    Alarm,
}

impl Live {
    pub fn read(root: &Root) -> Live {
        let text = root.read_text(PATH).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Best effort: nobody's update fails because nobody can be told of it.
    pub fn write(&self, root: &Root) {
        if let Ok(text) = serde_json::to_string(self) {
            let _ = write_one(root, PATH, own_file(text + "\n"));
        }
    }

    /// Takes a step forward into account; true when it is worth telling.
    pub fn advance(&mut self, progress: Progress) -> bool {
        // Shares of an installation, about as long as each takes; reading back is its own.
        let (operation, from, to, done, total) = match progress {
            Progress::Scanned { done, total } => (Operation::Downloading, 0.0, 0.1, done, total),
            Progress::Copied { done, total } => (Operation::Downloading, 0.1, 0.3, done, total),
            Progress::Fetched { done, total } => (Operation::Downloading, 0.3, 1.0, done, total),
            Progress::Verified { done, total } => (Operation::Verifying, 0.0, 1.0, done, total),
        };
        let share = from + (to - from) * (done as f64 / total.max(1) as f64).min(1.0);
        let percent = |share: f64| (share * 100.0) as u32;
        let changed = self.operation != operation || percent(self.progress) != percent(share);
        (self.operation, self.progress) = (operation, share);
        changed
    }
}

impl Operation {
    /// As `update_engine_client` prints it.
    pub fn word(self) -> &'static str {
        match self {
            Operation::Idle => "UPDATE_STATUS_IDLE",
            Operation::CheckingForUpdate => "UPDATE_STATUS_CHECKING_FOR_UPDATE",
            Operation::UpdateAvailable => "UPDATE_STATUS_UPDATE_AVAILABLE",
            Operation::Downloading => "UPDATE_STATUS_DOWNLOADING",
            Operation::Verifying => "UPDATE_STATUS_VERIFYING",
            Operation::Finalizing => "UPDATE_STATUS_FINALIZING",
            Operation::UpdatedNeedReboot => "UPDATE_STATUS_UPDATED_NEED_REBOOT",
            Operation::ReportingErrorEvent => "UPDATE_STATUS_REPORTING_ERROR_EVENT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_never_goes_back_within_an_operation_and_is_told_by_percents() {
        let mut live = Live::default();
        let steps = [
            Progress::Scanned {
                done: 50,
                total: 100,
            },
            Progress::Copied {
                done: 1,
                total: 100,
            },
            Progress::Copied {
                done: 100,
                total: 100,
            },
            Progress::Fetched {
                done: 10,
                total: 100,
            },
            Progress::Fetched {
                done: 200,
                total: 100,
            },
        ];
        let mut last = 0.0;
        for step in steps {
            live.advance(step);
            assert!(live.progress >= last && live.progress <= 1.0, "{step:?}");
            last = live.progress;
        }
        assert!(live.advance(Progress::Verified {
            done: 1,
            total: 10_000
        }));
        assert!(!live.advance(Progress::Verified {
            done: 2,
            total: 10_000
        }));
    }
}
