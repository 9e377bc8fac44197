//! A service's log with fields, in journald's own protocol: `journalctl UNIT=web.service` finds
//! what the scheduler did about a unit, beside what systemd says of it.
//!
//! Where standard error does not go to the journal, lines go to standard error.
//! <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>

use std::fmt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use crate::scheduler::machine::MachineId;
use crate::scheduler::name::UnitName;

const SOCKET: &str = "/run/systemd/journal/socket";
/// systemd sets it for services whose standard error is the journal.
const STREAM: &str = "JOURNAL_STREAM";
/// One datagram takes more than this on every kernel.
const LONGEST: usize = 48 << 10;
const INFORMATIONAL: &str = "6";

/// One line and what it is about.
#[derive(Debug, Clone, Copy)]
pub struct Note<'a> {
    text: &'a str,
    unit: Option<&'a UnitName>,
    machine: Option<&'a MachineId>,
    plan: Option<u64>,
}

pub type Log = Box<dyn Fn(&Note<'_>)>;

impl<'a> Note<'a> {
    pub fn new(text: &'a str) -> Note<'a> {
        Note {
            text,
            unit: None,
            machine: None,
            plan: None,
        }
    }

    /// By a plan: the generation of the machine's desired value that it made.
    pub fn about(self, unit: &'a UnitName, machine: &'a MachineId, plan: u64) -> Note<'a> {
        Note {
            unit: Some(unit),
            machine: Some(machine),
            plan: Some(plan),
            ..self
        }
    }

    fn datagram(&self, identifier: &str) -> Vec<u8> {
        let mut datagram = Vec::new();
        let mut add = |name: &str, value: &str| field(&mut datagram, name, value);
        add("MESSAGE", cut(self.text));
        add("PRIORITY", INFORMATIONAL);
        add("SYSLOG_IDENTIFIER", identifier);
        if let Some(unit) = self.unit {
            add("UNIT", unit.as_str());
        }
        if let Some(machine) = self.machine {
            add("MACHINE", machine.as_str());
        }
        if let Some(plan) = self.plan {
            add("PLAN", &plan.to_string());
        }
        datagram
    }
}

/// Between two letters.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A value with a line's end has its length before it.
fn field(datagram: &mut Vec<u8>, name: &str, value: &str) {
    datagram.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        datagram.push(b'\n');
        datagram.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        datagram.push(b'=');
    }
    datagram.extend_from_slice(value.as_bytes());
    datagram.push(b'\n');
}

impl fmt::Display for Note<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

#[derive(Debug)]
pub struct Journal {
    identifier: &'static str,
    socket: Option<UnixDatagram>,
}

impl Journal {
    pub fn of_service(identifier: &'static str) -> Journal {
        let is_journal = std::env::var_os(STREAM).is_some();
        Journal {
            identifier,
            socket: is_journal.then(|| connected(Path::new(SOCKET))).flatten(),
        }
    }

    pub fn tell(&self, note: &Note<'_>) {
        let sent = self.socket.as_ref().is_some_and(|socket| {
            let datagram = note.datagram(self.identifier);
            socket.send(&datagram).is_ok()
        });
        if !sent {
            eprintln!("{note}");
        }
    }
}

/// A journal that is slow holds up nobody: the line goes to standard error then.
fn connected(path: &Path) -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    socket.connect(path).ok()?;
    Some(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(notes: &[Note<'_>]) -> Vec<Vec<u8>> {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("socket");
        let journald = UnixDatagram::bind(&path).expect("a socket");
        let journal = Journal {
            identifier: "test",
            socket: connected(&path),
        };
        let mut buffer = vec![0; 1 << 16];
        let one = |note: &Note<'_>| {
            journal.tell(note);
            let length = journald.recv(&mut buffer).expect("a datagram");
            buffer[..length].to_vec()
        };
        notes.iter().map(one).collect()
    }

    #[test]
    fn a_note_is_sent_with_what_it_is_about() {
        let unit = "web.service".parse().expect("a name");
        let machine = "m1".parse().expect("an id");
        let note = Note::new("place it").about(&unit, &machine, 7);
        let expected = "MESSAGE=place it\nPRIORITY=6\nSYSLOG_IDENTIFIER=test\n\
            UNIT=web.service\nMACHINE=m1\nPLAN=7\n";
        assert_eq!(received(&[note]), [expected.as_bytes()]);
    }

    #[test]
    fn lines_within_a_text_and_texts_of_any_length_do_no_harm() {
        let long = "aä".repeat(LONGEST);
        let sent = received(&[Note::new("a\nPRIORITY=0"), Note::new(&long)]);
        let head = b"MESSAGE\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\nPRIORITY=6\n";
        assert!(sent[0].starts_with(head), "{:?}", sent[0]);
        assert!(sent[1].len() < LONGEST + 100);
        assert!(
            String::from_utf8(sent[1].clone()).is_ok(),
            "cut within a letter"
        );
    }
}
