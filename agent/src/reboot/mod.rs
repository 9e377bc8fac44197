//! Rebooting without harm: when it may be, under the cluster's lock, and who this machine is to
//! that lock.

pub mod own;
