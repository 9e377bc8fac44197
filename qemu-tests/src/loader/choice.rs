//! The order in which systemd-boot tries the entries of `EFI/Linux`, as version 257 has it: those
//! without tries last, then the higher version first, then the higher file name, then the one with
//! more tries.

use std::cmp::{Ordering, Reverse};

/// The boot counter in a file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    None,
    Counting { left: u32, done: u32 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub file: String,
    /// `IMAGE_VERSION` or `VERSION_ID` of the UKI's os-release.
    pub version: String,
    pub counter: Counter,
}

impl Candidate {
    pub fn new(file: &str, version: &str) -> Self {
        Self {
            file: file.to_owned(),
            version: version.to_owned(),
            counter: counter(file),
        }
    }

    fn is_spent(&self) -> bool {
        matches!(self.counter, Counter::Counting { left: 0, .. })
    }

    /// The name without the counter, which the loader takes for the entry's own.
    fn id(&self) -> &str {
        match (self.counter, self.file.rsplit_once('+')) {
            (Counter::Counting { .. }, Some((stem, _))) => stem,
            _ => self.file.strip_suffix(".efi").unwrap_or(&self.file),
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let tries = |candidate: &Self| match candidate.counter {
            Counter::None => (Reverse(u32::MAX), 0),
            Counter::Counting { left, done } => (Reverse(left), done),
        };
        self.is_spent()
            .cmp(&other.is_spent())
            .then_with(|| compare(&other.version, &self.version))
            .then_with(|| compare(other.id(), self.id()))
            .then_with(|| tries(self).cmp(&tries(other)))
    }
}

/// The first one is booted.
pub fn order(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    candidates.sort_by(Candidate::compare);
    candidates
}

fn counter(file: &str) -> Counter {
    let count = || {
        let (_, counts) = file.strip_suffix(".efi")?.rsplit_once('+')?;
        let (left, done) = counts.split_once('-').unwrap_or((counts, "0"));
        Some(Counter::Counting {
            left: left.parse().ok()?,
            done: done.parse().ok()?,
        })
    };
    count().unwrap_or(Counter::None)
}

/// Digits by value, everything else by its bytes; enough for versions of numbers and dots, which is
/// all that the tests make.
fn compare(one: &str, other: &str) -> Ordering {
    let numbers = |text: &str| -> Vec<u64> {
        let pieces = text.split(|letter: char| !letter.is_ascii_digit());
        pieces.map(|piece| piece.parse().unwrap_or(0)).collect()
    };
    numbers(one)
        .cmp(&numbers(other))
        .then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `file@version` in any order, and the file that is booted.
    #[track_caller]
    fn booted(entries: &[&str], expected: &[&str]) {
        let candidate = |entry: &&str| {
            let (file, version) = entry.split_once('@').unwrap();
            Candidate::new(file, version)
        };
        for rotation in 0..entries.len() {
            let mut entries: Vec<Candidate> = entries.iter().map(candidate).collect();
            entries.rotate_left(rotation);
            let files: Vec<String> = order(entries).into_iter().map(|one| one.file).collect();
            assert_eq!(files, expected);
        }
    }

    #[test]
    fn the_newest_with_tries_left_is_booted() {
        booted(
            &["strake_0.9.0.efi@0.9.0", "strake_0.10.0+3.efi@0.10.0"],
            &["strake_0.10.0+3.efi", "strake_0.9.0.efi"],
        );
        booted(
            &["strake_1.0.0.efi@1.0.0", "strake_1.1.0+1-2.efi@1.1.0"],
            &["strake_1.1.0+1-2.efi", "strake_1.0.0.efi"],
        );
    }

    #[test]
    fn one_without_tries_comes_after_every_other() {
        booted(
            &["strake_1.0.0.efi@1.0.0", "strake_1.1.0+0-3.efi@1.1.0"],
            &["strake_1.0.0.efi", "strake_1.1.0+0-3.efi"],
        );
    }

    #[test]
    fn the_version_inside_counts_before_the_name() {
        booted(
            &["strake_9.9.9.efi@1.0.0", "STRAKE~1.EFI@1.1.0"],
            &["STRAKE~1.EFI", "strake_9.9.9.efi"],
        );
    }

    #[test]
    fn of_one_entry_twice_the_uncounted_comes_first() {
        booted(
            &["strake_1.0.0+2-1.efi@1.0.0", "strake_1.0.0.efi@1.0.0"],
            &["strake_1.0.0.efi", "strake_1.0.0+2-1.efi"],
        );
    }
}
