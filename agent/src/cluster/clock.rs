//! The time that certificates are judged by: never before one this machine has already known.
//!
//! A machine without a clock battery wakes up in the past. The floor is written only while the
//! time is known to come from the network, so that one wrong clock is not kept for ever.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use super::identity::own_file;
use crate::apply::write::{self, write_one};
use crate::root::Root;

const FLOOR: &str = "/state/cluster/clock";
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";

/// Also what TLS asks.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    floor: SystemTime,
}

impl Clock {
    pub fn load(root: &Root) -> Clock {
        let text = root.read_text(FLOOR).unwrap_or_default();
        let seconds = text.trim().parse().unwrap_or(0);
        Clock {
            floor: UNIX_EPOCH + Duration::from_secs(seconds),
        }
    }

    pub fn now(&self) -> SystemTime {
        SystemTime::now().max(self.floor)
    }

    /// Raises the floor on disk when the time is one to trust.
    pub fn keep(&self, root: &Root) -> Result<(), write::Error> {
        let known = root
            .follow(SYNCHRONIZED.as_ref())
            .is_ok_and(|path| path.exists());
        if !known {
            return Ok(());
        }
        let text = format!("{}\n", seconds(self.now()));
        write_one(root, FLOOR, own_file(text, 0o644))
    }
}

pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let since = self.now().duration_since(UNIX_EPOCH).ok()?;
        Some(UnixTime::since_unix_epoch(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_goes_behind_what_was_known() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Root::new(dir.path());
        let write = |path: &str, text: &str| {
            let path = dir.path().join(&path[1..]);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("dir");
            std::fs::write(path, text).expect("file");
        };
        let later = seconds(SystemTime::now()) + 1_000_000;
        write(FLOOR, &format!("{later}\n"));
        let clock = Clock::load(&root);
        assert_eq!(seconds(clock.now()), later);
        for damaged in ["", "x", "-5"] {
            write(FLOOR, damaged);
            assert!(seconds(Clock::load(&root).now()) < later, "{damaged}");
        }
        Clock::load(&root).keep(&root).expect("kept");
        assert_eq!(
            root.read_text(FLOOR).expect("text"),
            "-5",
            "time is not known"
        );
        write(SYNCHRONIZED, "");
        Clock::load(&root).keep(&root).expect("kept");
        assert_ne!(root.read_text(FLOOR).expect("text"), "-5");
    }
}
