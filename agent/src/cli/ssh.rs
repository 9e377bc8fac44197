//! ssh to another machine of the cluster.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::unit::find;
use crate::exit::Exit;
use crate::scheduler::machine::{Machine, MachineId};
use crate::scheduler::model::Model;
use crate::scheduler::orders;
use crate::scheduler::part::part;
use crate::store::etcd::Etcd;

#[derive(Debug, Args)]
pub(super) struct Ssh {
    /// The user there
    #[arg(short, long, value_name = "USER", default_value = "core")]
    user: String,
    #[arg(short, long, value_name = "PORT", default_value_t = 22)]
    port: u16,
    /// Run this there instead of a shell
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Ssh {
    /// Ends with ssh in place of this program, or with why there is none.
    pub(super) fn run(&self, machine: &Machine) -> Result<Exit> {
        let port = self.port.to_string();
        let login = Login {
            address: &machine.address,
            port: &port,
            user: &self.user,
            options: Vec::new(),
        };
        let error = login.command(&self.command)?.exec();
        Err(error).context("running ssh")
    }

    pub(super) async fn run_at(
        &self,
        store: &Etcd,
        word: &str,
        machine: Option<&str>,
    ) -> Result<Exit> {
        let unit = find::known(word)?;
        let model = part(store, std::slice::from_ref(&unit)).await?;
        if !model.units.contains_key(&unit) {
            return Err(orders::Error::NoUnit(unit).into());
        }
        let holders = model.holders(&unit);
        match chosen(&model, holders, machine) {
            Ok(machine) => self.run(machine),
            Err(why) => {
                eprintln!("strake: error: {unit} {why}");
                Ok(Exit::BadInput)
            }
        }
    }
}

fn chosen<'m>(
    model: &'m Model,
    mut holders: Vec<&MachineId>,
    machine: Option<&str>,
) -> Result<&'m Machine, &'static str> {
    if let Some(named) = machine {
        holders.retain(|id| id.is_named(named));
    }
    let id = match (holders.as_slice(), machine) {
        ([one], _) => *one,
        ([], None) => return Err("is on no machine"),
        ([], Some(_)) => return Err("is not on that machine"),
        _ => return Err("is on several machines: name one with --machine ID"),
    };
    let machine = model.machine(id).map(AsRef::as_ref);
    machine.ok_or("is on a machine that is away: its lease is over")
}

/// How one gets there.
#[derive(Debug)]
pub(super) struct Login<'a> {
    pub(super) address: &'a str,
    pub(super) port: &'a str,
    pub(super) user: &'a str,
    pub(super) options: Vec<String>,
}

impl Login<'_> {
    pub(super) fn command(&self, words: &[String]) -> Result<Command> {
        if self.address.is_empty() {
            bail!("that machine tells no address");
        }
        let mut ssh = Command::new("ssh");
        ssh.args(["-p", self.port, "-l", self.user])
            .args(&self.options)
            .arg(self.address)
            .arg("--")
            .args(words.iter().map(|word| quoted(word)));
        Ok(ssh)
    }
}

/// ssh hands the words to a shell on the other side.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@%+,".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_string(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_other_side_as_they_are() {
        assert_eq!(quoted("systemctl"), "systemctl");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn ssh_is_told_where_as_whom_and_what() {
        let login = Login {
            address: "10.0.0.7",
            port: "2222",
            user: "ann",
            options: vec!["-A".to_string()],
        };
        let words = ["ls", "a b"].map(str::to_string);
        let command = login.command(&words).expect("a way");
        let words: Vec<_> = command
            .get_args()
            .filter_map(|word| word.to_str())
            .collect();
        let expected = "-p 2222 -l ann -A 10.0.0.7 -- ls 'a b'";
        assert_eq!(words.join(" "), expected);
        let nowhere = Login {
            address: "",
            ..login
        };
        let error = nowhere.command(&[]).expect_err("no address");
        assert_eq!(error.to_string(), "that machine tells no address");
    }
}
