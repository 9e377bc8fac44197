//! What a user may write to configure a Strake machine: parse, check, plan.
//!
//! The way of a text through this crate, every step pure:
//!
//! ```text
//! bytes -> kind -> substitution -> document with places -> checked config + problems -> plan
//! ```
//!
//! The crate reads no file, no clock, no environment and no network, and starts no process: all it
//! knows comes in as an argument, all it decides goes out as data. The agent applies plans; a
//! laptop without root checks and prints them.
//!
//! What holds for every input: no panic; time and memory bounded by the limits in `user_data`
//! and `document`; every problem reported with its place, not only the first; one problem of
//! level error and there is no config.

mod check;
pub mod config;
pub mod context;
mod document;
pub mod install;
mod merge;
pub mod metadata;
pub mod network;
pub mod plan;
pub mod problem;
pub mod report;
mod schema;
mod source;
mod substitution;
mod unit_file;
pub mod unit_name;
mod user_data;

pub use check::{Checked, check};
pub use config::Config;
pub use context::{Address, Addresses, Context};
pub use merge::merge;
pub use plan::{Plan, plan};
pub use problem::{Level, Problem, Rule};
pub use schema::{json_schema, reference_markdown};
pub use user_data::Kind;
