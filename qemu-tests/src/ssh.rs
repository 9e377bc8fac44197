//! Logging in: one key pair per lab, user `core`, a forwarded port on loopback.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::tools::Tools;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyPair {
    private: PathBuf,
}

impl KeyPair {
    /// The pair in `directory`, made when missing.
    pub fn in_directory(directory: &Path, tools: &Tools) -> Result<Self> {
        let private = directory.join("id_ed25519");
        if !private.exists() {
            let file = private.to_str().context("the lab's path is not UTF-8")?;
            let arguments = [
                "-q",
                "-t",
                "ed25519",
                "-N",
                "",
                "-C",
                "strake-lab",
                "-f",
                file,
            ];
            tools
                .run("ssh-keygen", arguments)
                .context("making the lab's key pair")?;
        }
        Ok(Self { private })
    }

    pub fn public(&self) -> Result<String> {
        let path = self.private.with_extension("pub");
        let text = fs::read_to_string(&path);
        Ok(text
            .with_context(|| format!("reading {}", path.display()))?
            .trim()
            .to_owned())
    }

    pub fn private(&self) -> &Path {
        &self.private
    }
}

/// Host keys are not checked: the port is a loopback forward to a machine that was just made.
pub fn command(tools: &Tools, key: &KeyPair, user: &str, port: u16) -> Command {
    let mut command = tools.command("ssh");
    command
        .arg("-i")
        .arg(key.private())
        .arg("-p")
        .arg(port.to_string());
    for option in [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "GlobalKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
        "IdentitiesOnly=yes",
        "BatchMode=yes",
        "ConnectTimeout=10",
        "ServerAliveInterval=5",
        "ServerAliveCountMax=6",
    ] {
        command.arg("-o").arg(option);
    }
    command.arg(format!("{user}@127.0.0.1"));
    command
}
