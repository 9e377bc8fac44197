//! The two slots for `/usr`, and the names of their partitions.

use std::fmt;
use std::ops::Not;

use serde::{Deserialize, Serialize};

/// One of the two places a release's `/usr` is kept. `!slot` is the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Slot {
    A,
    B,
}

impl Slot {
    /// GPT label of the file system's partition.
    pub fn data_label(self) -> &'static str {
        match self {
            Slot::A => "USR-A",
            Slot::B => "USR-B",
        }
    }

    /// GPT label of the hash tree's partition.
    pub fn verity_label(self) -> &'static str {
        match self {
            Slot::A => "USR-A-VERITY",
            Slot::B => "USR-B-VERITY",
        }
    }
}

impl Not for Slot {
    type Output = Slot;

    fn not(self) -> Slot {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Slot::A => "A",
            Slot::B => "B",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_of_the_other_is_the_slot() {
        for slot in [Slot::A, Slot::B] {
            assert_eq!(!!slot, slot);
            assert_ne!((!slot).data_label(), slot.data_label());
            assert_eq!(slot.verity_label(), format!("{}-VERITY", slot.data_label()));
        }
    }
}
