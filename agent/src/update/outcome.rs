//! What became of the release that was last made ready. Pure.
//!
//! The loader counts tries in entry names and systemd blesses by renaming, so the names tell all
//! of it, also after a boot that left no other trace.

use strake_updates::entry::{Counter, Entry};
use strake_updates::version::Version;

use super::node::Attempt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has its entry and waits for a reboot.
    Staged,
    /// It is being tried, or another entry was chosen by hand in between.
    Trying { left: u32 },
    /// It runs and is blessed.
    Blessed,
    /// It had all its tries, and another release runs.
    FellBack { boots: u32 },
    /// Its entry is gone, or never came to be: a power cut, or another hand.
    Gone,
}

pub fn outcome(attempt: &Attempt, entry: Option<Entry>, running: Version) -> Outcome {
    let Some(entry) = entry else {
        return Outcome::Gone;
    };
    match entry.counter {
        // Also when another entry was chosen by hand since.
        Counter::Blessed => Outcome::Blessed,
        Counter::Trying { left: 0, done } if attempt.version != running => {
            Outcome::FellBack { boots: done }
        }
        Counter::Trying { done: 0, .. } => Outcome::Staged,
        Counter::Trying { left, .. } => Outcome::Trying { left },
    }
}

#[cfg(test)]
mod tests {
    use strake_updates::time::Timestamp;

    use super::*;
    use crate::update::node::Kind;

    fn version(text: &str) -> Version {
        text.parse().expect("version")
    }

    #[track_caller]
    fn check(entry: &str, running: &str, expected: Outcome) {
        let attempt = Attempt {
            version: version("1.1.0"),
            from: version("1.0.0"),
            channel: "stable".parse().expect("channel"),
            kind: Kind::Update,
            time: Timestamp::from_unix(0),
            boot_id: String::new(),
        };
        let entry = entry.parse().ok();
        assert_eq!(outcome(&attempt, entry, version(running)), expected);
    }

    #[test]
    fn names_tell_what_became_of_a_release() {
        use Outcome::*;
        check("strake_1.1.0+3.efi", "1.0.0", Staged);
        check("strake_1.1.0+2-1.efi", "1.1.0", Trying { left: 2 });
        check("strake_1.1.0+2-1.efi", "1.0.0", Trying { left: 2 });
        check("strake_1.1.0+0-3.efi", "1.1.0", Trying { left: 0 });
        check("strake_1.1.0+0-3.efi", "1.0.0", FellBack { boots: 3 });
        check("strake_1.1.0.efi", "1.1.0", Blessed);
        check("strake_1.1.0.efi", "1.0.0", Blessed);
        check("", "1.0.0", Gone);
    }
}
