//! Bringing the kernel to what the leases say, and telling what stands in the way.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::hold::{Followed, Over};
use super::{Joined, Runtimes, Service, chain, public_addresses};
use crate::overlay::cidr::Cidr;
use crate::overlay::desired::{Verdict, desired, overlapping};
use crate::overlay::kernel::{Kernel, Known};
use crate::overlay::lease::{Lease, Wrong};
use crate::overlay::place;
use crate::overlay::report::{Peer, PeerWay};
use crate::overlay::state::{Change, Way, changes};
use crate::store::Store;
use crate::update::clock;

impl<S: Store, K: Kernel, R: Runtimes> Service<S, K, R> {
    /// What was changed behind our back is mended: devices first, then what is in them.
    pub(super) fn compare(&mut self, joined: &mut Joined, followed: &Followed) -> Option<Over> {
        if let Err(clash) = self.shared.claim(&self.which, &joined.config) {
            return Some(Over::Clash(clash));
        }
        let choice = self.settings.choice(self.towards);
        match self.kernel.uplink(&choice) {
            Ok(Some(uplink)) if uplink == joined.uplink => self.report.problem("uplink", None),
            Ok(Some(_)) => return Some(Over::OtherUplink),
            Ok(None) => {
                let name = &joined.uplink.name;
                let gone = format!("{name} is gone, down or without an address");
                self.report.problem("uplink", Some(gone));
                return None;
            }
            Err(error) => {
                self.report.problem("kernel", Some(chain(&error)));
                return None;
            }
        }
        for tunnel in joined.tunnels.clone() {
            match self.make_tunnel(&tunnel) {
                Ok(index) => {
                    let carries = |family| tunnel.families().any(|one| one == family);
                    let places = joined.place.tunnels.iter_mut();
                    for place in places.filter(|(family, _)| carries(*family)) {
                        place.1 = index;
                    }
                }
                Err(error) => {
                    self.report.problem("kernel", Some(format!("{error:#}")));
                    return None;
                }
            }
        }
        self.hold_rules(&joined.config, &joined.held.lease);
        // Until all leases were read, nobody's absence means anything.
        if followed.known.is_some() || !followed.leases.is_empty() {
            self.bring_about(joined, followed);
        }
        self.count(joined);
        None
    }

    /// What the devices tell of themselves. Without it only figures are missing.
    fn count(&mut self, joined: &Joined) {
        let is_wireguard = joined.place.known == Known::Keys;
        let mut connections = Vec::new();
        for tunnel in &joined.tunnels {
            if let Ok(Some(counters)) = self.kernel.counters(&tunnel.name) {
                self.figures.device(&tunnel.name, counters);
            }
            if is_wireguard && let Ok(found) = self.kernel.connections(&tunnel.name) {
                connections.extend(found);
            }
        }
        self.figures.connections(&connections, clock().unix());
    }

    /// The kernel as the leases say.
    pub(super) fn bring_about(&mut self, joined: &mut Joined, followed: &Followed) {
        let readable = followed.leases.iter();
        let peers: BTreeMap<String, Lease> = readable
            .filter_map(|(key, lease)| Some((key.clone(), lease.clone().ok()?)))
            .collect();
        let start = Instant::now();
        let wanted = desired(&joined.config, &joined.own, &peers);
        joined.peers = peers
            .values()
            .flat_map(|lease| place::doors_of(&joined.config, lease))
            .collect();
        let place = &joined.place;
        let done = self.kernel.observe(place).and_then(|observed| {
            let todo = changes(&observed, &wanted.state);
            match todo.is_empty() {
                true => Ok(Vec::new()),
                false => self.kernel.apply(place, &todo).inspect(|failed| {
                    self.figures.changed(todo.len(), failed.len());
                }),
            }
        });
        self.figures.compare(start.elapsed());
        let problem = match done {
            Ok(failed) if failed.is_empty() => None,
            Ok(failed) => Some(told(&failed)),
            Err(error) => Some(chain(&error)),
        };
        self.report.problem("kernel", problem);
        let shared = &wanted.shared;
        let problem = (!shared.is_empty()).then(|| shared.join("; "));
        self.report.problem("addresses", problem);
        self.look_for_overlaps(joined);
        self.tell_peers(followed, &wanted.verdicts);
    }

    fn look_for_overlaps(&mut self, joined: &Joined) {
        let Ok(others) = self.kernel.other_routes(&joined.place) else {
            return;
        };
        let own = [joined.held.lease.subnets.v4, joined.held.lease.subnets.v6];
        let is_own = |route: &Cidr| own.iter().flatten().any(|subnet| subnet.covers(route));
        let others = others.into_iter().filter(|route| !is_own(route)).collect();
        let found = overlapping(&joined.place.networks, &others);
        let told: Vec<String> = found
            .iter()
            .map(|(network, route)| format!("{network} and this host's route to {route}"))
            .collect();
        let problem = (!told.is_empty()).then(|| format!("overlapping: {}", told.join("; ")));
        self.report.problem("routes", problem);
    }

    fn tell_peers(&mut self, followed: &Followed, verdicts: &BTreeMap<String, Verdict>) {
        let peer = |(key, lease): (&String, &Result<Lease, Wrong>)| {
            let (way, why) = match (lease, verdicts.get(key)) {
                (Err(wrong), _) => (PeerWay::Ignored, Some(wrong.to_string())),
                (Ok(_), Some(Verdict::Ignored(reason))) => {
                    (PeerWay::Ignored, Some(reason.to_string()))
                }
                (Ok(_), Some(Verdict::Routed(Way::Uplink))) => (PeerWay::Direct, None),
                (Ok(_), _) => (PeerWay::Tunnel, None),
            };
            Peer {
                subnets: lease.as_ref().ok().map(|lease| lease.subnets),
                subnet: lease
                    .as_ref()
                    .map_or_else(|_| key.clone(), |lease| lease.subnets.to_string()),
                public_addresses: lease.as_ref().map(public_addresses).unwrap_or_default(),
                machine: lease.as_ref().ok().and_then(|lease| lease.machine.clone()),
                public_key: lease
                    .as_ref()
                    .ok()
                    .and_then(|lease| lease.v4.key.or(lease.v6.key))
                    .map(|key| key.to_string()),
                way,
                why,
            }
        };
        let peers: Vec<Peer> = followed.leases.iter().map(peer).collect();
        let ignored = peers.iter().filter(|peer| peer.way == PeerWay::Ignored);
        let told: Vec<String> = ignored
            .map(|peer| {
                format!(
                    "{} ({})",
                    peer.subnet,
                    peer.why.as_deref().unwrap_or_default()
                )
            })
            .collect();
        let problem = (!told.is_empty()).then(|| format!("not reached: {}", told.join("; ")));
        self.report.problem("peers", problem);
        self.report.status.peers = peers;
    }
}

fn told(failed: &[(Change, std::io::Error)]) -> String {
    let shown = failed.iter().take(3);
    let shown: Vec<String> = shown
        .map(|(change, error)| format!("{change}: {error}"))
        .collect();
    match failed.len() - shown.len() {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}
