//! The built program on clusters of real members.

use anyhow::{Result, ensure};
use tokio::process::Command;

use crate::etcd::{Config, Machine, tool, until};

/// What the command says on this machine; it has to end with this code.
pub(crate) async fn strake(machine: &Machine, words: &str, code: i32) -> String {
    let (ended, text) = run(machine, words).await.expect("the program runs");
    assert_eq!(ended, Some(code), "{words}: {text}");
    text
}

pub(crate) async fn run(machine: &Machine, words: &str) -> Result<(Option<i32>, String)> {
    let root = machine.place.root.locate("/".as_ref())?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_strake"));
    command
        .arg("cluster")
        .args(words.split(' '))
        .env("PATH", root.join("tools"))
        .arg("--root")
        .arg(root);
    let output = command.output().await?;
    let text = [output.stdout, output.stderr].map(|t| String::from_utf8_lossy(&t).into_owned());
    Ok((output.status.code(), text.concat()))
}

/// Until all three are members and follow one leader, as the command tells it.
pub(crate) async fn whole(machine: &Machine) {
    until("three members follow one leader", async || {
        let (code, text) = run(machine, "status -o json").await?;
        ensure!(code == Some(0), "{text}");
        let report: serde_json::Value = serde_json::from_str(&text)?;
        let members = report["members"].as_array();
        let up = |member: &serde_json::Value| {
            ["leader", "follower"]
                .iter()
                .any(|word| member["standing"] == *word)
        };
        ensure!(
            members.is_some_and(|all| all.len() == 3 && all.iter().all(up)),
            "{text}"
        );
        Ok(())
    })
    .await;
}

/// Nothing, with the reason printed, where there is no etcd.
pub(crate) async fn founded(
    config: &Config,
    variables: &[(&'static str, &'static str)],
) -> Option<Vec<Machine>> {
    let Some(etcd) = tool("etcd") else {
        println!("SKIPPED: no tools tree with etcd below target/strake/tools");
        return None;
    };
    let mut machines: Vec<Machine> = (0..3).map(|number| config.machine(number, &etcd)).collect();
    for machine in &mut machines {
        machine.process.variables.extend_from_slice(variables);
        machine.boot(&config.json());
    }
    until("the first machine has its certificate", async || {
        ensure!(machines[0].identity().is_some());
        Ok(())
    })
    .await;
    whole(&machines[0]).await;
    Some(machines)
}
