//! What the boots of a release that failed left behind: the journal on DATA and the kernel's last
//! words in pstore. Read at the next good boot; what never reached a disk cannot be told.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::node::Attempt;
use crate::root::Root;

const JOURNAL: &str = "/var/log/journal";
/// Where the kernel, and later systemd-pstore, keeps a panic's text.
const PSTORE: [&str; 2] = ["/var/lib/systemd/pstore", "/sys/fs/pstore"];
/// What the watchdog's driver found when it was loaded.
const BOOT_STATUS: &str = "/sys/class/watchdog/watchdog0/bootstatus";
/// `WDIOF_CARDRESET`: the last reset was the watchdog's.
const CARD_RESET: u32 = 0x20;
/// PID 1's words for a program that crashed, or cannot be run.
const CRASH: &str = "Main process exited, code=(killed|dumped)|: Failed to execute ";
/// Lines kept of one boot, and boots looked at, the last ones.
const LINES: usize = 15;
const BOOTS: usize = 3;
const LINE: usize = 300;
const PSTORE_BYTES: u64 = 1 << 20;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Oldest first, each boot under a line that names it.
    pub lines: Vec<String>,
    /// The kernel's own word for why it stopped.
    pub panic: Option<String>,
    /// What systemd says of the program that crashed last, or cannot be run.
    pub crash: Option<String>,
    pub last_reset: Reset,
}

/// Who ended the boot before this one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reset {
    Watchdog,
    #[default]
    Unknown,
}

/// A row of `journalctl --list-boots -o json`.
#[derive(Debug, Clone, Deserialize)]
struct Boot {
    boot_id: String,
    /// Microseconds since 1970.
    first_entry: u64,
}

pub fn collect(root: &Root, attempt: &Attempt) -> Evidence {
    let mut lines = Vec::new();
    let boots = boots_of(&list(root), attempt, &super::boot_id(root));
    let skip = boots.len().saturating_sub(BOOTS);
    for boot in &boots[skip..] {
        lines.push(format!("-- boot {}", boot.boot_id));
        lines.extend(last_lines(root, &boot.boot_id));
    }
    Evidence {
        lines,
        panic: panic(root, attempt),
        crash: boots.last().and_then(|boot| crash(root, &boot.boot_id)),
        last_reset: last_reset(root),
    }
}

fn last_reset(root: &Root) -> Reset {
    let status = root.read_text(BOOT_STATUS).unwrap_or_default();
    match status.trim().parse::<u32>() {
        Ok(bits) if bits & CARD_RESET != 0 => Reset::Watchdog,
        _ => Reset::Unknown,
    }
}

impl Evidence {
    /// One sentence; `verdict` is what the health check said before it rebooted.
    pub fn cause(&self, verdict: Option<String>, boots: u32) -> String {
        let told = match (verdict, &self.panic) {
            (Some(verdict), Some(panic)) => format!("not healthy: {verdict}; {panic}"),
            (Some(verdict), None) => format!("not healthy: {verdict}"),
            (None, Some(panic)) => panic.clone(),
            (None, None) if self.last_reset == Reset::Watchdog => {
                "it hung: the hardware watchdog ended it".to_owned()
            }
            (None, None) if self.lines.is_empty() => "no journal and no panic reached the \
                 disk: it crashed or hung early, or the power failed"
                .to_owned(),
            (None, None) => match &self.crash {
                Some(crash) => format!("it ended without a verdict: {crash}"),
                None => {
                    "it ended without a verdict (crash, hang or power cut); the last lines are kept"
                        .to_owned()
                }
            },
        };
        format!("{boots} boots, none healthy: {told}")
    }
}

/// The boots after the one in which the release was made ready, without the one that runs.
fn boots_of(all: &[Boot], attempt: &Attempt, current: &str) -> Vec<Boot> {
    let made_in = all.iter().position(|boot| boot.boot_id == attempt.boot_id);
    let since = attempt.time.unix().saturating_mul(1_000_000);
    let after = |(index, boot): &(usize, &Boot)| match made_in {
        Some(made_in) => *index > made_in,
        None => boot.first_entry > since,
    };
    let boots = all.iter().enumerate().filter(after).map(|(_, boot)| boot);
    boots
        .filter(|boot| boot.boot_id != current)
        .cloned()
        .collect()
}

