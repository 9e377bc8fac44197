//! `strake`, the one program of a Strake machine: node services and command line.
//!
//! This is the program without its `main`, so that tests use the same code. Pure modules
//! (`accounts`, `health::decision`, `status::entry`, `config::addresses`) decide; `apply::write` is
//! the only one that changes configuration on disk; `systemd` is the only one that talks to
//! systemd. The program refuses to write anything unless all of it can be written.

pub mod accounts;
pub mod apply;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod dashboard;
pub mod docker;
pub mod exit;
pub mod fetch;
pub mod fleet;
pub mod health;
pub mod hook;
pub mod journal;
pub mod lock;
pub mod metrics;
pub mod names;
pub mod overlay;
pub mod peer;
pub mod reboot;
pub mod root;
pub mod scheduler;
#[cfg(test)]
mod seeds;
pub mod source;
pub mod status;
pub mod store;
pub mod systemd;
pub mod update;
