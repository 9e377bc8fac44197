//! A model that goes on with the cluster.

use super::Model;
use crate::scheduler::keys;
use crate::store::{Error, Store, Watch, WatchEnd};

/// A model and the watch that keeps it right.
#[derive(Debug)]
pub struct Feed {
    pub model: Model,
    watch: Watch,
}

impl Feed {
    pub async fn open(store: &impl Store) -> Result<Feed, Error> {
        let model = Model::read(store).await?;
        let watch = store.watch(keys::ALL, model.revision + 1).await?;
        Ok(Feed { model, watch })
    }

    /// Waits for the next change and takes in all that have come.
    pub async fn advance(&mut self) -> Result<(), WatchEnd> {
        let mut batch = self.watch.next().await?;
        loop {
            self.model.apply(&batch);
            match self.watch.ready() {
                Some(next) => batch = next?,
                None => return Ok(()),
            }
        }
    }
}
