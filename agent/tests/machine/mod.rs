//! A machine's root in a temporary directory, and the built program run on it.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) struct Machine {
    dir: tempfile::TempDir,
}

/// What the program left behind.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

const IMAGE: [(&str, &str); 6] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\ncore:x:500:500::/home/core:/bin/bash\n",
    ),
    ("etc/shadow", "root:*:::::::\ncore:*:::::::\n"),
    (
        "etc/group",
        "root:x:0:\nsudo:x:27:\nshadow:x:42:\nusers:x:100:\ncore:x:500:\n",
    ),
    (
        "etc/gshadow",
        "root:*::\nsudo:*::\nshadow:*::\nusers:*::\ncore:!::\n",
    ),
    (
        "usr/lib/systemd/system/docker.service",
        "[Service]\nExecStart=/usr/sbin/dockerd\n[Install]\nWantedBy=multi-user.target\n",
    ),
    ("usr/lib/os-release", "ID=strake\nVERSION_ID=1.2.3\n"),
];

impl Machine {
    pub(crate) fn new() -> Machine {
        let machine = Machine {
            dir: tempfile::tempdir().expect("temp dir"),
        };
        for dir in ["config", "oem", "state", "run", "var"] {
            std::fs::create_dir(machine.path(dir)).expect("dir");
        }
        machine.reboot();
        machine
    }

    /// A machine with this user-data on its CONFIG partition.
    pub(crate) fn with_config(text: &str) -> Machine {
        let machine = Machine::new();
        machine.put("config/user_data", text);
        machine
    }

    /// `/etc` and `/run` are made anew, as at every boot.
    pub(crate) fn reboot(&self) {
        for dir in ["etc", "run"] {
            let _ = std::fs::remove_dir_all(self.path(dir));
            std::fs::create_dir(self.path(dir)).expect("dir");
        }
        for (path, text) in IMAGE {
            self.put(path, text);
        }
        let link = self.path("home");
        if !link.is_symlink() {
            std::os::unix::fs::symlink("var/home", link).expect("link");
        }
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub(crate) fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("parent");
        std::fs::write(path, content).expect("file");
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(crate) fn link(&self, path: &str) -> String {
        let target = std::fs::read_link(self.path(path));
        target
            .unwrap_or_else(|error| panic!("{path}: {error}"))
            .display()
            .to_string()
    }

    pub(crate) fn mode(&self, path: &str) -> u32 {
        let metadata = std::fs::metadata(self.path(path));
        metadata
            .unwrap_or_else(|error| panic!("{path}: {error}"))
            .permissions()
            .mode()
            & 0o7777
    }

    pub(crate) fn owner(&self, path: &str) -> (u32, u32) {
        let metadata = std::fs::metadata(self.path(path)).expect(path);
        (metadata.uid(), metadata.gid())
    }

    /// Runs `strake ARGS --root ROOT`.
    pub(crate) fn strake(&self, args: &[&str]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strake"));
        run(command.args(args).arg("--root").arg(self.root()))
    }

    pub(crate) fn boot(&self) -> Run {
        self.strake(&["config", "apply", "--before-boot"])
    }

    /// `/run/strake/config.json`
    pub(crate) fn record(&self) -> serde_json::Value {
        serde_json::from_str(&self.read("run/strake/config.json")).expect("JSON")
    }

    /// Every path with kind, mode, owner, inode, time of change and content: equal snapshots mean
    /// that nothing was touched.
    pub(crate) fn snapshot(&self) -> BTreeMap<PathBuf, String> {
        let mut seen = BTreeMap::new();
        let mut todo = vec![self.root().to_path_buf()];
        while let Some(path) = todo.pop() {
            let metadata = std::fs::symlink_metadata(&path).expect("metadata");
            let content = match metadata.file_type() {
                kind if kind.is_dir() => {
                    let entries = std::fs::read_dir(&path).expect("dir").flatten();
                    todo.extend(entries.map(|entry| entry.path()));
                    String::new()
                }
                kind if kind.is_symlink() => std::fs::read_link(&path)
                    .expect("link")
                    .display()
                    .to_string(),
                _ => String::from_utf8_lossy(&std::fs::read(&path).expect("file")).into_owned(),
            };
            let (mode, inode) = (metadata.mode(), metadata.ino());
            let times = (metadata.mtime(), metadata.mtime_nsec());
            let owner = (metadata.uid(), metadata.gid());
            let is_dir = metadata.is_dir();
            // A temporary file made and removed would move a directory's time of change.
            let times = if is_dir { (0, 0) } else { times };
            seen.insert(
                path,
                format!("{mode:o} {inode} {times:?} {owner:?} {content}"),
            );
        }
        seen
    }
}

pub(crate) fn run(command: &mut Command) -> Run {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the program runs");
    Run {
        code: status.code().expect("it exits"),
        out: String::from_utf8(stdout).expect("UTF-8"),
        err: String::from_utf8(stderr).expect("UTF-8"),
    }
}

/// The program changes owners, which only root may.
pub(crate) fn is_root() -> bool {
    let root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if !root {
        println!("SKIPPED: needs root to change owners");
    }
    root
}

/// Compares with `tests/golden/NAME`, or writes it when `UPDATE_GOLDEN=1`.
#[track_caller]
pub(crate) fn golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(&path, found).expect("golden file");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        found,
        expected,
        "differs from {}; UPDATE_GOLDEN=1 writes it",
        path.display()
    );
}
