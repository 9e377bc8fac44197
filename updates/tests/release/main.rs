//! `strake-release` as its users run it, and machines that install what it published.

mod commands;
mod hold;
mod install;
mod keys;
mod serve;
mod serving;
mod workshop;
