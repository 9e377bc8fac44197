//! Frame in, deliveries out. Pure: time and randomness are given.

use std::collections::HashMap;
use std::time::Duration;

use super::random::Random;
use super::rules::{Port, Rules};

/// As long as bridges remember an address, usually.
const AGE: Duration = Duration::from_secs(300);
const HEADER: usize = 14;

pub type Mac = [u8; 6];

/// One copy of the frame for one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    pub to: Port,
    pub at: Duration,
}

#[derive(Debug)]
pub struct Fabric {
    pub rules: Rules,
    learned: HashMap<Mac, (Port, Duration)>,
    random: Random,
}

impl Fabric {
    pub fn new(seed: u64) -> Self {
        Self {
            rules: Rules::default(),
            learned: HashMap::new(),
            random: Random::new(seed),
        }
    }

    /// Where a frame that came in at `now` goes. `connected` are the ports with a machine.
    pub fn forward(
        &mut self,
        now: Duration,
        from: Port,
        frame: &[u8],
        connected: &[Port],
    ) -> Vec<Delivery> {
        let Some((destination, source)) = addresses(frame) else {
            return Vec::new();
        };
        if !is_group(source) {
            self.learned.insert(source, (from, now));
        }
        let mut deliveries = Vec::new();
        match self.known(destination, now) {
            Some(port) => self.deliver(now, (from, port), frame.len(), &mut deliveries),
            None => connected
                .iter()
                .for_each(|port| self.deliver(now, (from, *port), frame.len(), &mut deliveries)),
        }
        deliveries
    }

    fn known(&self, destination: Mac, now: Duration) -> Option<Port> {
        let (port, seen) = self.learned.get(&destination)?;
        (!is_group(destination) && now.saturating_sub(*seen) < AGE).then_some(*port)
    }

    fn deliver(
        &mut self,
        now: Duration,
        (from, to): (Port, Port),
        length: usize,
        deliveries: &mut Vec<Delivery>,
    ) {
        if from == to {
            return;
        }
        let Some(fault) = self.rules.path(from, to) else {
            return;
        };
        if fault.largest.is_some_and(|largest| length > largest) {
            return;
        }
        if self.random.happens(fault.drop_per_mille) {
            return;
        }
        let delivery = Delivery {
            to,
            at: now + fault.delay,
        };
        deliveries.push(delivery);
        if self.random.happens(fault.duplicate_per_mille) {
            deliveries.push(delivery);
        }
    }
}

fn addresses(frame: &[u8]) -> Option<(Mac, Mac)> {
    if frame.len() < HEADER {
        return None;
    }
    Some((frame[..6].try_into().ok()?, frame[6..12].try_into().ok()?))
}

/// Broadcast and multicast addresses name no single machine.
fn is_group(address: Mac) -> bool {
    address[0] & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::switch::rules::Fault;

    const BROADCAST: u8 = 0xff;
    const PORTS: [Port; 3] = [1, 2, 3];

    /// Machine `n` has an address of zeros and `n`.
    fn frame(destination: u8, source: u8) -> Vec<u8> {
        let address = |last: u8| {
            if last == BROADCAST {
                [BROADCAST; 6]
            } else {
                [0, 0, 0, 0, 0, last]
            }
        };
        [address(destination), address(source)]
            .concat()
            .into_iter()
            .chain([0; 48])
            .collect()
    }

    fn ports(deliveries: &[Delivery]) -> Vec<Port> {
        deliveries.iter().map(|delivery| delivery.to).collect()
    }

    fn send(fabric: &mut Fabric, at: u64, destination: u8, source: u8) -> Vec<Port> {
        let frame = frame(destination, source);
        ports(&fabric.forward(Duration::from_secs(at), source, &frame, &PORTS))
    }

    #[test]
    fn a_frame_goes_to_all_until_its_address_is_learned() {
        let mut fabric = Fabric::new(1);
        assert_eq!(send(&mut fabric, 0, 2, 1), [2, 3]);
        assert_eq!(send(&mut fabric, 0, 1, 2), [1]);
        assert_eq!(send(&mut fabric, 0, 2, 1), [2]);
        assert_eq!(send(&mut fabric, 0, BROADCAST, 1), [2, 3]);
    }

    #[test]
    fn a_learned_address_is_forgotten_in_time_and_follows_its_machine() {
        let mut fabric = Fabric::new(1);
        send(&mut fabric, 0, BROADCAST, 2);
        assert_eq!(send(&mut fabric, 299, 2, 1), [2]);
        assert_eq!(send(&mut fabric, 300, 2, 1), [2, 3]);
        let moved = frame(BROADCAST, 2);
        fabric.forward(Duration::from_secs(301), 3, &moved, &PORTS);
        assert_eq!(send(&mut fabric, 302, 2, 1), [3]);
    }

    #[test]
    fn a_partition_stops_both_learned_and_flooded_frames() {
        let mut fabric = Fabric::new(1);
        send(&mut fabric, 0, BROADCAST, 3);
        fabric.rules.partition("1,2:3".parse().unwrap());
        assert!(send(&mut fabric, 1, 3, 1).is_empty());
        assert_eq!(send(&mut fabric, 1, BROADCAST, 1), [2]);
    }

    #[test]
    fn faults_drop_delay_and_duplicate() {
        let mut fabric = Fabric::new(1);
        let delay = Duration::from_millis(40);
        fabric.rules.fault(
            1,
            2,
            Fault {
                drop_per_mille: 1000,
                ..Fault::default()
            },
        );
        fabric.rules.fault(
            1,
            3,
            Fault {
                duplicate_per_mille: 1000,
                delay,
                ..Fault::default()
            },
        );
        let sent = fabric.forward(Duration::from_secs(1), 1, &frame(BROADCAST, 1), &PORTS);
        let late = Delivery {
            to: 3,
            at: Duration::from_millis(1040),
        };
        assert_eq!(sent, [late, late]);
    }

    #[test]
    fn a_frame_that_is_too_large_vanishes_in_one_direction() {
        let mut fabric = Fabric::new(1);
        let length = frame(BROADCAST, 1).len();
        for (largest, expected) in [(length, vec![2, 3]), (length - 1, vec![3])] {
            let fault = Fault {
                largest: Some(largest),
                ..Fault::default()
            };
            fabric.rules.fault(1, 2, fault);
            assert_eq!(send(&mut fabric, 0, BROADCAST, 1), expected, "{largest}");
            assert_eq!(send(&mut fabric, 0, BROADCAST, 2), [1, 3]);
        }
    }

    #[test]
    fn a_runt_and_a_forged_source_teach_nothing() {
        let mut fabric = Fabric::new(1);
        assert_eq!(fabric.forward(Duration::ZERO, 1, &[0; 13], &PORTS), []);
        send(&mut fabric, 0, 1, BROADCAST);
        assert!(fabric.learned.is_empty());
    }
}
