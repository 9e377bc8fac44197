//! A signed repository of releases on the host, made and served by `strake-release` as a publisher
//! would, and the releases in it, built by `strake-image`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::image::Release;
use crate::tools::{Tools, run};

/// How the guests' user-mode network calls the host's loopback.
const HOST: &str = "10.0.2.2";
const RECORD: &str = "server.json";

/// A release that was built, but has no disk image.
#[derive(Debug, Clone)]
pub struct Built {
    pub directory: PathBuf,
    pub release: Release,
}

/// What makes a release another one than the image under test.
#[derive(Debug, Clone, Copy, Default)]
pub struct Variant<'a> {
    pub version: &'a str,
    pub cmdline: &'a str,
    /// Files to lay over the image, by their path below its root.
    pub files: &'a [(&'a str, &'a str)],
}

impl Variant<'_> {
    /// Only the stages that differ are made; the rest is the image's own, from the cache.
    pub fn build(&self, directory: &Path, tools: &Tools) -> Result<Built> {
        let out = directory.join(self.version);
        let overlay = directory.join(format!("{}.files", self.version));
        for (path, text) in self.files {
            let path = overlay.join(path);
            fs::create_dir_all(path.parent().unwrap_or(&overlay))?;
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        let mut build = tools.strake_image();
        build.args(["build", "--no-disk", "--version", self.version, "--out"]);
        build.arg(&out);
        if !self.cmdline.is_empty() {
            build.args(["--cmdline", self.cmdline]);
        }
        if !self.files.is_empty() {
            build.arg("--overlay").arg(&overlay);
        }
        run(&mut build)?;
        Built::open(&out)
    }
}

impl Built {
    pub fn open(directory: &Path) -> Result<Self> {
        let path = directory.join("release.json");
        let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let release =
            serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))?;
        let directory = directory.to_owned();
        Ok(Self { directory, release })
    }

    pub fn uki(&self) -> PathBuf {
        self.directory
            .join(format!("strake_{}.efi", self.release.version))
    }
}

/// Served for as long as the value lives.
#[derive(Debug)]
pub struct Publisher {
    program: PathBuf,
    directory: PathBuf,
    server: Option<Server>,
}

#[derive(Debug)]
struct Server {
    child: Child,
    port: u16,
}

impl Publisher {
    /// Makes a repository with these channels and no release.
    pub fn new(directory: &Path, program: &Path, channels: &[&str]) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let publisher = Self {
            program: program.to_owned(),
            directory: directory.to_owned(),
            server: None,
        };
        let channels = channels.iter().flat_map(|channel| ["--channel", channel]);
        publisher.command(&["init"].into_iter().chain(channels).collect::<Vec<_>>())?;
        Ok(publisher)
    }

    /// Adds and signs a release. `options` are those of `strake-release add`.
    pub fn publish(&self, built: &Built, channel: &str, options: &[&str]) -> Result<()> {
        let directory = built
            .directory
            .to_str()
            .context("a path that is not UTF-8")?;
        // Made to be installed once: time counts, size does not.
        let add = ["add", directory, "--channel", channel, "--level", "1"];
        self.command(&[&add[..], options].concat())?;
        self.command(&["sign"])
    }

    pub fn command(&self, arguments: &[&str]) -> Result<()> {
        run(self.program().args(arguments)).map(drop)
    }

    /// The metadata that machines trust before any other.
    pub fn root(&self) -> Result<String> {
        let path = self.repository().join("metadata/1.root.json");
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    pub fn repository(&self) -> PathBuf {
        self.directory.join("repository")
    }

    /// Starts the server, on the port it had before if it had one.
    pub fn serve(&mut self) -> Result<()> {
        let port = self.server.as_ref().map_or(0, |server| server.port);
        self.stop()?;
        let mut child = self
            .program()
            .args(["serve", "--listen", &format!("127.0.0.1:{port}")])
            .stdout(Stdio::piped())
            .stderr(File::create(self.directory.join("server.log"))?)
            .process_group(0)
            .spawn()
            .context("starting strake-release serve")?;
        let id = crate::process::ProcessId::of(child.id())?;
        fs::write(self.directory.join(RECORD), serde_json::to_vec(&id)?)?;
        let mut line = String::new();
        let output = child.stdout.take().context("the server has no output")?;
        BufReader::new(output).read_line(&mut line)?;
        let Some(port) = line
            .trim()
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok())
        else {
            child.kill()?;
            child.wait()?;
            let said = fs::read_to_string(self.directory.join("server.log"))?;
            bail!("strake-release serve said {line:?}\n{said}");
        };
        self.server = Some(Server { child, port });
        Ok(())
    }

    /// The port stays the publisher's.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(server) = &mut self.server {
            server.child.kill()?;
            server.child.wait()?;
        }
        Ok(())
    }

    /// As a guest writes it.
    pub fn address(&self) -> Result<String> {
        let server = self
            .server
            .as_ref()
            .context("the repository is not served")?;
        Ok(format!("http://{HOST}:{}", server.port))
    }

    /// A page of the server's, asked for from the host.
    pub fn page(&self, path: &str) -> Result<Option<String>> {
        let server = self
            .server
            .as_ref()
            .context("the repository is not served")?;
        Ok(crate::machine::http(server.port, path))
    }

    fn program(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.stdin(Stdio::null());
        command.arg("--repo").arg(self.repository());
        command.arg("--keys").arg(self.directory.join("keys"));
        command
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // The next run ends it, should this fail.
        let _ = self.stop();
    }
}

/// Ends the server of a run that was killed.
pub fn end_leftover(directory: &Path) -> Result<()> {
    if let Ok(text) = fs::read(directory.join(RECORD))
        && let Ok(process) = serde_json::from_slice::<crate::process::ProcessId>(&text)
    {
        process.kill()?;
    }
    Ok(())
}
