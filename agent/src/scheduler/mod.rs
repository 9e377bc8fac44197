//! The unit scheduler: what users ask for, where it goes, and what runs.
//!
//! `name`, `text`, `glob`, `condition`, `requirement`, `container`, `calendar`, `turn`, `rollout`, `machine` and
//! `plan` are pure: they know no clock, no disk and no store. `keys` says what lies where in the store, `model` holds all of it
//! in memory, `engine` (the leader) turns the model into plans and plans into writes, `agent`
//! makes this machine do what its one key says, and `api` is the door for users.
//!
//! What holds always: a unit that must be single is given to a machine only when no other machine
//! with a live lease may still run it; nothing is stopped because the store is silent; every
//! write of the leader is fenced by its election.

pub mod agent;
pub mod cache;
pub mod calendar;
pub mod clock;
pub mod condition;
pub mod container;
mod edits;
pub mod engine;
pub mod events;
pub mod explain;
pub mod facts;
pub mod figures;
pub mod glob;
pub mod host;
pub mod keys;
pub mod leases;
mod leave;
mod losses;
pub mod machine;
pub mod model;
pub mod name;
pub mod orders;
pub mod part;
pub mod plan;
mod replicas;
pub mod requirement;
pub mod rollout;
pub mod service;
pub mod standing;
pub mod summary;
pub mod target;
pub mod text;
pub mod turn;
mod value;

#[cfg(test)]
mod sim;