fn list(root: &Root) -> Vec<Boot> {
    let text = journalctl(root, &["--list-boots", "-o", "json"]);
    serde_json::from_str(&text).unwrap_or_default()
}

fn last_lines(root: &Root, boot: &str) -> Vec<String> {
    let count = LINES.to_string();
    let boot = format!("_BOOT_ID={boot}");
    let text = journalctl(root, &["-n", &count, "-o", "short-monotonic", &boot]);
    text.lines()
        .map(|line| line.chars().take(LINE).collect())
        .collect()
}

/// A crash comes long before the last lines when the machine then waits for its deadline.
fn crash(root: &Root, boot: &str) -> Option<String> {
    let boot = format!("_BOOT_ID={boot}");
    let last = ["-n", "1", "-o", "cat", "-g", CRASH, "_PID=1", &boot];
    let text = journalctl(root, &last);
    let line = text.lines().next()?;
    Some(line.chars().take(LINE).collect())
}

/// There is no other way to read a journal than its own program. No answer is no lines.
fn journalctl(root: &Root, arguments: &[&str]) -> String {
    let Ok(directory) = root.follow(Path::new(JOURNAL)) else {
        return String::new();
    };
    let mut command = Command::new("journalctl");
    command
        .args(["--no-pager", "--quiet", "--directory"])
        .arg(directory)
        .args(arguments);
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}

fn panic(root: &Root, attempt: &Attempt) -> Option<String> {
    let since = std::time::UNIX_EPOCH + std::time::Duration::from_secs(attempt.time.unix());
    let mut files: Vec<PathBuf> = Vec::new();
    let mut todo: Vec<PathBuf> = PSTORE
        .iter()
        .filter_map(|dir| root.follow(Path::new(dir)).ok())
        .collect();
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => todo.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    let recent = |path: &PathBuf| {
        path.metadata()
            .and_then(|file| file.modified())
            .is_ok_and(|time| time >= since)
    };
    files.retain(recent);
    files.sort();
    let texts: Vec<String> = files.iter().map(|path| read(path)).collect();
    last_words(&texts)
}

fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        // What can be read of it is better than nothing.
        let _ = file.take(PSTORE_BYTES).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The most telling line: what strake-init or dm-verity said, else what the kernel calls it.
/// dm-verity also speaks when all is well, so its line has to end in the fault.
fn last_words(texts: &[String]) -> Option<String> {
    let signs = [
        ("strake-init: FAILED", ""),
        ("device-mapper: verity", "is corrupted"),
        ("Kernel panic - not syncing", ""),
    ];
    signs.iter().find_map(|(sign, fault)| {
        let lines = texts.iter().flat_map(|text| text.lines());
        let mut found = lines.filter_map(|line| line.find(sign).map(|at| &line[at..]));
        let line = found.find(|line| line.contains(fault))?;
        Some(line.chars().take(LINE).collect())
    })
}

#[cfg(test)]
mod tests {
    use strake_updates::time::Timestamp;

    use super::*;
    use crate::update::node::Kind;

    fn attempt(boot_id: &str) -> Attempt {
        Attempt {
            version: "1.1.0".parse().expect("version"),
            from: "1.0.0".parse().expect("version"),
            channel: "stable".parse().expect("channel"),
            kind: Kind::Update,
            time: Timestamp::from_unix(100),
            boot_id: boot_id.into(),
        }
    }

