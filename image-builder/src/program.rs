//! Runs child programs and says, when one fails, what it was and what it said.

use std::io::Read;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// Lines of a failed program's own words that are repeated in the error.
const KEPT_LINES: usize = 12;

/// Runs to the end; standard output is returned, standard error is kept for the error text.
pub fn run(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {}", name(command)))?;
    check(command, output)
}

/// The same with standard input fed from `input`, which runs on the calling thread.
pub fn run_fed(
    command: &mut Command,
    input: impl FnOnce(&mut std::process::ChildStdin) -> Result<()>,
) -> Result<Vec<u8>> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", name(command)))?;
    let mut stdin = child.stdin.take().expect("piped above");
    let mut stderr = child.stderr.take().expect("piped above");
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stderr.read_to_end(&mut text);
        text
    });
    let fed = input(&mut stdin);
    drop(stdin);
    let status = child
        .wait()
        .with_context(|| format!("waiting for {}", name(command)))?;
    let stderr = reader.join().unwrap_or_default();
    // The program's own complaint explains a broken pipe, so it goes first.
    let output = check(
        command,
        Output {
            status,
            stdout: Vec::new(),
            stderr,
        },
    )?;
    fed.map(|()| output)
}

fn check(command: &Command, output: Output) -> Result<Vec<u8>> {
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let mut lines: Vec<&str> = said
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines.dedup();
    let last = lines[lines.len().saturating_sub(KEPT_LINES)..].join("\n  ");
    bail!("{} ended with {}:\n  {last}", name(command), output.status)
}

/// The program's name; behind `strake-image tool` the one that it stands for.
fn name(command: &Command) -> String {
    let mut words = command.get_args().skip_while(|word| *word != "--").skip(1);
    let program = words.next().unwrap_or(command.get_program());
    program.to_string_lossy().into_owned()
}
