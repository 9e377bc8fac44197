//! A web server on the host's loopback: cloud-configs at URLs, and what clouds serve at
//! 169.254.169.254. [`pages`] decides what is answered, [`server`] carries it.

pub mod pages;
mod request;
mod server;

pub use pages::{Pages, Reply};
pub use request::Request;
pub use server::{Manner, Server};
