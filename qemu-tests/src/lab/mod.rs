//! A cluster that outlives the command: its directory, its processes, its machines.

mod cluster;
mod state;
mod up;

pub use cluster::{BadCluster, Cluster, Machine as ClusterMachine, name as machine_name};
pub use state::{Lab, MachineState};
pub use up::{Booted, membership, up};
