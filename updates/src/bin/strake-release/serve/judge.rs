//! When too many machines fell back. Pure.
//!
//! Machines are claims: nobody proves to be one. So what comes from one address counts for a few
//! machines at most, in both directions: one address can neither stop a rollout nor hide that others
//! fail.

use std::collections::HashMap;

/// What became of a release on one machine that tried it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) address: String,
    pub(super) fell_back: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// Percent of `last` that may fall back.
    pub(super) share: u32,
    /// Machines looked at, newest outcomes first.
    pub(super) last: u32,
    /// Machines of one address that count, healthy and fallen back each; 0 for all.
    pub(super) per_address: u32,
}

/// What the rule found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Finding {
    /// The machines that count, newest first: whether they fell back.
    pub(super) window: Vec<bool>,
    /// Machines left out because others of their address were counted.
    pub(super) left_out: u32,
    pub(super) too_many: bool,
}

impl Finding {
    pub(super) fn fell_back(&self) -> u32 {
        self.window.iter().filter(|fell_back| **fell_back).count() as u32
    }
}

impl Rule {
    /// Machines that have not tried yet count as healthy, so that the first failures of a small
    /// start do not stop it alone: more than `share` percent of `last` machines must have failed.
    pub(super) fn find(&self, newest_first: &[Outcome]) -> Finding {
        let mut finding = Finding::default();
        let mut seen: HashMap<(&str, bool), u32> = HashMap::new();
        for outcome in newest_first {
            if finding.window.len() == self.last as usize {
                break;
            }
            let count = seen
                .entry((&outcome.address, outcome.fell_back))
                .or_default();
            *count += 1;
            if self.per_address > 0 && *count > self.per_address {
                finding.left_out += 1;
            } else {
                finding.window.push(outcome.fell_back);
            }
        }
        let (failed, allowed) = (finding.fell_back(), self.share * self.last);
        finding.too_many = failed * 100 > allowed;
        finding
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULE: Rule = Rule {
        share: 20,
        last: 20,
        per_address: 2,
    };

    fn outcome(address: u32, fell_back: bool) -> Outcome {
        Outcome {
            address: address.to_string(),
            fell_back,
        }
    }

    fn failures(addresses: impl IntoIterator<Item = u32>) -> Vec<Outcome> {
        addresses
            .into_iter()
            .map(|address| outcome(address, true))
            .collect()
    }

    #[test]
    fn four_of_twenty_are_a_fifth_and_five_are_more() {
        assert!(!RULE.find(&failures(0..4)).too_many);
        assert!(RULE.find(&failures(0..5)).too_many);
    }

    #[test]
    fn old_failures_leave_the_window() {
        let healthy = (10..26).map(|address| outcome(address, false));
        let newest_first: Vec<_> = healthy.chain(failures(0..5)).collect();
        let finding = RULE.find(&newest_first);
        assert_eq!((finding.window.len(), finding.fell_back()), (20, 4));
        assert!(!finding.too_many);
    }

    #[test]
    fn a_share_of_everything_never_stops() {
        let rule = Rule { share: 100, ..RULE };
        assert!(!rule.find(&failures(0..100)).too_many);
    }

    #[test]
    fn machines_behind_one_address_count_when_told_so() {
        let one_site = failures([7; 5]);
        let finding = RULE.find(&one_site);
        assert_eq!((finding.too_many, finding.left_out), (false, 3));
        let rule = Rule {
            per_address: 0,
            ..RULE
        };
        assert!(rule.find(&one_site).too_many);
    }

    proptest! {
        #[test]
        fn two_addresses_stop_nothing_however_many_machines_they_make_up(
            made_up in prop::collection::vec((0u32..2, any::<bool>()), 0..500),
        ) {
            let made_up: Vec<_> = made_up.into_iter().map(|(a, f)| outcome(a, f)).collect();
            prop_assert!(!RULE.find(&made_up).too_many);
        }

        #[test]
        fn one_address_hides_no_failures_of_others(healthy in 0usize..500) {
            let liar = vec![outcome(99, false); healthy];
            let newest_first: Vec<_> = liar.into_iter().chain(failures(0..5)).collect();
            prop_assert!(RULE.find(&newest_first).too_many);
        }
    }
}
