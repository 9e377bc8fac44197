//! What the text of a value must look like. A format returns a fault, never panics, and sees
//! the decoded value of one scalar.

mod host;
mod overlay;
mod path;
mod quantity;
mod system;
mod unit;
mod user;

use crate::problem::{Level, Rule};

pub(crate) use host::*;
pub(crate) use overlay::*;
pub(crate) use path::*;
pub(crate) use quantity::*;
pub(crate) use system::*;
pub(crate) use unit::*;
pub(crate) use user::*;

#[derive(Debug)]
pub(crate) struct Format {
    /// For the reference: "absolute path".
    pub(crate) name: &'static str,
    /// For the JSON Schema; empty when a pattern cannot say it.
    pub(crate) pattern: &'static str,
    pub(crate) check: fn(&str) -> Result<(), Fault>,
}

#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) level: Level,
    pub(crate) rule: Rule,
    /// `None` for the usual "invalid value V".
    pub(crate) message: Option<String>,
    pub(crate) hint: String,
}

impl Fault {
    fn invalid(hint: impl Into<String>) -> Self {
        Self {
            level: Level::Error,
            rule: Rule::InvalidValue,
            message: None,
            hint: hint.into(),
        }
    }

    fn warning(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            level: Level::Warning,
            rule: Rule::InvalidValue,
            message: Some(message.into()),
            hint: hint.into(),
        }
    }
}

fn ensure(holds: bool, hint: &str) -> Result<(), Fault> {
    if holds {
        Ok(())
    } else {
        Err(Fault::invalid(hint))
    }
}

const fn format(
    name: &'static str,
    pattern: &'static str,
    check: fn(&str) -> Result<(), Fault>,
) -> Format {
    Format {
        name,
        pattern,
        check,
    }
}

pub(crate) static ANY: Format = format("text", "", |_| Ok(()));

/// A value that becomes one line of a file, such as an environment variable.
pub(crate) static LINE: Format = format("text of one line", r"^[^\n\r]*$", |text| {
    ensure(!text.contains(['\n', '\r', '\0']), "keep it on one line")
});
