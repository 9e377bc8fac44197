//! Lines for the people at the console: through the kernel log, which reaches every console once
//! and the journal later. Allocates nothing, so that a signal handler may use it.

use std::fmt::{self, Write as _};
use std::fs::OpenOptions;
use std::io::{self, Write as _};

/// Kernel log level. Warnings stay visible on a console made `quiet` (which hides 4 and above).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Level {
    Failure = 1,
    Warning = 3,
    Debug = 5,
}

pub(crate) fn log(level: Level, text: fmt::Arguments<'_>) {
    let mut line = Line::default();
    let number = level as u8;
    // `Line` drops what does not fit and never fails.
    let _ = write!(line, "<{number}>strake-init: ");
    let start = line.length;
    let _ = line.write_fmt(text);
    line.bytes[line.length] = b'\n';
    let bytes = &line.bytes[..=line.length];
    // Opened anew for each line: the kernel's rate limit counts per open file.
    let kmsg = OpenOptions::new().write(true).open("/dev/kmsg");
    if kmsg.and_then(|mut file| file.write_all(bytes)).is_err() {
        let _ = write!(
            io::stderr(),
            "strake-init: {}",
            String::from_utf8_lossy(&bytes[start..])
        );
    }
}

/// One record of /dev/kmsg, which takes at most 1024 bytes.
struct Line {
    bytes: [u8; 1000],
    length: usize,
}

impl Default for Line {
    fn default() -> Line {
        Line {
            bytes: [0; 1000],
            length: 0,
        }
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.len() - 1 - self.length;
        for byte in text.bytes().take(room) {
            self.bytes[self.length] = if byte.is_ascii_control() { b' ' } else { byte };
            self.length += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_no_line_breaks_and_never_overflows() {
        let mut line = Line::default();
        write!(line, "a\nb\x1b[2J{}", "x".repeat(5000)).unwrap();
        assert!(line.bytes.starts_with(b"a b [2Jxxx"));
        assert_eq!(line.length, line.bytes.len() - 1);
    }
}
