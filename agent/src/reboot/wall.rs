//! Words to everybody who sits at a terminal.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::time::Duration;

use nix::fcntl::OFlag;

use super::logind::Session;
use crate::root::Root;

const DEVICES: &str = "/dev";
const PSEUDO: &str = "/dev/pts";

/// To the terminals of sessions, and to all pseudo terminals: logind does not know those of SSH.
pub(super) fn write(root: &Root, sessions: &[Session], text: &str) {
    let known = sessions
        .iter()
        .filter(|session| !session.terminal.is_empty());
    let mut paths: Vec<String> = known
        .map(|session| format!("{DEVICES}/{}", session.terminal))
        .collect();
    let names = root.list(PSEUDO).into_iter();
    let names = names.filter_map(|name| name.into_string().ok());
    let numbers = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    paths.extend(numbers.map(|number| format!("{PSEUDO}/{number}")));
    paths.sort();
    paths.dedup();
    for path in paths {
        say(root, &path, text);
    }
}

/// A terminal that takes nothing, or is gone, is left alone.
fn say(root: &Root, path: &str, text: &str) {
    let Ok(path) = root.follow(path.as_ref()) else {
        return;
    };
    let is_terminal = |path: &std::path::Path| {
        std::fs::metadata(path).is_ok_and(|file| file.file_type().is_char_device())
    };
    if root.is_machine() && !is_terminal(&path) {
        return;
    }
    let flags = (OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits();
    let terminal = OpenOptions::new()
        .append(true)
        .custom_flags(flags)
        .open(path);
    if let Ok(mut terminal) = terminal {
        let _ = terminal.write_all(format!("\r\n{text}\r\n").as_bytes());
    }
}

pub(super) fn warning(reason: &str, left: Duration) -> String {
    let when = match left.as_secs() {
        0 => "now".to_string(),
        seconds if seconds >= 120 => format!("in {} minutes", seconds / 60),
        seconds => format!("in {seconds} seconds"),
    };
    format!("This machine reboots {when} ({reason}). `sudo strake reboot cancel` stops it.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_terminal_hears_it_once() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Root::new(dir.path());
        let pts = dir.path().join("dev/pts");
        std::fs::create_dir_all(&pts).expect("dir");
        for path in ["tty1", "pts/0", "pts/ptmx", "null"] {
            std::fs::write(dir.path().join("dev").join(path), "").expect("file");
        }
        let session = |terminal: &str| Session {
            user: "core".into(),
            terminal: terminal.into(),
        };
        let sessions = [session("tty1"), session("pts/0"), session("")];
        write(
            &root,
            &sessions,
            &warning("update to 1.2.0", Duration::from_secs(300)),
        );
        let heard =
            |path: &str| std::fs::read_to_string(dir.path().join("dev").join(path)).expect("file");
        for path in ["tty1", "pts/0"] {
            assert_eq!(
                heard(path)
                    .matches("in 5 minutes (update to 1.2.0)")
                    .count(),
                1
            );
        }
        assert_eq!(
            (heard("pts/ptmx").as_str(), heard("null").as_str()),
            ("", "")
        );
        assert!(warning("x", Duration::from_secs(60)).contains("in 60 seconds"));
        assert!(warning("x", Duration::ZERO).contains("reboots now"));
    }
}
