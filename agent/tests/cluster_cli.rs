//! `strake cluster` on the command line, as an operator uses it, on a cluster of three real members.

mod etcd;
mod members;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use etcd::{Config, Machine, until};
use members::{founded, run, strake, whole};
use strake_agent::cluster::authority::Request;
use strake_agent::cluster::clock::Clock;
use strake_agent::cluster::join::{self, Caller};
use strake_agent::cluster::secret::JoinSecret;
use tokio::task::LocalSet;

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
            let Some(machines) = founded(&config, &[]).await else {
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
            let Some(mut machines) = founded(&config, &[]).await else {
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
