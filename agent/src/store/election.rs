//! Who leads: a few seats, each a key under a lease; the seat taken first leads.
//!
//! The revision at which a seat was taken is the term's fence: a write that compares it is
//! refused from the moment the seat is lost, whatever its holder still believes.

use super::{Compare, Entry, Error, Lease, Outcome, Store, Transaction, Write};

/// More candidates than this would only cost the store.
pub const SEATS: usize = 5;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    key: String,
    taken: i64,
}

impl Seat {
    /// What every write of the holder compares.
    pub fn fence(&self) -> Compare {
        Compare::Created(self.key.clone(), self.taken)
    }

    /// Whether this seat leads, given all that lies under the election's prefix. Once it does it
    /// does until it is lost: seats taken later have a higher revision.
    pub fn leads(&self, seats: &[Entry]) -> bool {
        let first = seats.iter().min_by_key(|entry| entry.created);
        first.is_some_and(|entry| entry.key == self.key && entry.created == self.taken)
    }
}

/// Takes a free seat, or the one that this lease already has.
pub async fn take_seat(
    store: &impl Store,
    prefix: &str,
    name: &str,
    lease: Lease,
) -> Result<Option<Seat>, Error> {
    let seats = store.list(prefix, None, None).await?.entries;
    let value = format!("{name} {}", lease.0).into_bytes();
    // A commit whose answer was lost has left a seat of ours.
    if let Some(own) = seats.iter().find(|entry| entry.value == value) {
        return Ok(Some(Seat {
            key: own.key.clone(),
            taken: own.created,
        }));
    }
    for number in 0..SEATS {
        let key = format!("{prefix}{number}");
        if seats.iter().any(|entry| entry.key == key) {
            continue;
        }
        let transaction = Transaction {
            compares: vec![Compare::Created(key.clone(), 0)],
            writes: vec![Write::Put {
                key: key.clone(),
                value: value.clone(),
                lease: Some(lease),
            }],
        };
        if let Outcome::Done(taken) = store.commit(&transaction).await? {
            return Ok(Some(Seat { key, taken }));
        }
    }
    Ok(None)
}
