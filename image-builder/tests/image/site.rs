//! What the tests share: the program as users run it, in a workspace of its own that borrows the
//! tools tree and the downloaded packages of the checkout's.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

#[derive(Debug)]
pub(crate) struct Site {
    directory: TempDir,
}

/// The program: the lab's build of it if one is given, which is the faster one.
pub(crate) fn program() -> PathBuf {
    match std::env::var_os("STRAKE_IMAGE").map(PathBuf::from) {
        Some(path) if path.is_file() => path,
        _ => PathBuf::from(env!("CARGO_BIN_EXE_strake-image")),
    }
}

fn shared() -> PathBuf {
    match std::env::var_os("STRAKE_DIR") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/strake"),
    }
}

/// Why tests that build cannot run here, if so.
pub(crate) fn missing() -> Option<String> {
    if Command::new("mmdebstrap")
        .arg("--version")
        .output()
        .is_err()
    {
        return Some("mmdebstrap is not installed".into());
    }
    let output = Command::new(program())
        .arg("--dir")
        .arg(shared())
        .arg("tools")
        .output();
    match output {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(text(&output.stderr)),
        Err(error) => Some(error.to_string()),
    }
}

/// Ends the test with a reason when it cannot run here.
macro_rules! require_tools {
    () => {
        if let Some(why) = $crate::site::missing() {
            println!("SKIPPED: {why}");
            return;
        }
    };
}

impl Site {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let shared = fs::canonicalize(shared()).unwrap();
        for name in ["tools", "packages"] {
            fs::create_dir_all(shared.join(name)).unwrap();
            symlink(shared.join(name), directory.path().join(name)).unwrap();
        }
        Self { directory }
    }

    /// With the slow stages that the checkout's workspace has, as links to the same files.
    pub(crate) fn warm() -> Self {
        let site = Self::new();
        let (from, to) = (shared().join("cache"), site.path("cache"));
        fs::create_dir(&to).unwrap();
        for stage in ["packages", "modules", "filesystems"] {
            let copy = Command::new("cp")
                .arg("-al")
                .arg(from.join(stage))
                .arg(&to)
                .output();
            // Missing there, or pruned meanwhile: then the stage is made here.
            if !copy.is_ok_and(|copy| copy.status.success()) {
                let _ = fs::remove_dir_all(to.join(stage));
            }
        }
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(program());
        command.arg("--dir").arg(self.directory.path());
        command
    }

    /// A build with stand-ins for the node's programs.
    pub(crate) fn build(&self, agent: &str) -> Command {
        let (agent_file, init) = (self.path("agent"), self.path("init"));
        fs::write(&agent_file, agent).unwrap();
        fs::write(&init, "#!/init").unwrap();
        let mut command = self.command();
        command
            .args(["build", "-o", "json", "--agent"])
            .arg(agent_file)
            .arg("--init")
            .arg(init);
        command
    }

    /// Runs a program of the tools tree and returns its output.
    pub(crate) fn tool(&self, program: &str, arguments: &[&str]) -> String {
        text(&success(self.command().args(["tool", "--", program]).args(arguments)).stdout)
    }
}

#[track_caller]
pub(crate) fn success(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let errors = text(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{errors}",
        output.status
    );
    output
}

/// `release.json` as `-o json` prints it.
#[track_caller]
pub(crate) fn release(command: &mut Command) -> Value {
    serde_json::from_slice(&success(command).stdout).unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
