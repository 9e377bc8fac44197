//! Programs of the tools tree, run through `strake-image tool`, and commands that must succeed.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

#[derive(Debug, Clone)]
pub struct Tools {
    strake_image: PathBuf,
    work: PathBuf,
}

impl Tools {
    pub fn new(strake_image: PathBuf, work: &Path) -> Self {
        Self {
            strake_image,
            work: work.to_owned(),
        }
    }

    /// `strake-image` itself.
    pub fn strake_image(&self) -> Command {
        let mut command = Command::new(&self.strake_image);
        command.env("STRAKE_DIR", &self.work).stdin(Stdio::null());
        command
    }

    /// `strake-release`, where [`crate::programs::publisher`] builds it.
    pub fn strake_release(&self) -> PathBuf {
        self.strake_image.with_file_name("strake-release")
    }

    /// `strake`, built for the image; it runs here as well.
    pub fn strake(&self) -> Command {
        let mut command = Command::new(self.strake_image.with_file_name("strake"));
        command.stdin(Stdio::null());
        command
    }

    /// Makes the tree when it is missing. `strake-image` shows its own progress.
    pub fn prepare(&self) -> Result<()> {
        run_visibly(self.strake_image().arg("tools"))
    }

    /// A program of the tree. It replaces `strake-image`, so the child's id is the program's.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.strake_image();
        command.args(["tool", "--", program]);
        command
    }

    pub fn run<I, S>(&self, program: &str, arguments: I) -> Result<String>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        run(self.command(program).args(arguments))
    }
}

/// Standard output of a command that must succeed; its standard error is part of the error.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("running {}", describe(command)))?;
    if !output.status.success() {
        bail!(
            "{} ended with {}\n{}",
            describe(command),
            output.status,
            text_of(&output)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The same for a command whose output the user wants to see as it comes. All of it goes to
/// standard error; standard output is for what the user asked for.
pub fn run_visibly(command: &mut Command) -> Result<()> {
    command.stdout(io::stderr().as_fd().try_clone_to_owned()?);
    let status = command
        .status()
        .with_context(|| format!("running {}", describe(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", describe(command));
    }
    Ok(())
}

fn text_of(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|text| String::from_utf8_lossy(text))
        .concat()
}

fn describe(command: &Command) -> String {
    let arguments = command
        .get_args()
        .map(|argument| argument.to_string_lossy());
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default();
    std::iter::once(program.to_string_lossy())
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_is_reported_with_what_it_said() {
        let error = run(Command::new("/bin/sh").args(["-c", "echo no such disk >&2; exit 3"]));
        let text = error.unwrap_err().to_string();
        assert!(text.starts_with("sh -c echo no such disk"), "{text}");
        assert!(text.contains("exit status: 3\nno such disk"), "{text}");
    }
}
