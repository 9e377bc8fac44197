//! The overlay network: each machine leases a subnet for its containers, and knows the way to all
//! others. Contract and JSON are flannel's, so that both can share a network.
//!
//! Pure: `cidr`, `mac`, `config`, `backend`, `lease`, `allocate`, `desired`, `wired`, `state`, `place`,
//! `probe`, `rules`, `runtime`, `named`, `docker_user`. Networks with names (`strake.overlay.networks`)
//! are more of the same, in one process: `shared` is what they have in common. `client`
//! holds the machine's lease in the store, `netlink` is the only one that talks to the kernel,
//! `service` brings both together. Nothing is ever removed because the store does not answer.

pub mod allocate;
pub mod backend;
pub mod check;
pub mod cidr;
pub mod client;
pub mod config;
pub mod desired;
pub mod docker;
pub mod docker_user;
pub mod figures;
pub mod kernel;
pub mod lease;
pub mod mac;
pub mod named;
pub mod netlink;
pub mod notify;
pub mod place;
pub mod probe;
pub mod record;
pub mod report;
pub mod restart;
pub mod rules;
pub mod runtime;
pub mod seen;
pub mod service;
pub mod settings;
pub mod shared;
pub mod state;
pub mod wire;
pub mod wired;
