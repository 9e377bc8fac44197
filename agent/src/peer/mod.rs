//! Machines among themselves: what a unit does and what its journal says, asked of the machine
//! that holds it, from any other.
//!
//! Each machine listens at port 2383 with the certificate it has of the cluster, and talks only to
//! machines that show one of the same authority. It tells of the cluster's units it holds and of
//! nothing else. Nothing is changed this way: orders go through the store.

mod client;
mod credentials;
mod door;
mod local;
mod reach;
mod serve;
mod stream;
mod wire;

pub use client::Peers;
pub use credentials::Credentials;
pub use door::Door;
pub use local::Local;
pub use reach::{Error, Holder, Reach, Whereabouts, holders};
pub(crate) use serve::keep_probing;
pub use serve::{listen, serve};
pub use stream::{Part, Stream};
pub use wire::parse as asked;
pub use wire::{MAX_LINES, NotWanted, Report, Wanted};

/// Where machines ask each other.
pub const PORT: u16 = 2383;
