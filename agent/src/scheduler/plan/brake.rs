//! The loss brake: when many machines vanish at once, the network is the likelier cause than the
//! machines, and starting everything elsewhere would make it worse.

use std::time::Duration;

/// More than this share of all machines ...
const SHARE_PERCENT: usize = 10;
/// ... and more than this many ...
const FEW: usize = 5;
/// ... lost within this time pull the brake.
pub const WITHIN: Duration = Duration::from_secs(60);

/// Pulled until no more than the share (or the few) are away: by their return, or because an
/// operator took them out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Brake {
    #[default]
    Free,
    Pulled,
}

impl Brake {
    /// `away` holds how long each lost machine has been away.
    #[must_use]
    pub fn step(self, live: usize, away: &[Duration]) -> Brake {
        let many = |count: usize| count > FEW && count * 100 > (live + away.len()) * SHARE_PERCENT;
        let fresh = away.iter().filter(|time| **time <= WITHIN).count();
        match self {
            Brake::Free if many(fresh) => Brake::Pulled,
            Brake::Pulled if !many(away.len()) => Brake::Free,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brake_is_pulled_by_many_losses_at_once_and_freed_by_recovery() {
        let now = Duration::from_secs(1);
        let long_ago = Duration::from_secs(3600);
        let cases = [
            // Five are few, however small the cluster.
            (Brake::Free, 1, vec![now; 5], Brake::Free),
            (Brake::Free, 50, vec![now; 6], Brake::Pulled),
            (Brake::Free, 94, vec![now; 6], Brake::Free),
            // One after the other is no storm.
            (Brake::Free, 10, vec![long_ago; 20], Brake::Free),
            // Time alone does not free it.
            (Brake::Pulled, 50, vec![long_ago; 6], Brake::Pulled),
            (Brake::Pulled, 51, vec![long_ago; 5], Brake::Free),
            (Brake::Pulled, 94, vec![now; 6], Brake::Free),
        ];
        for (brake, live, away, expected) in cases {
            assert_eq!(brake.step(live, &away), expected, "{live} {away:?}");
        }
    }
}
