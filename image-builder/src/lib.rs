//! Builds the Strake image: Debian packages -> `/usr` tree -> erofs + dm-verity + UKI -> disk.
//!
//! The program `strake-image` is this library and a `main`. Packages come from apt through
//! mmdebstrap; every file system, boot and partition format after that is made from an in-memory
//! [`tree`] either in Rust or by one program of the tools tree. Maintainer scripts never run, so
//! the same packages, recipe, programs and version give the same bytes on any machine, and no
//! step needs root. Each stage is kept under a digest of its inputs.

pub mod cache;
pub mod cli;
pub mod cpio;
pub mod digest;
pub mod disk;
pub mod erofs;
pub mod ext4;
pub mod fat;
pub mod gpt;
pub mod identity;
pub mod image;
pub mod initrd;
pub mod inspect;
pub mod kernel;
pub mod layout;
pub mod mirror;
pub mod packages;
pub mod program;
pub mod progress;
pub mod recipe;
pub mod root;
pub mod sandbox;
pub mod sparse;
pub mod tools;
pub mod tree;
pub mod uki;
pub mod verity;
pub mod workspace;

/// Debian release that packages and tools come from.
pub const SUITE: &str = "trixie";

/// Time stamp of everything made: a fixed second, so that equal inputs give equal bytes.
/// It is also the image's floor for the clock, so it moves forward with the project.
pub const EPOCH: u64 = 1_767_225_600;

/// Bad input or usage: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadInput(pub String);
