//! What travels from the repository into a slot, and the arithmetic of how little of it must.
//!
//! The slot's new hash tree comes first and is checked against the signed root hash; from then on
//! every block is known by its leaf before it is written, wherever it came from: already in the
//! slot, read from the active slot, decoded from a patch or from a compressed frame. So neither the
//! patch nor the frames need be trusted, they must only not be able to hurt: every decoder here is
//! bounded in memory. Pure: bytes in, bytes out; `encode` alone reads and writes, for the
//! publisher.

pub mod diff;
#[cfg(feature = "publisher")]
pub mod encode;
pub mod frames;
pub mod ladder;
pub mod patch;
pub mod tree;

/// Bytes of a block of the slot and of its hash tree.
pub use crate::offer::BLOCK;
