//! The asynchronous runtime, for the commands that talk to systemd. The others start none.

use std::future::Future;

use anyhow::{Context, Result};

pub(super) fn on_one_thread<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    Ok(runtime.block_on(future))
}
