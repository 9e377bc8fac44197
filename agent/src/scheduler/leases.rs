//! How long machines take their leases: as usual, and longer in a cluster so large that renewing
//! them all would keep the store busy. Pure; the leader writes the answer into desired values.

use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Whatever the size of the cluster.
    pub usual: Duration,
    /// So much of a lease for each machine: then the leases of all together run out at the same
    /// rate, and are renewed at about 3.3 times that.
    pub per_machine: Duration,
}

impl Default for Scale {
    /// 250 leases a second, which is 833 renewals: reached with 15,000 machines.
    fn default() -> Scale {
        Scale {
            usual: Duration::from_secs(60),
            per_machine: Duration::from_millis(4),
        }
    }
}

/// A lease that is wrong by less than this part is left as it is.
const TOLERANCE: u64 = 5;

impl Scale {
    /// The seconds that a machine is to be asked for, of so many machines; nothing: the usual.
    pub fn lease(&self, machines: usize, known: Option<u64>) -> Option<u64> {
        let machines = u32::try_from(machines).unwrap_or(u32::MAX);
        let wanted = self.per_machine * machines;
        let long = (wanted > self.usual).then(|| wanted.as_secs_f64().ceil() as u64);
        match (known, long) {
            (Some(known), Some(long)) if known.abs_diff(long) * TOLERANCE < known => Some(known),
            _ => long,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_grow_with_the_cluster_and_not_with_every_machine() {
        for (machines, known, expected) in [
            (0, None, None),
            (3, None, None),
            (15_000, None, None),
            (15_001, None, Some(61)),
            (30_000, None, Some(120)),
            (33_000, Some(120), Some(120)),
            (27_000, Some(120), Some(120)),
            (40_000, Some(120), Some(160)),
            (20_000, Some(120), Some(80)),
            (16_000, Some(70), Some(70)),
            (15_000, Some(70), None),
        ] {
            let found = Scale::default().lease(machines, known);
            assert_eq!(found, expected, "{machines} machines, {known:?}");
        }
    }

    #[test]
    fn renewals_stay_bounded_however_many_machines_there_are() {
        for machines in [100, 1_000, 10_000, 15_000, 50_000, 100_000, 1_000_000] {
            let seconds = Scale::default().lease(machines, None).unwrap_or(60);
            // Renewed every 16/60 to 20/60 of the lease.
            let renewals = machines as f64 / (seconds as f64 * 18.0 / 60.0);
            assert!(renewals < 834.0, "{machines} machines: {renewals} a second");
        }
    }
}
