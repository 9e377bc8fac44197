//! The console of a machine: QEMU appends it raw to a file, we follow the file.
//!
//! Following a file instead of the socket means that lines are never lost between two commands,
//! and that a human may hold the socket at the same time.

use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// Lines shown when a wait fails.
pub const TAIL: usize = 40;

#[derive(Debug)]
pub struct Console {
    file: File,
    watch: OwnedFd,
    plain: Plain,
    lines: Vec<String>,
}

impl Console {
    /// Follows `path`, which must exist, from its beginning.
    pub fn follow(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&watch, path, WatchFlags::MODIFY)?;
        Ok(Self {
            file,
            watch,
            plain: Plain::default(),
            lines: Vec::new(),
        })
    }

    /// Reads what was appended. Lines already seen stay in [`Console::lines`].
    pub fn update(&mut self) -> io::Result<()> {
        self.forget_announcements()?;
        let mut appended = Vec::new();
        self.file.read_to_end(&mut appended)?;
        for byte in appended {
            self.lines.extend(self.plain.push(byte));
        }
        Ok(())
    }

    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// A line without its end yet, such as a prompt.
    pub fn unfinished(&self) -> String {
        String::from_utf8_lossy(&self.plain.line).into_owned()
    }

    pub fn tail(&self) -> String {
        let from = self.lines.len().saturating_sub(TAIL);
        let mut shown: Vec<String> = self.lines[from..].to_vec();
        shown.push(self.unfinished());
        shown.retain(|line| !line.trim().is_empty());
        shown.iter().map(|line| format!("    | {line}\n")).collect()
    }

    fn forget_announcements(&self) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let mut reader = inotify::Reader::new(&self.watch, &mut buffer);
        loop {
            match reader.next() {
                Ok(_) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Console {
    /// Readable when there may be more to read.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

/// Text without terminal control: escape sequences, carriage returns, bells.
#[derive(Debug, Default)]
pub struct Plain {
    line: Vec<u8>,
    state: Escape,
}

#[derive(Debug, Default, Clone, Copy)]
enum Escape {
    #[default]
    Text,
    /// After ESC.
    Started,
    /// In a control sequence (`ESC [`), until a byte from `@` to `~`.
    Sequence,
    /// In a string (`ESC ]`, `ESC P`), until BEL or ESC.
    Command,
}

impl Plain {
    /// The line that `byte` ends, if it does.
    pub fn push(&mut self, byte: u8) -> Option<String> {
        self.state = match (self.state, byte) {
            (_, 0x1b) => Escape::Started,
            (Escape::Started, b'[') => Escape::Sequence,
            (Escape::Started, b']' | b'P') => Escape::Command,
            (Escape::Started, _) | (Escape::Sequence, b'@'..=b'~') | (Escape::Command, 0x07) => {
                Escape::Text
            }
            (Escape::Text, b'\n') => {
                let line = std::mem::take(&mut self.line);
                return Some(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            (Escape::Text, b'\t' | 0x20..=0x7e | 0x80..) => {
                self.line.push(byte);
                Escape::Text
            }
            (state, _) => state,
        };
        None
    }

    pub fn lines(bytes: &[u8]) -> Vec<String> {
        let mut plain = Self::default();
        let mut lines: Vec<String> = bytes.iter().filter_map(|byte| plain.push(*byte)).collect();
        if !plain.line.is_empty() {
            lines.push(String::from_utf8_lossy(&plain.line).into_owned());
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn control_characters_are_removed() {
        for (raw, expected) in [
            ("plain\r\n", "plain"),
            ("\x1b[0;32m  OK  \x1b[0m] Started\r\n", "  OK  ] Started"),
            (
                "\x1b[2J\x1b[01;01H\x1b[=3hBdsDxe: loading\n",
                "BdsDxe: loading",
            ),
            ("\x1b]0;title\x07shell\n", "shell"),
            ("\x1bcreset\n", "reset"),
            ("a\tb\x08\x00é\n", "a\tbé"),
        ] {
            assert_eq!(Plain::lines(raw.as_bytes()), [expected], "{raw:?}");
        }
    }

    #[test]
    fn a_console_yields_whole_lines_and_shows_the_unfinished_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console.log");
        let mut log = File::create(&path).unwrap();
        let mut console = Console::follow(&path).unwrap();

        log.write_all(b"first\r\nnode1 login: ").unwrap();
        console.update().unwrap();
        assert_eq!(console.lines(), ["first"]);
        assert_eq!(console.unfinished(), "node1 login: ");

        log.write_all(b"core\r\n").unwrap();
        console.update().unwrap();
        assert_eq!(console.lines(), ["first", "node1 login: core"]);
        assert!(console.tail().ends_with("| node1 login: core\n"));
    }
}
