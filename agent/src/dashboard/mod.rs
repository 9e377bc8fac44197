//! The cluster as a page: machines, releases, rollouts, who may reboot, units; read-only, from any
//! machine that was told to serve it.
//!
//! `picture` is what the store says, kept right by watches; `view` is what people want to know of
//! it; `page` writes that as HTML. The last two are pure. `serve` lets in who may see it, and
//! `live` sends what changes. `strake cluster status` shows the same view.

pub mod live;
pub mod page;
pub mod picture;
pub mod serve;
pub mod settings;
pub mod view;

mod access;
mod html;
mod locks;
mod machines;
mod releases;
mod units;
