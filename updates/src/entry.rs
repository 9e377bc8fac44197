//! The boot entry of a release: a UKI whose file name carries the boot counter.
//!
//! `strake_1.2.0+3.efi` has three tries left, `strake_1.2.0+1-2.efi` one left after two,
//! `strake_1.2.0.efi` is blessed. The loader counts down by renaming, systemd blesses by renaming:
//! <https://systemd.io/AUTOMATIC_BOOT_ASSESSMENT/>.

use std::fmt;
use std::str::FromStr;

use crate::version::Version;

/// Tries a new release gets before the machine falls back.
pub const TRIES: u32 = 3;

/// What the loader knows of a release's boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Boots are still counted; with no try left the loader prefers every other entry.
    Trying { left: u32, done: u32 },
    /// A boot was healthy; boots are no longer counted.
    Blessed,
}

/// A file name in `EFI/Linux` on the EFI system partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub version: Version,
    pub counter: Counter,
}

/// Why a file name is no entry of Strake.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not named strake_VERSION[+LEFT[-DONE]].efi")]
pub struct InvalidEntry(String);

impl Entry {
    /// The entry of a release that was never booted.
    pub fn fresh(version: Version) -> Self {
        Self {
            version,
            counter: Counter::Trying {
                left: TRIES,
                done: 0,
            },
        }
    }
}

impl FromStr for Entry {
    type Err = InvalidEntry;

    fn from_str(name: &str) -> Result<Self, InvalidEntry> {
        parse(name).ok_or_else(|| InvalidEntry(name.to_owned()))
    }
}

fn parse(name: &str) -> Option<Entry> {
    let stem = name.strip_prefix("strake_")?.strip_suffix(".efi")?;
    let Some((version, counter)) = stem.split_once('+') else {
        return Some(Entry {
            version: stem.parse().ok()?,
            counter: Counter::Blessed,
        });
    };
    let (left, done) = match counter.split_once('-') {
        Some((left, done)) => (digits(left)?, digits(done)?),
        None => (digits(counter)?, 0),
    };
    Some(Entry {
        version: version.parse().ok()?,
        counter: Counter::Trying { left, done },
    })
}

/// Leading zeros are the loader's own way of writing: it keeps the width it found.
fn digits(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "strake_{}", self.version)?;
        match self.counter {
            Counter::Blessed => {}
            Counter::Trying { left, done: 0 } => write!(f, "+{left}")?,
            Counter::Trying { left, done } => write!(f, "+{left}-{done}")?,
        }
        f.write_str(".efi")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_counters() {
        let trying = |left, done| Counter::Trying { left, done };
        for (name, counter) in [
            ("strake_1.2.0.efi", Counter::Blessed),
            ("strake_1.2.0+3.efi", trying(3, 0)),
            ("strake_1.2.0+1-2.efi", trying(1, 2)),
            ("strake_1.2.0+0-3.efi", trying(0, 3)),
        ] {
            let entry: Entry = name.parse().unwrap();
            assert_eq!(entry.counter, counter, "{name}");
            assert_eq!(entry.to_string(), name);
        }
    }

    #[test]
    fn a_fresh_entry_has_all_tries() {
        let entry = Entry::fresh("1.0.0".parse().unwrap());
        assert_eq!(entry.to_string(), "strake_1.0.0+3.efi");
    }

    #[test]
    fn refuses_other_files() {
        for name in [
            "",
            "strake_.efi",
            "other_1.0.0.efi",
            "strake_1.0.0+.efi",
            "strake_1.0.0+3-.efi",
            "strake_1.0.0+a.efi",
            "strake_1.0.0+3",
        ] {
            assert!(name.parse::<Entry>().is_err(), "{name}");
        }
    }
}