    #[test]
    fn the_boots_between_the_installation_and_now_are_those_of_the_release() {
        let boot = |(index, id): (usize, &str)| Boot {
            boot_id: id.into(),
            first_entry: (index as u64) * 60_000_000,
        };
        let all: Vec<Boot> = ["old", "made", "try1", "try2", "now"]
            .into_iter()
            .enumerate()
            .map(boot)
            .collect();
        let ids = |boots: Vec<Boot>| {
            boots
                .into_iter()
                .map(|boot| boot.boot_id)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(ids(boots_of(&all, &attempt("made"), "now")), "try1 try2");
        // The journal of that boot was cleaned up: the time decides.
        assert_eq!(ids(boots_of(&all, &attempt("gone"), "now")), "try1 try2");
        assert_eq!(ids(boots_of(&all, &attempt("now"), "now")), "");
    }

    #[test]
    fn the_cause_says_what_is_known_and_no_more() {
        let with = |lines: &[&str], panic: Option<&str>| Evidence {
            lines: lines.iter().map(ToString::to_string).collect(),
            panic: panic.map(ToString::to_string),
            crash: None,
            last_reset: Reset::Unknown,
        };
        let nothing = with(&[], None).cause(None, 3);
        assert!(
            nothing.starts_with("3 boots, none healthy: no journal and no panic reached"),
            "{nothing}"
        );
        let crash = with(&["x"], None).cause(None, 3);
        assert!(crash.contains("without a verdict"), "{crash}");
        let killed = Evidence {
            crash: Some("strake-health.service: Main process exited, code=killed".into()),
            ..with(&["x"], None)
        };
        let killed = killed.cause(None, 3);
        assert_eq!(
            killed,
            "3 boots, none healthy: it ended without a verdict: strake-health.service: Main \
             process exited, code=killed"
        );
        let hung = Evidence {
            last_reset: Reset::Watchdog,
            ..with(&["x"], None)
        };
        let hung = hung.cause(None, 3);
        assert!(
            hung.ends_with("it hung: the hardware watchdog ended it"),
            "{hung}"
        );
        let verdict = with(&["x"], None).cause(Some("app.service: failed".into()), 3);
        assert_eq!(
            verdict,
            "3 boots, none healthy: not healthy: app.service: failed"
        );
        let text = "<0>[ 1.2] Kernel panic - not syncing: Attempted\nmore".to_owned();
        let panic = last_words(std::slice::from_ref(&text));
        assert_eq!(
            panic.as_deref(),
            Some("Kernel panic - not syncing: Attempted")
        );
        let failed = "<2>[ 1.1] strake-init: FAILED: slot: none\n".to_owned();
        let told = last_words(&[text, failed]);
        assert_eq!(told.as_deref(), Some("strake-init: FAILED: slot: none"));
    }

    #[test]
    fn the_watchdogs_own_bit_tells_its_resets() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Root::new(dir.path());
        assert_eq!(last_reset(&root), Reset::Unknown);
        let path = dir.path().join(&BOOT_STATUS[1..]);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        for (text, expected) in [
            ("0\n", Reset::Unknown),
            ("32\n", Reset::Watchdog),
            ("33\n", Reset::Watchdog),
        ] {
            std::fs::write(&path, text).expect("written");
            assert_eq!(last_reset(&root), expected, "{text:?}");
        }
    }

    #[test]
    fn a_machine_without_a_journal_has_no_lines() {
        let dir = tempfile::tempdir().expect("temp dir");
        assert_eq!(
            collect(&Root::new(dir.path()), &attempt("x")),
            Evidence::default()
        );
    }

    #[test]
    fn what_verity_says_at_every_start_is_no_cause() {
        let start =
            "[1.2] device-mapper: verity: sha256 using shash \"sha256-generic\"\n".to_owned();
        let panic = "[9.1] Kernel panic - not syncing: sysrq\n".to_owned();
        let fault = "[9.0] device-mapper: verity: 254:0: data block 7 is corrupted\n".to_owned();
        let words =
            |texts: &[&String]| last_words(&texts.iter().map(|t| (*t).clone()).collect::<Vec<_>>());
        assert_eq!(words(&[&start]), None);
        assert_eq!(
            words(&[&start, &panic]).as_deref(),
            Some("Kernel panic - not syncing: sysrq")
        );
        assert_eq!(
            words(&[&(start.clone() + &fault), &panic]).as_deref(),
            Some("device-mapper: verity: 254:0: data block 7 is corrupted")
        );
    }
}
