//! Programs that the owner of the machine has put into a directory, to be asked before something is
//! done.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::root::Root;

/// In the order of their names; what is not executable is none.
pub fn programs(root: &Root, directory: &str) -> Vec<PathBuf> {
    let executable = |path: &PathBuf| {
        std::fs::metadata(path)
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    let Ok(dir) = root.follow(directory.as_ref()) else {
        return Vec::new();
    };
    root.list(directory)
        .into_iter()
        .map(|name| dir.join(name))
        .filter(executable)
        .collect()
}

/// Fine when it exits 0 in time. It is killed when this is dropped.
pub async fn run(hook: &Path, limit: Duration, variables: &[(&str, &str)]) -> Result<(), String> {
    let mut command = Command::new(hook);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command.envs(variables.iter().copied());
    let name = hook.display();
    match timeout(limit, command.status()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("{name}: {status}")),
        Ok(Err(error)) => Err(format!("{name} cannot be run: {error}")),
        Err(_) => Err(format!("{name} did not end within {} s", limit.as_secs())),
    }
}
