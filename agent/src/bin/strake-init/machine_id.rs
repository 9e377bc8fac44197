//! The machine's identity: made once, kept in STATE, handed to systemd in /etc/machine-id.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result};
use thiserror::Error;

use crate::timeline::Timeline;
use crate::verity::hex;

const NAME: &str = "machine-id";

/// 128 bits as 32 lower-case hexadecimal digits, not all of them zero (machine-id(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MachineId(String);

#[derive(Debug, Error)]
#[error("not 32 hexadecimal digits, or all zero")]
pub(crate) struct NotAMachineId;

impl FromStr for MachineId {
    type Err = NotAMachineId;

    fn from_str(text: &str) -> Result<MachineId, NotAMachineId> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !digits || text.bytes().all(|byte| byte == b'0') {
            return Err(NotAMachineId);
        }
        Ok(MachineId(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl MachineId {
    /// Marked as a random (version 4) UUID, as systemd does.
    fn from_random(mut bytes: [u8; 16]) -> MachineId {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        MachineId(hex(&bytes))
    }
}

/// Takes the id from `state`, or makes it there, and copies it to `etc`. With another id on the
/// kernel command line systemd uses that one for this boot, so `etc` says the same.
pub(crate) fn settle(
    state: &Path,
    etc: &Path,
    option: Option<MachineId>,
    timeline: &mut Timeline,
) -> Result<()> {
    let path = state.join(NAME);
    let id = match load(&path).with_context(|| format!("reading {}", path.display()))? {
        Stored::Valid(id) => {
            if option.as_ref().is_some_and(|option| *option != id) {
                timeline.warn(format_args!(
                    "systemd.machine_id= hides the machine's own id {id}"
                ));
            }
            option.unwrap_or(id)
        }
        stored => {
            if stored == Stored::Invalid {
                timeline.warn(format_args!("{} was not valid; made anew", path.display()));
            }
            let id = match option {
                Some(id) => id,
                None => random().context("reading /dev/random")?,
            };
            store(state, &id).with_context(|| format!("writing {}", path.display()))?;
            id
        }
    };
    let copy = etc.join(NAME);
    write(&copy, &id)
        .map(drop)
        .with_context(|| format!("writing {}", copy.display()))
}

#[derive(Debug, PartialEq, Eq)]
enum Stored {
    Valid(MachineId),
    Invalid,
    Missing,
}

fn load(path: &Path) -> io::Result<Stored> {
    match fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            Ok(text
                .trim_end()
                .parse()
                .map_or(Stored::Invalid, Stored::Valid))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Stored::Missing),
        Err(error) => Err(error),
    }
}

/// /dev/random waits until the kernel's generator is seeded; two machines must not share an id.
fn random() -> io::Result<MachineId> {
    let mut bytes = [0; 16];
    File::open("/dev/random")?.read_exact(&mut bytes)?;
    Ok(MachineId::from_random(bytes))
}

/// Whole or not at all, even when the power goes.
fn store(directory: &Path, id: &MachineId) -> io::Result<()> {
    let new = directory.join(".machine-id.new");
    write(&new, id)?.sync_all()?;
    fs::rename(&new, directory.join(NAME))?;
    File::open(directory)?.sync_all()
}

fn write(path: &Path, id: &MachineId) -> io::Result<File> {
    // A new file, since an old one may have been left without the right to write.
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o444)
        .open(path)?;
    writeln!(file, "{id}")?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn only_a_real_id_is_an_id() {
        assert_eq!(ID.parse::<MachineId>().unwrap().to_string(), ID);
        assert_eq!(
            ID.to_uppercase().parse::<MachineId>().unwrap().to_string(),
            ID
        );
        let zeros = "0".repeat(32);
        for bad in [
            "",
            "uninitialized",
            &zeros,
            &ID[1..],
            "0123456789abcdef0123456789abcdeg",
            "0123456789abcdef0123456789abcdef0",
            "é123456789abcdef0123456789abcde",
        ] {
            assert!(bad.parse::<MachineId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_made_id_says_it_is_random() {
        let id = MachineId::from_random([0xff; 16]);
        assert_eq!(id.to_string(), "ffffffffffff4fffbfffffffffffffff");
    }

    #[test]
    fn an_id_once_made_stays() {
        let (state, etc) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let settle = |option: Option<&str>| {
            let option = option.map(|id| id.parse().unwrap());
            settle(state.path(), etc.path(), option, &mut Timeline::start()).unwrap();
            let read = |directory: &Path| fs::read_to_string(directory.join(NAME)).unwrap();
            (read(state.path()), read(etc.path()))
        };
        let option = format!("{ID}\n");
        let (first, copy) = settle(None);
        assert_eq!(first, copy);
        assert_eq!(settle(None), (first.clone(), copy));
        assert_eq!(settle(Some(ID)), (first, option.clone()));
        fs::remove_file(state.path().join(NAME)).unwrap();
        fs::write(state.path().join(NAME), "broken\n").unwrap();
        assert_eq!(settle(Some(ID)), (option.clone(), option.clone()));
        assert_eq!(settle(None), (option.clone(), option));
    }
}
