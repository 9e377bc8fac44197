//! Releases of Strake: how they are named, signed, offered, carried and put into a slot.
//!
//! The image builder writes [`release::Release`], `strake-release` makes a repository of it, the
//! agent reads that repository and installs from it. Deciding is apart from doing: metadata,
//! rollout, policy and the payload's formats are pure and are given bytes and the time; files,
//! devices and the network are touched by `tuf::store`, `install` and `fetch` only.
//!
//! A client's run: [`fetch::refresh::refresh`] and `channel` bring verified metadata,
//! [`offer::Catalog`] reads it, [`policy::decide`] says what to do, [`install`] does it.
//! `strake-release rehearse` is such a client in one page.
//!
//! It never decides whether a boot was healthy; that is the agent's.

pub mod channel;
pub mod digest;
pub mod entry;
pub mod fetch;
pub mod install;
pub mod offer;
pub mod payload;
pub mod policy;
pub mod release;
pub mod report;
pub mod rollout;
pub mod slot;
pub mod time;
pub mod tuf;
pub mod version;
