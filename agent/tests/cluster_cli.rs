//! `strake cluster` on the command line, as an operator uses it, on a cluster of three real members.

mod etcd;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use etcd::{Config, Machine, tool, until};
use strake_agent::cluster::authority::Request;
use strake_agent::cluster::clock::Clock;
use strake_agent::cluster::join::{self, Caller};
use strake_agent::cluster::secret::JoinSecret;
use tokio::process::Command;
use tokio::task::LocalSet;

/// What the command says on this machine; it has to end with this code.
async fn strake(machine: &Machine, words: &str, code: i32) -> String {
    let (ended, text) = run(machine, words).await.expect("the program runs");
    assert_eq!(ended, Some(code), "{words}: {text}");
    text
}

async fn run(machine: &Machine, words: &str) -> Result<(Option<i32>, String)> {
    let root = machine.place.root.locate("/".as_ref())?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_strake"));
    command
        .arg("cluster")
        .args(words.split(' '))
        .arg("--root")
        .arg(root);
    let output = command.output().await?;
    let text = [output.stdout, output.stderr].map(|t| String::from_utf8_lossy(&t).into_owned());
    Ok((output.status.code(), text.concat()))
}

/// Until all three are members and follow one leader, as the command tells it.
async fn whole(machine: &Machine) {
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

async fn founded(config: &Config) -> Option<Vec<Machine>> {
    let Some(etcd) = tool("etcd") else {
        println!("SKIPPED: no tools tree with etcd below target/strake/tools");
        return None;
    };
    let mut machines: Vec<Machine> = (0..3).map(|number| config.machine(number, &etcd)).collect();
    for machine in &mut machines {
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

/// Whether a machine that shows this secret gets a certificate.
async fn joins(machine: &Machine, secret: &JoinSecret) -> Result<()> {
    let mut settings = machine.settings();
    let clock = Clock::load(&machine.place.root);
    let caller = Caller::new(&settings, None, None, clock)?;
    settings.join_secret = secret.clone();
    let request = Request::new(None)?;
    join::by_secret(&caller, &settings, None, &request).await?;
    Ok(())
}

#[tokio::test]
async fn a_secret_is_rotated_without_anybody_being_left_out() {
    let config = Config::new(81, 3);
    LocalSet::new()
        .run_until(async {
            let Some(machines) = founded(&config).await else {
                return;
            };
            let first = &machines[0];
            let old = config.secret.id();
            let list = strake(first, "secret list", 0).await;
            assert!(
                list.contains(&old) && list.contains("this machine's"),
                "{list}"
            );
            let told = strake(first, "secret new", 0).await;
            let new = told
                .lines()
                .find_map(|line| line.strip_prefix("join_secret: "));
            let new: JoinSecret = new.expect(&told).parse().expect("a secret");
            joins(first, &config.secret)
                .await
                .expect("by the old one, until it is revoked");
            joins(first, &new).await.expect("by the new one, at once");
            strake(first, &format!("secret revoke {old}"), 0).await;
            let refused = joins(first, &config.secret).await.expect_err("revoked");
            assert!(
                format!("{refused:#}").contains("was revoked"),
                "{refused:#}"
            );
            joins(first, &new).await.expect("by the new one");
            let list = strake(&machines[1], "secret list -o json", 0).await;
            let list: serde_json::Value = serde_json::from_str(&list).expect("json");
            let standing = |id: &str| {
                let rows = list.as_array().expect("a list").iter();
                let mut rows = rows.filter(|row| row["id"] == id);
                rows.next().map(|row| row["standing"].clone())
            };
            assert_eq!(standing(&old), Some("revoked".into()), "{list}");
            assert_eq!(standing(&new.id()), Some("good".into()), "{list}");
            strake(first, "secret revoke nonsense", 2).await;
        })
        .await;
}

#[tokio::test]
async fn members_are_taken_out_let_in_and_replaced_and_the_store_is_copied() {
    let config = Config::new(82, 3);
    LocalSet::new()
        .run_until(async {
            let Some(mut machines) = founded(&config).await else {
                return;
            };
            let third = config.addresses[2];
            strake(&machines[0], &format!("members add {third}"), 3).await;
            // etcd lets nobody go until it has seen all members well for some seconds.
            until("etcd lets the third go", async || {
                let (code, text) = run(&machines[0], &format!("members remove {third}")).await?;
                ensure!(code == Some(0), "{text}");
                Ok(())
            })
            .await;
            until("two members are left", async || {
                let (_, text) = run(&machines[0], "status").await?;
                ensure!(text.contains("not added"), "{text}");
                Ok(())
            })
            .await;
            strake(&machines[0], "members add 192.0.2.1", 1).await;
            strake(&machines[0], &format!("members add {third}"), 0).await;
            whole(&machines[0]).await;
            machines[2].lose_disk();
            until("etcd lets the lost one go", async || {
                let (code, text) = run(&machines[0], &format!("members replace {third}")).await?;
                // 3: the last try was heard after all.
                ensure!(matches!(code, Some(0 | 3)), "{text}");
                Ok(())
            })
            .await;
            machines[2].boot(&config.json());
            whole(&machines[0]).await;

            let dir = tempfile::tempdir().expect("temp dir");
            let file: PathBuf = dir.path().join("copy");
            let copied = strake(&machines[1], &format!("backup {}", file.display()), 0).await;
            assert!(copied.contains("bytes"), "{copied}");
            assert!(std::fs::metadata(&file).expect("a file").len() > 10_000);
            let nowhere = dir.path().join("none/copy");
            strake(&machines[1], &format!("backup {}", nowhere.display()), 1).await;
        })
        .await;
}
