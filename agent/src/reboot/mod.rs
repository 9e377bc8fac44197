//! Rebooting without harm: when it may be, under the cluster's lock, and who this machine is to
//! that lock.
//!
//! `decision` decides, from what `service` has found out; the other modules each know one thing:
//! what waits in the passive slot (`need`), who is logged in (`logind`), the lock (`crate::lock`),
//! units (`drain`), the cluster (`safety`). What a reboot leaves in the cluster is on the disk
//! (`pending`) until it is taken back. Refuses to reboot by a lock it has not just seen to be its own.

pub mod budget;
pub mod decision;
pub mod logind;
pub mod need;
pub mod obey;
pub mod own;
pub mod pending;
pub mod service;
pub mod settings;
pub mod socket;

mod acts;
#[cfg(test)]
mod decision_tests;
mod drain;
mod figures;
mod replicas;
mod safety;
pub mod undo;
mod wall;
mod zone;

pub use self::undo::settle;
