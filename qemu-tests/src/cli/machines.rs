//! Commands for the machines and the network of a running lab.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;

use anyhow::{Context, Result, bail};
use strake_qemu_tests::console::{Console, Plain};
use strake_qemu_tests::lab::{Lab, machine_name};
use strake_qemu_tests::switch::{Answer, Port, Request};
use strake_qemu_tests::tools::Tools;

use super::{Exit, terminal};

pub(super) fn down(lab: &Lab) -> Result<Exit> {
    match lab.down()? {
        Some(machines) => {
            println!("ended the lab and removed its {machines} machines");
            Ok(Exit::Done)
        }
        None => {
            println!("there is no such lab");
            Ok(Exit::NothingToDo)
        }
    }
}

pub(super) fn ssh(lab: &Lab, number: Port, words: &[String], tools: &Tools) -> Result<Exit> {
    let mut command = lab.ssh(number, tools)?;
    command.stdin(std::process::Stdio::inherit()).args(words);
    Err(command.exec()).context("running ssh")
}

pub(super) fn console(lab: &Lab, number: Port) -> Result<Exit> {
    lab.running(number)?;
    terminal::hold(&lab.files(number).console_socket)?;
    Ok(Exit::Done)
}

pub(super) fn logs(lab: &Lab, number: Port) -> Result<Exit> {
    lab.record(number)?;
    let raw = std::fs::read(lab.files(number).console_log).context("reading the console's log")?;
    print(&Plain::lines(&raw))?;
    Ok(Exit::Done)
}

pub(super) fn follow_logs(lab: &Lab, number: Port) -> Result<Exit> {
    let record = lab.record(number)?;
    let mut console = Console::follow(&lab.files(number).console_log)?;
    let ended = record.process.open();
    let mut shown = 0;
    loop {
        console.update()?;
        print(&console.lines()[shown..])?;
        shown = console.lines().len();
        match &ended {
            Ok(ended) if !terminal::ready_or_ended(&console, ended)? => {}
            _ => return Ok(Exit::Done),
        }
    }
}

fn print(lines: &[String]) -> Result<()> {
    let mut out = io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(out.flush()?)
}

pub(super) fn kill(lab: &Lab, number: Port) -> Result<Exit> {
    lab.kill(number)?;
    println!(
        "cut the power of {}; `cargo lab up` brings it back",
        machine_name(number)
    );
    Ok(Exit::Done)
}

pub(super) fn network(lab: &Lab, request: &Request) -> Result<Exit> {
    match lab
        .control()?
        .send(request)
        .context("talking to the lab's switch")?
    {
        Answer::State {
            connected,
            partition,
            ..
        } => {
            let cut =
                partition.map_or_else(|| "whole".to_owned(), |groups| format!("cut {groups}"));
            println!("the network is {cut}; machines on it: {connected:?}");
            Ok(Exit::Done)
        }
        Answer::Refused(reason) => bail!("the switch refused: {reason}"),
    }
}
