//! Fills the passive slot: tree first, then blocks from the nearest source, then the proof. What
//! the machine does not have is fetched in `download`.

use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use super::partitions::{BATCH, Partitions};
use super::remote::Remote;
use super::workers::in_rounds;
use super::{Active, InstallError, Progress, Report, Watch, tree};
use crate::fetch::Transport;
use crate::offer::Offer;
use crate::payload::BLOCK;
use crate::payload::ladder::{Source, missing, sources};
use crate::payload::tree::Tree;

/// Makes the slot the offered release. May be run again after any failure or power cut.
pub async fn install<T: Transport>(
    remote: &Remote<'_, T>,
    offer: &Offer,
    active: Option<&Active>,
    passive: &Partitions,
    watch: &mut Watch<'_>,
) -> Result<Report, InstallError> {
    let mut report = Report::default();
    let delta = active.and_then(|active| offer.delta_from(active.tree.shape().root_hash));
    let tree = tree::fetch(remote, offer, active.zip(delta), &mut report).await?;
    passive.check_size(&tree)?;
    let present = passive.scan(&tree, watch)?;
    report.present_blocks = present.iter().filter(|present| **present).count() as u64;
    if present.contains(&false) {
        passive.disown()?;
        let from = sources(&tree, active.map(|active| &active.tree), &present);
        let mut fill = Fill {
            remote,
            offer,
            tree: &tree,
            passive,
            report: &mut report,
            watch,
        };
        let missing = fill.copy(&from, active)?;
        fill.fetch(missing, active.zip(delta)).await?;
    }
    passive.complete(&tree, watch)?;
    Ok(report)
}

pub(super) struct Fill<'a, 'w, T> {
    pub(super) remote: &'a Remote<'a, T>,
    pub(super) offer: &'a Offer,
    pub(super) tree: &'a Tree,
    pub(super) passive: &'a Partitions,
    pub(super) report: &'a mut Report,
    pub(super) watch: &'a mut Watch<'w>,
}

impl<T: Transport> Fill<'_, '_, T> {
    /// Takes known blocks from the active slot; what is left must be fetched.
    fn copy(&mut self, from: &[Source], active: Option<&Active>) -> Result<Vec<u64>, InstallError> {
        let mut left: Vec<u64> = missing(from).collect();
        let Some(active) = active else {
            return Ok(left);
        };
        let total = from
            .iter()
            .filter(|s| matches!(s, Source::Active(_)))
            .count() as u64;
        let (tree, passive) = (self.tree, self.passive);
        let part = |part: Range<u64>| {
            let mut unusable = Vec::new();
            let mut copied = 0;
            let mut content = vec![0; BATCH];
            for run in runs(from, part) {
                let content = &mut content[..(run.blocks * BLOCK) as usize];
                let read = active.data.read_exact_at(content, run.old * BLOCK);
                let good = |number: u64| {
                    let block = &content[(number * BLOCK) as usize..][..BLOCK as usize];
                    read.is_ok() && tree.holds(run.new + number, block)
                };
                let bad: Vec<u64> = (0..run.blocks).filter(|number| !good(*number)).collect();
                let mut start = 0;
                for end in bad.iter().copied().chain([run.blocks]) {
                    if start < end {
                        let whole = &content[(start * BLOCK) as usize..(end * BLOCK) as usize];
                        passive.write_blocks(run.new + start, whole)?;
                        copied += end - start;
                    }
                    start = end + 1;
                }
                unusable.extend(bad.into_iter().map(|number| run.new + number));
            }
            Ok::<_, InstallError>((copied, unusable))
        };
        in_rounds(from.len() as u64, part, |round, _| {
            for (copied, unusable) in round {
                self.report.copied_blocks += copied;
                left.extend(unusable);
            }
            let done = self.report.copied_blocks;
            (self.watch)(Progress::Copied { done, total });
        })?;
        left.sort_unstable();
        Ok(left)
    }
}

/// Blocks that follow each other in both slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    new: u64,
    old: u64,
    blocks: u64,
}

/// What of a part of the new slot the active one has, in runs of at most a batch.
fn runs(from: &[Source], part: Range<u64>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for new in part {
        let Source::Active(old) = from[new as usize] else {
            continue;
        };
        match runs.last_mut() {
            Some(run)
                if (run.new + run.blocks, run.old + run.blocks) == (new, old)
                    && run.blocks < BATCH as u64 / BLOCK =>
            {
                run.blocks += 1;
            }
            _ => runs.push(Run {
                new,
                old,
                blocks: 1,
            }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_follow_in_both_slots_and_fit_a_batch() {
        let (active, fetch) = (Source::Active, Source::Fetch);
        let from = [
            active(7),
            active(8),
            fetch,
            active(9),
            active(3),
            Source::Present,
            active(4),
        ];
        let run = |new, old, blocks| Run { new, old, blocks };
        let expected = [run(0, 7, 2), run(3, 9, 1), run(4, 3, 1), run(6, 4, 1)];
        assert_eq!(runs(&from, 0..7), expected);
        assert_eq!(runs(&from, 1..4), [run(1, 8, 1), run(3, 9, 1)]);
        let batch = BATCH as u64 / BLOCK;
        let long: Vec<_> = (0..batch + 1).map(active).collect();
        assert_eq!(
            runs(&long, 0..batch + 1),
            [run(0, 0, batch), run(batch, batch, 1)]
        );
    }
}
