//! The cluster's store: etcd on the machines that `strake.cluster.seeds` names, certificates for
//! all machines of the cluster, and what it takes to look after both.
//!
//! `founding` and `environment` decide and render, `authority` and `secret` are the cryptography;
//! none of them does I/O. `run` is the service; it alone starts etcd. It refuses to start a new
//! etcd where one may have been before: that is decided by all seeds together, never by one.

pub mod anchor;
pub mod authority;
pub mod backup;
pub mod clock;
pub mod environment;
mod figures;
pub mod founding;
pub mod identity;
pub mod join;
pub mod launch;
pub mod ledger;
pub mod member;
pub mod place;
pub mod report;
pub mod revoked;
pub mod run;
pub mod secret;
pub mod serve;
pub mod settings;
pub mod store;
pub mod sync;
pub mod tls;
pub mod trust;
mod turn;
pub mod upkeep;
pub mod wire;

/// Where etcd listens for its clients, on each member.
pub const CLIENT_PORT: u16 = 2379;
/// Where members talk to each other.
pub const PEER_PORT: u16 = 2380;
/// Where etcd tells its health and its metrics, on loopback only.
pub const METRICS_PORT: u16 = 2381;
/// Where members give out certificates.
pub const JOIN_PORT: u16 = 2382;
