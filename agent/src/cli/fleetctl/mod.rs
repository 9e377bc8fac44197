//! The applet `fleetctl`: the original's verbs, flags, columns and messages, over fleet's API.
//!
//! Mended where no script could rely on the defect: short flags work, an unknown `[X-Fleet]` option
//! is refused, waiting looks five times a second. `verify` checks unit files; the original's checked
//! signatures that nobody had.

mod client;
mod flags;
mod list;
mod orders;
mod remote;
mod way;

use std::ffi::OsString;
use std::time::Duration;

use anyhow::Result;

use self::client::Client;
use self::flags::{FLAGS, Flags};
use super::output::print;
use super::runtime::on_one_thread;
use super::unit::find;
use crate::exit::Exit;

const VERBS: [(&str, &str); 18] = [
    ("cat", "print the text of units"),
    ("destroy", "stop units and forget them"),
    (
        "fd-forward",
        "connect standard input and output to a unix socket",
    ),
    ("help", "print this"),
    ("journal", "print the journal of a unit"),
    ("list-machines", "machines that are there"),
    ("list-unit-files", "known units"),
    ("list-units", "units on machines"),
    ("load", "give units to a machine"),
    ("restart", "stop units and start them"),
    ("ssh", "log in at a machine or where a unit is"),
    ("start", "start units"),
    ("status", "what systemd says of units"),
    ("stop", "stop units"),
    ("submit", "make units known"),
    ("unload", "stop units and take them from their machine"),
    ("verify", "check unit files"),
    ("version", "print the version"),
];

pub(super) fn run(arguments: &[OsString]) -> Result<Exit> {
    let words = arguments
        .iter()
        .map(|word| word.to_string_lossy().into_owned());
    let flags = match Flags::parse(words, |name| std::env::var(name).ok()) {
        Ok(flags) => flags,
        Err(wrong) => {
            eprintln!("fleetctl: {wrong}\nRun 'fleetctl help' for usage.");
            return Ok(Exit::BadInput);
        }
    };
    let verb = flags.verb.clone().unwrap_or_else(|| "help".to_string());
    if flags.is_set("version") || verb == "version" {
        print(&format!("fleetctl version {}\n", env!("CARGO_PKG_VERSION")));
        return Ok(Exit::Done);
    }
    if flags.is_set("help") || verb == "help" {
        print(&usage());
        return Ok(Exit::Done);
    }
    if !flags.value("tunnel").is_empty() {
        eprintln!("fleetctl: --tunnel is not there: log in at that machine, or use `strake unit`");
        return Ok(Exit::BadInput);
    }
    if verb == "verify" {
        let files: Vec<_> = flags.words.iter().map(Into::into).collect();
        return find::verify(&files);
    }
    if verb == "fd-forward" {
        return forward(
            flags
                .words
                .first()
                .map_or("/var/run/fleet.sock", String::as_str),
        );
    }
    let seconds = flags
        .number("request-timeout")
        .map_err(anyhow::Error::msg)?;
    let client = Client::new(&flags, Duration::from_secs(seconds))?;
    on_one_thread(async {
        match verb.as_str() {
            "list-units" => list::units(&client, &flags).await,
            "list-unit-files" => list::files(&client, &flags).await,
            "list-machines" => list::machines(&client, &flags).await,
            "submit" | "load" | "start" | "stop" | "unload" => {
                orders::set(&client, &flags, &verb).await
            }
            "restart" => orders::restart(&client, &flags).await,
            "destroy" => orders::destroy(&client, &flags).await,
            "cat" => orders::cat(&client, &flags).await,
            "status" => remote::status(&client, &flags).await,
            "journal" => remote::journal(&client, &flags).await,
            "ssh" => remote::ssh(&client, &flags).await,
            unknown => {
                eprintln!(
                    "fleetctl: unknown subcommand: {unknown:?}\nRun 'fleetctl help' for usage."
                );
                Ok(Exit::BadInput)
            }
        }
    })?
}

fn usage() -> String {
    let mut text = "Usage: fleetctl [FLAGS] COMMAND [FLAGS] [WORD]...\n\nCommands:\n".to_string();
    for (verb, does) in VERBS {
        text += &format!("  {verb:16} {does}\n");
    }
    text += "\nFlags, also as FLEETCTL_FLAG in the environment:\n";
    for (name, default, does) in FLAGS {
        let default = default.filter(|default| !default.is_empty());
        let default = default.map(|default| format!(" ({default})"));
        text += &format!("  --{name:26} {does}{}\n", default.unwrap_or_default());
    }
    text
}

/// What an ssh tunnel to the socket is made of.
fn forward(path: &str) -> Result<Exit> {
    use anyhow::Context as _;
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    let stream = UnixStream::connect(path);
    let mut stream = stream.with_context(|| format!("connecting to {path}"))?;
    let mut sending = stream.try_clone().context("sharing the connection")?;
    std::thread::spawn(move || {
        // Whoever ends first ends the other one.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut sending);
        let _ = sending.shutdown(Shutdown::Write);
    });
    std::io::copy(&mut stream, &mut std::io::stdout().lock()).context("forwarding")?;
    Ok(Exit::Done)
}
