//! Names of units and drop-ins.

use super::{Fault, Format, ensure, format};
use crate::config::UnitGroup;
use crate::unit_name::{self, UnitName};

pub(crate) static UNIT: Format = format("unit name", "", |text| match UnitName::parse(text) {
    Ok(_) => Ok(()),
    Err(refusal) => Err(Fault::invalid(refusal.to_string())),
});

/// Units of systemd proper: the network files cannot be required or waited for.
pub(crate) static SYSTEM_UNIT: Format =
    format("systemd unit name", "", |text| {
        match UnitName::parse(text) {
            Ok(name) if name.group() == UnitGroup::System => Ok(()),
            Ok(_) => Err(Fault::invalid("files of networkd are no units that run")),
            Err(refusal) => Err(Fault::invalid(refusal.to_string())),
        }
    });

pub(crate) static DROP_IN_NAME: Format = format("NAME.conf", r"^[^/]+\.conf$", |text| {
    ensure(
        unit_name::is_file_name(text) && text.ends_with(".conf") && text.len() > 5,
        "systemd reads only files that end in .conf, without a slash in the name",
    )
});
