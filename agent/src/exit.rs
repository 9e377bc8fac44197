//! How the program ends.

use std::process::ExitCode;

/// The exit codes of every `strake` command, shown in `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done as asked.
    Done,
    /// Tried and failed.
    Failed,
    /// The input or the command line is wrong; nothing was changed.
    BadInput,
    /// There was nothing to do.
    NothingToDo,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::BadInput => 2,
            Exit::NothingToDo => 3,
        })
    }
}
