//! Power cuts: which entries of a recording reach the disk.
//!
//! A cut after `prefix` entries keeps what was flushed. Of the writes since the last flush any
//! may be lost, and any may be torn: some of its sectors are there, the others are not.

use super::format::{Entry, Kind};
use crate::switch::Random;

/// What becomes of the writes that no flush followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// All are there: the disk has no cache, or was lucky.
    Nothing,
    /// None is there.
    Everything,
    /// Chosen by the seed: each is there, gone, or torn.
    Seeded(u64),
    /// All are there but the last one, of which the seed chooses sectors.
    LastTorn(u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Entries that were submitted.
    pub prefix: usize,
    pub loss: Loss,
}

/// Every prefix of the recording, with `seeds` losses by chance for each that has something to
/// lose. Prefixes that end with a flush or a mark add no disk of their own.
pub fn cuts(entries: &[Entry], seeds: u64) -> Vec<Cut> {
    let mut cuts = vec![Cut {
        prefix: 0,
        loss: Loss::Nothing,
    }];
    let mut unflushed = 0;
    for (place, entry) in entries.iter().enumerate() {
        let prefix = place + 1;
        match entry.kind {
            Kind::Flush => unflushed = 0,
            Kind::Mark => {}
            Kind::Write { .. } | Kind::Discard => {
                unflushed += 1;
                let mut losses = vec![Loss::Nothing, Loss::Everything];
                if entry.sectors > 1 {
                    losses.push(Loss::LastTorn(prefix as u64));
                }
                if unflushed > 1 {
                    let seed = |seed| Loss::Seeded(prefix as u64 * 1000 + seed);
                    losses.extend((0..seeds).map(seed));
                }
                cuts.extend(losses.into_iter().map(|loss| Cut { prefix, loss }));
            }
        }
    }
    cuts
}

impl Cut {
    /// The sectors of an entry that reach the disk, as a function of their place in it. `flushed`
    /// is how many entries the last flush of the prefix followed.
    pub(super) fn survivors(&self, entry: &Entry, number: usize, flushed: usize) -> Survivors {
        let forced = matches!(entry.kind, Kind::Write { forced: true });
        let is_last = number + 1 == self.prefix;
        if number < flushed || (forced && !is_last) {
            return Survivors::All;
        }
        let torn = |seed: u64| Survivors::Some(Random::new(seed ^ (number as u64) << 32));
        match self.loss {
            Loss::Nothing => Survivors::All,
            Loss::Everything => Survivors::None,
            Loss::LastTorn(seed) if is_last => torn(seed),
            Loss::LastTorn(_) => Survivors::All,
            Loss::Seeded(seed) => {
                let mut random = Random::new(seed.wrapping_add((number as u64) << 20));
                match (random.happens(400), random.happens(600)) {
                    (true, _) => Survivors::All,
                    (false, true) => Survivors::None,
                    (false, false) => torn(seed),
                }
            }
        }
    }
}

#[derive(Debug)]
pub(super) enum Survivors {
    All,
    None,
    /// Each sector by a draw.
    Some(Random),
}

/// How many of the first `prefix` entries were followed by a flush.
pub(super) fn flushed(entries: &[Entry], prefix: usize) -> usize {
    let last = entries[..prefix]
        .iter()
        .rposition(|entry| entry.kind == Kind::Flush);
    last.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: Kind) -> Entry {
        let sectors = if kind == Kind::Flush { 0 } else { 8 };
        Entry {
            kind,
            sector: 0,
            sectors,
            data: 0,
        }
    }

    const WRITE: Kind = Kind::Write { forced: false };

    #[test]
    fn every_prefix_is_there_and_only_unflushed_writes_are_drawn_for() {
        let entries: Vec<Entry> = [WRITE, WRITE, Kind::Flush, WRITE].map(entry).into();
        let cuts = cuts(&entries, 5);
        let of = |prefix| cuts.iter().filter(|cut| cut.prefix == prefix).count();
        assert_eq!([0, 1, 2, 3, 4].map(of), [1, 3, 8, 0, 3]);
        assert_eq!(flushed(&entries, 2), 0);
        assert_eq!(flushed(&entries, 4), 2);
    }

    #[test]
    fn what_was_flushed_or_forced_survives_every_loss() {
        let kept = |cut: &Cut, kind, number, flushed| {
            matches!(cut.survivors(&entry(kind), number, flushed), Survivors::All)
        };
        for seed in 0..100 {
            for loss in [Loss::Everything, Loss::Seeded(seed), Loss::LastTorn(seed)] {
                let cut = Cut { prefix: 5, loss };
                assert!(kept(&cut, WRITE, 1, 2), "{loss:?}");
                assert!(kept(&cut, Kind::Write { forced: true }, 3, 2), "{loss:?}");
            }
        }
        let lost = Cut {
            prefix: 5,
            loss: Loss::Everything,
        };
        assert!(!kept(&lost, WRITE, 3, 2));
    }

    #[test]
    fn chance_keeps_loses_and_tears() {
        let mut seen = [0; 3];
        for seed in 0..200 {
            let cut = Cut {
                prefix: 9,
                loss: Loss::Seeded(seed),
            };
            match cut.survivors(&entry(WRITE), 4, 0) {
                Survivors::All => seen[0] += 1,
                Survivors::None => seen[1] += 1,
                Survivors::Some(_) => seen[2] += 1,
            }
        }
        assert!(seen.iter().all(|count| *count > 20), "{seen:?}");
    }
}
