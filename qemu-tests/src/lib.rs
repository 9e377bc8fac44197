//! The harness: machines in QEMU and what is needed to ask them questions.
//!
//! `strake-lab` uses it for clusters that outlive the command, the scenarios use it for machines
//! that end with the test. The harness links no other member of the workspace: it runs the built
//! programs, as users do.
//!
//! Invariants: nothing waits without a deadline; nothing sleeps; a machine that is lost (QEMU gone,
//! kernel panic, failed start) ends every wait at once with the last lines of its console; a
//! process is only ever signalled by its id together with its start time.

pub mod bench;
pub mod blocklog;
pub mod console;
pub mod host;
pub mod image;
pub mod lab;
pub mod loader;
pub mod machine;
pub mod measure;
pub mod process;
pub mod programs;
pub mod progress;
pub mod publisher;
pub mod qmp;
pub mod registry;
pub mod ring;
pub mod scenario;
pub mod ssh;
pub mod switch;
pub mod tools;
pub mod wait;
pub mod web;
pub mod workspace;
