//! The machine that had this one's address before: installed anew, a machine has another id, and
//! what it leased before would lead nowhere until it runs out.
//!
//! Two machines that both live with one address are a mistake that is told, not mended. So a lease
//! is ended only when the cluster's own list of machines has this machine and not the other.

use super::{Joined, Leases, Runtimes, Service};
use crate::overlay::client::Error;
use crate::overlay::kernel::Kernel;
use crate::overlay::lease::Lease;
use crate::scheduler::keys::MACHINES;
use crate::store::Store;

/// Leases with a time limit, of other machines, at this machine's address.
pub(super) fn candidates(own: &Lease, leases: &Leases) -> Vec<(String, String)> {
    let all = leases.iter().filter_map(|(key, lease)| {
        let lease = lease.as_ref().ok()?;
        let other = lease.machine.clone()?;
        let is_other = Some(&other) != own.machine.as_ref();
        (is_other && lease.shares_address(own)).then(|| (key.clone(), other))
    });
    all.collect()
}

impl<S: Store, K: Kernel, R: Runtimes> Service<S, K, R> {
    /// What the store does not answer is asked again the next time.
    pub(super) async fn give_up_predecessors(&mut self, joined: &Joined, leases: &Leases) {
        for (name, other) in candidates(&joined.held.lease, leases) {
            if let Ok(true) = self.end(&name, &other).await {
                self.report.say(&format!(
                    "ended the lease {name}: it was of machine {other}, which had this machine's \
                     address and is no longer in the cluster"
                ));
            }
        }
    }

    async fn end(&self, name: &str, other: &str) -> Result<bool, Error> {
        let store = self.client.store();
        let is_registered = async |machine: &str| {
            let found = store.read(&format!("{MACHINES}{machine}")).await;
            found.map(|found| found.is_some())
        };
        if !is_registered(&self.machine).await? || is_registered(other).await? {
            return Ok(false);
        }
        let key = format!("{}{name}", self.client.subnets());
        let Some(entry) = store.read(&key).await? else {
            return Ok(false);
        };
        let is_still = Lease::parse(name, &entry.value)
            .is_ok_and(|lease| lease.machine.as_deref() == Some(other));
        // One without a time limit was reserved by somebody.
        if !is_still || entry.lease.is_none() {
            return Ok(false);
        }
        self.client.give_up(&entry).await?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(machine: Option<&str>, address: &str) -> Lease {
        let value = serde_json::json!({"PublicIP": address, "Machine": machine});
        Lease::parse("10.5.3.0-24", value.to_string().as_bytes()).expect("a lease")
    }

    #[test]
    fn only_other_machines_of_ours_at_this_address_are_predecessors() {
        let own = lease(Some("new"), "192.168.0.1");
        let leases = [
            ("10.5.1.0-24", lease(Some("old"), "192.168.0.1")),
            ("10.5.2.0-24", lease(Some("other"), "192.168.0.2")),
            ("10.5.4.0-24", lease(None, "192.168.0.1")),
            ("10.5.5.0-24", lease(Some("new"), "192.168.0.1")),
        ];
        let leases = leases.map(|(key, lease)| (key.to_string(), Ok(lease)));
        let found = candidates(&own, &Leases::from(leases));
        assert_eq!(found, [("10.5.1.0-24".to_string(), "old".to_string())]);
    }
}
