//! Updates on machines: from a signed repository into the passive slot, blessed, or given up.

mod booted;
pub(super) mod breaker;
mod chain;
mod cuts;
mod fall_back;
mod good;
mod node;
pub(super) mod releases;
mod short;
mod spread;

pub(super) use booted::SCENARIO as POWER_CUTS;
pub(super) use chain::SCENARIO as CHAIN;
pub(super) use fall_back::SCENARIO as FALL_BACK;
pub(super) use good::SCENARIO as GOOD;
pub(super) use releases::Releases;
pub(super) use short::SCENARIO as SHORT;
