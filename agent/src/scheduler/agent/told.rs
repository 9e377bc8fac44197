//! What an agent tells of its work: lines with fields, and figures.

use super::Agent;
use super::steps::Action;
use crate::journal::Note;

impl<S, H, C> Agent<S, H, C> {
    pub(super) fn say(&self, text: &str) {
        (self.log)(&Note::new(text));
    }

    /// What was done is told where it changes what runs; what failed always is.
    pub(super) fn tell(&self, action: &Action, acted: &anyhow::Result<()>) {
        self.figures.acted(acted);
        let text = match (acted, action) {
            (Err(error), _) => format!("{action}: {error:#}"),
            (Ok(()), Action::Start(..) | Action::Stop(_)) => action.to_string(),
            (Ok(()), Action::Load(..) | Action::Unload(_)) => return,
        };
        let machine = self.machine.borrow().id.clone();
        let note = Note::new(&text);
        (self.log)(&note.about(action.unit(), &machine, self.desired.generation));
    }
}
