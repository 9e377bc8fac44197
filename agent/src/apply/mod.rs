pub mod preflight;
pub mod tree;
pub mod write;
