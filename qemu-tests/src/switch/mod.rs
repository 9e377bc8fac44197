//! The cluster's layer 2: an Ethernet switch between the machines of a lab, with faults on demand.
//!
//! [`Fabric`] decides and does no I/O; [`serve`] moves frames between sockets; [`Control`] is how
//! other processes change the rules. No privileges are needed: every port is a unix socket to
//! which one QEMU connects.

mod capture;
mod control;
mod fabric;
mod framing;
mod random;
mod rules;
mod serve;

pub use control::{Answer, Control, Request};
pub use fabric::{Delivery, Fabric, Mac};
pub use random::Random;
pub use rules::{Fault, Groups, Port, Rules};
pub use serve::{PORTS, port_socket, serve};
