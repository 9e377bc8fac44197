//! What the cluster service counts.

use super::authority::{Leaf, Role};
use super::clock::seconds;
use crate::metrics::{Counter, Gauge, Registry};

#[derive(Debug)]
pub(super) struct Figures {
    certified: Gauge,
    not_after: Gauge,
    member: Gauge,
    formed: Gauge,
    pub(super) renewed: Counter,
    pub(super) not_renewed: Counter,
}

impl Figures {
    pub(super) fn new(registry: &Registry) -> Figures {
        let gauge = |name, help| registry.gauge(name, help, &[]);
        let renewals = |result: &str| {
            let help = "Attempts to renew this machine's certificate.";
            registry.counter("strake_cluster_renewals_total", help, &[("result", result)])
        };
        Figures {
            certified: gauge(
                "strake_cluster_certified",
                "1 when this machine has a certificate of the cluster.",
            ),
            not_after: gauge(
                "strake_cluster_certificate_not_after_timestamp_seconds",
                "When this machine's certificate ends.",
            ),
            member: gauge("strake_cluster_member", "1 on a machine that runs etcd."),
            formed: gauge(
                "strake_cluster_etcd_formed",
                "1 while this machine's etcd follows or is a leader.",
            ),
            renewed: renewals("done"),
            not_renewed: renewals("failed"),
        }
    }

    pub(super) fn certified(&self, leaf: &Leaf) {
        self.certified.set_count(1);
        self.not_after.set(seconds(leaf.not_after) as f64);
        self.member
            .set_count(usize::from(leaf.role == Role::Member));
    }

    pub(super) fn formed(&self, leaders: usize) {
        self.formed.set_count(leaders);
    }
}
