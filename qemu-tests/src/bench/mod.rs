//! Measurements against a peer made from the same packages with the same tools, in turn.
//!
//! A bench prints; it never fails because something was slow.

mod boot;
mod build;
mod cloud_init;
mod config;
mod lock;
mod overlay;
mod reference;
mod row;
mod scheduler;
mod update;

pub use boot::boot;
pub use build::build;
pub use config::config;
pub use lock::lock;
pub use overlay::overlay;
pub use row::{Row, Summary, median};
pub use scheduler::scheduler;
pub use update::update;

use crate::image::Image;
use crate::progress::Progress;
use crate::tools::Tools;
use crate::workspace::Workspace;

/// Figures are medians of this many runs, at least 3.
pub const RUNS: usize = 3;

/// What every bench works with.
#[derive(Debug)]
pub struct Site<'a> {
    pub workspace: &'a Workspace,
    pub tools: &'a Tools,
    pub image: &'a Image,
    pub progress: &'a Progress,
    pub runs: usize,
}

impl Site<'_> {
    /// Runs a stage and tells what it measured at once: a long bench that is ended has told
    /// something.
    fn rows<T: IntoIterator<Item = Row>>(
        &self,
        name: &str,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<Vec<Row>> {
        let rows: Vec<Row> = self.progress.stage(name, work)?.into_iter().collect();
        for row in &rows {
            let cells = row.cells();
            let cells = cells.iter().filter(|cell| !cell.is_empty());
            let cells: Vec<&str> = cells.map(String::as_str).collect();
            self.progress.say(&format!("  {}", cells.join(" | ")));
        }
        Ok(rows)
    }
}
