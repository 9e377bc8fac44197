//! Update metadata in the format of The Update Framework 1.0:
//! <https://theupdateframework.github.io/specification/latest/>.
//!
//! A repository has four top-level roles and one delegated role per channel. `root` says which keys
//! speak for which role; `timestamp` says which `snapshot` is the newest; `snapshot` says which
//! version of every other role belongs together; a channel's role says which files it offers.
//!
//! Reading is bytes in, types out, in the one order the specification allows, and each step's
//! result is the only way into the next: [`chain::Chain`] to [`chain::Anchor`] to
//! [`workflow::Timed`] to [`workflow::Consistent`]. Of the algorithms only ed25519 is spoken: other
//! keys may stand in a file but never count. Unknown fields are kept out of the types, yet under
//! the signature. No module here but `store` touches a file.

pub mod canonical;
pub mod chain;
pub mod envelope;
pub mod key;
pub mod role;
pub mod store;
pub mod workflow;

/// Largest `root.json` that is read.
pub const ROOT_LIMIT: u64 = 512 << 10;
/// Largest `timestamp.json` that is read.
pub const TIMESTAMP_LIMIT: u64 = 16 << 10;
/// Largest `snapshot.json` that is read when its length is not signed.
pub const SNAPSHOT_LIMIT: u64 = 1 << 20;
/// Largest targets file that is read when its length is not signed.
pub const TARGETS_LIMIT: u64 = 10 << 20;
/// Root versions that are followed in one run.
pub const ROOT_STEPS: u64 = 256;
