//! fleet's HTTP API v1 on a unix socket, over the scheduler's own store: what an original
//! fleetctl asks gets the answer that fleet gave.
//!
//! Mended where no client could rely on the defect: unknown options are refused with their line
//! and the nearest name, an unknown state is refused before anything is written, a machine that is
//! not there is not patched, a trailing slash does no harm. Who may open the socket may do
//! everything: it belongs to root and the group `core`. Over TCP a user has a role.

mod answer;
mod discovery;
mod explain;
mod machines;
mod page;
mod remote;
mod serve;
mod state;
mod tcp;
mod units;
pub mod users;

pub use remote::CLUSTER;
pub use serve::{Api, SOCKET, bind, serve};
pub use tcp::{LISTEN, serve_users};
