//! The applet `coreos-cloudinit`: that program's flags, line format and exit codes.
//!
//! It reads one source and adds what that says to the running machine, or checks it. A config that has an
//! error leaves the metadata in force, and the exit code is 1, as it was there. Unlike there,
//! nothing of such a config is applied.

mod flags;
mod sources;

use std::ffi::OsString;

use anyhow::Result;
use strake_cloud_config::{check, report};

use super::config::{add, refuse_other_systems};
use super::output::print;
use crate::config::Layers;
use crate::exit::Exit;
use crate::root::Root;
use crate::source;
use flags::Flags;
use sources::Said;

pub(super) fn run(args: &[OsString]) -> Result<Exit> {
    let usage_error = |message: String| {
        eprintln!("coreos-cloudinit: {message}");
        eprint!("{}", flags::usage());
        Ok(Exit::BadInput)
    };
    let flags = match Flags::parse(args) {
        Ok(flags) => flags,
        Err(message) => return usage_error(message),
    };
    if flags.has("help") {
        print(&flags::usage());
        return Ok(Exit::Done);
    }
    if flags.has("version") {
        let version = env!("CARGO_PKG_VERSION");
        print(&format!("coreos-cloudinit (strake) {version}\n"));
        return Ok(Exit::Done);
    }
    let sources = match sources::named(&flags) {
        Ok(sources) => sources,
        Err(message) => return usage_error(message),
    };
    let root = Root::new("/");
    let result = match flags.has("validate") {
        true => sources::ask(&root, &sources, &flags).map(|said| validate(&said)),
        false => apply(&root, &sources, &flags),
    };
    match result {
        Err(error) if flags.has("ignore-failure") => {
            eprintln!("coreos-cloudinit: {error:#}");
            Ok(Exit::Done)
        }
        Ok(_) if flags.has("ignore-failure") => Ok(Exit::Done),
        result => result,
    }
}

fn validate(said: &Said) -> Exit {
    let bytes = said.user.as_ref().map_or(&[][..], |text| &text.bytes);
    let checked = check(bytes, &Default::default());
    print(&report::coreos(&checked.problems));
    match checked.problems.is_empty() {
        true => Exit::Done,
        false => Exit::Failed,
    }
}

fn apply(root: &Root, sources: &[sources::Source], flags: &Flags) -> Result<Exit> {
    if let Err(exit) = refuse_other_systems(root) {
        return Ok(exit);
    }
    let said = sources::ask(root, sources, flags)?;
    let vendor = source::gather(root);
    let layers = Layers {
        oem: vendor.oem.as_ref(),
        metadata: said.metadata.as_ref().or(vendor.metadata.as_ref()),
        user: said.user.as_ref(),
    };
    match add(root, layers)? {
        Exit::Done | Exit::NothingToDo => Ok(Exit::Done),
        Exit::BadInput => {
            eprintln!("coreos-cloudinit: the user-data is not applied, the metadata is");
            add(
                root,
                Layers {
                    user: None,
                    ..layers
                },
            )?;
            Ok(Exit::Failed)
        }
        Exit::Failed => Ok(Exit::Failed),
    }
}
