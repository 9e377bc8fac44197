//! What a release is, and how a machine's disk shows which release it runs.
//!
//! The image builder writes these names and files, the agent reads them. Pure: no I/O, no clock.
//! It never decides whether a boot was healthy; that is the agent's.

pub mod entry;
pub mod release;
pub mod slot;
pub mod version;
