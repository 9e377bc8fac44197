//! Names of units, `UNIT.CLUSTER.strake`, for every container and every machine.
//!
//! Each machine tells under its lease where its units are (`local` finds that out, with `docker`),
//! follows what the others tell (`follow`), and answers DNS at one address, which its containers
//! and its systemd-resolved ask (`serve`). What is not of the cluster goes to the host's resolver.
//! All of it is one thread of `strake scheduler run`. Pure: `message`, `zone`, `reply`, `place`.
//!
//! A silent store changes no answer, and no answer waits for the store.

pub mod docker;
pub mod follow;
pub mod local;
pub mod message;
pub mod place;
pub mod reply;
pub mod serve;
pub mod service;
pub mod settings;
pub mod status;
pub mod zone;
