//! Clients of the reboot lock in processes of their own, what becomes of them, and what they saw.

pub(crate) mod client;
pub(crate) mod history;
pub(crate) mod proxy;
