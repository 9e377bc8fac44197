//! `strake-release` as its users run it, and machines that install what it published.

#[path = "../attack/mod.rs"]
mod attack;
mod browser;
mod commands;
mod crash;
mod docs;
mod hold;
mod install;
mod keys;
#[path = "../network/mod.rs"]
mod network;
mod serve;
mod serving;
mod workshop;
