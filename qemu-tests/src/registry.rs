//! A container registry on the host, with one small image in it.
//!
//! The image is made here: its program is `examples/greeter.rs`, its layout is made by umoci and
//! pushed by skopeo. So a container runs without anything from the network.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::process::{ProcessId, ended_within};
use crate::tools::{Tools, run};
use crate::wait::Deadline;

/// How the guests' user-mode network calls the host's loopback.
const HOST: &str = "10.0.2.2";
const IMAGE: &str = "greeter:1";
/// Where the image's program listens.
pub const GREETER_PORT: u16 = 8080;
pub const GREETING: &str = "greetings from a container";
const START_LIMIT: u64 = 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    port: u16,
    process: ProcessId,
}

impl Registry {
    /// Starts a registry that outlives the command, and fills it.
    pub fn start(directory: &Path, tools: &Tools) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let settings = directory.join("registry.yml");
        fs::write(&settings, settings_for(port, &directory.join("blobs")))?;
        let log = File::create(directory.join("registry.log"))?;
        let child = tools
            .command("docker-registry")
            .arg("serve")
            .arg(&settings)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("starting the registry")?;
        let registry = Self {
            port,
            process: ProcessId::of(child.id())?,
        };
        registry.wait_until_open(directory)?;
        registry
            .push(directory, tools)
            .context("filling the registry")?;
        Ok(registry)
    }

    /// As a guest writes it in an image's name, and in docker's list of insecure registries.
    pub fn address(&self) -> String {
        format!("{HOST}:{}", self.port)
    }

    pub fn image(&self) -> String {
        format!("{}/{IMAGE}", self.address())
    }

    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    pub fn stop(&self) -> Result<()> {
        Ok(self.process.stop(Duration::from_secs(5))?)
    }

    fn wait_until_open(&self, directory: &Path) -> Result<()> {
        let ended = self.process.open().context("watching the registry")?;
        let deadline = Deadline::seconds(START_LIMIT);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            if ended_within(&ended, Duration::from_millis(100))? || deadline.is_over() {
                let said = fs::read_to_string(directory.join("registry.log"))?;
                bail!(
                    "the registry does not listen on port {}:\n{said}",
                    self.port
                );
            }
        }
        Ok(())
    }

    fn push(&self, directory: &Path, tools: &Tools) -> Result<()> {
        let layout = make_image(directory, tools).context("making the image")?;
        let from = format!("oci:{}:latest", layout.display());
        let to = format!("docker://127.0.0.1:{}/{IMAGE}", self.port);
        let copy = [
            "--insecure-policy",
            "copy",
            "--dest-tls-verify=false",
            &from,
            &to,
        ];
        tools.run("skopeo", copy)?;
        Ok(())
    }
}

/// An OCI layout of one static program.
fn make_image(directory: &Path, tools: &Tools) -> Result<PathBuf> {
    let program = directory.join("greeter");
    let source = directory.join("greeter.rs");
    fs::write(&source, include_str!("../examples/greeter.rs"))?;
    let mut compile = Command::new("rustc");
    compile.args([
        "--edition=2024",
        "-O",
        "-C",
        "target-feature=+crt-static",
        "-o",
    ]);
    run(compile.arg(&program).arg(&source))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;

    let layout = directory.join("layout");
    if layout.exists() {
        fs::remove_dir_all(&layout)?;
    }
    let umoci = |arguments: &[&str]| run(tools.command("umoci").args(arguments));
    let (layout_text, program) = (layout.display().to_string(), program.display().to_string());
    let tagged = format!("{layout_text}:latest");
    umoci(&["init", "--layout", &layout_text])?;
    umoci(&["new", "--image", &tagged])?;
    umoci(&[
        "insert",
        "--rootless",
        "--image",
        &tagged,
        &program,
        "/greeter",
    ])?;
    // As the container's first process the program gets no default action for SIGTERM.
    let (entry, signal) = (
        ["--config.entrypoint", "/greeter"],
        ["--config.stopsignal", "SIGKILL"],
    );
    umoci(&[&["config", "--image", &tagged][..], &entry, &signal].concat())?;
    Ok(layout)
}

fn settings_for(port: u16, blobs: &Path) -> String {
    // JSON is YAML, and quotes the path.
    serde_json::json!({
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": blobs}},
        "http": {"addr": format!("127.0.0.1:{port}")},
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_listens_on_loopback_only() {
        let settings = settings_for(5001, Path::new("/a b/blobs"));
        assert!(
            settings.contains(r#""addr":"127.0.0.1:5001""#),
            "{settings}"
        );
        assert!(
            settings.contains(r#""rootdirectory":"/a b/blobs""#),
            "{settings}"
        );
    }
}
