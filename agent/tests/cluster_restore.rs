//! `strake cluster restore` and `discard`, as an operator uses them on real members: all disks are
//! lost, a copy is damaged, a member is to begin anew.

mod etcd;
mod members;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use etcd::{Config, Machine, tool, until};
use members::{founded, strake, whole};
use sha2::{Digest, Sha256};
use tokio::task::LocalSet;

/// The tools tree's etcdutl, where the program looks for it.
fn install_tool(machine: &Machine) {
    let words = tool("etcdutl").expect("it is beside etcd");
    let dir = machine.place.root.locate("/tools".as_ref());
    let dir = dir.expect("a path");
    std::fs::create_dir_all(&dir).expect("a directory");
    let script = format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" "));
    let path = dir.join("etcdutl");
    std::fs::write(&path, script).expect("a program");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(path, mode).expect("a mode");
}

/// All there is below a directory.
fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => all.extend(content(&path)),
            false => {
                let bytes = std::fs::read(&path).expect("a file");
                all.insert(path, bytes);
            }
        }
    }
    all
}

fn data(machine: &Machine) -> BTreeMap<PathBuf, Vec<u8>> {
    let root = &machine.place.root;
    content(&root.locate("/var/lib/etcd".as_ref()).expect("a path"))
}

#[tokio::test]
async fn a_store_lost_on_all_members_comes_back_from_a_copy_restored_on_one() {
    let config = Config::new(83, 3);
    LocalSet::new()
        .run_until(async {
            let Some(mut machines) = founded(&config, &[]).await else {
                return;
            };
            let own = config.addresses[0];
            let kept = config.addresses[7];
            let mut store = machines[0].store(&[own]).await.expect("a store");
            store.shut_out(kept).await.expect("a key");
            let dir = tempfile::tempdir().expect("temp dir");
            let copy = dir.path().join("copy");
            strake(&machines[1], &format!("backup {}", copy.display()), 0).await;
            for machine in &mut machines {
                machine.lose_disk();
            }
            install_tool(&machines[0]);
            machines[0].configure(&config.json());
            let restore = format!("restore {} --alone --address {own}", copy.display());
            strake(&machines[0], &restore, 0).await;
            // The empty ones first: they must not found a cluster of their own.
            for number in [1, 2, 0] {
                machines[number].boot(&config.json());
            }
            until("the restored member has its certificate", async || {
                ensure!(machines[0].identity().is_some());
                Ok(())
            })
            .await;
            whole(&machines[0]).await;
            for machine in &machines {
                let mut store = machine.store(&[machine.address]).await.expect("a store");
                assert!(store.is_shut_out(kept).await.expect("known"));
            }

            let second = config.addresses[1];
            let running = strake(&machines[1], &format!("discard --address {second}"), 1).await;
            assert!(running.contains("etcd runs on this data"), "{running}");
            machines[1].crash();
            strake(&machines[1], &format!("discard --address {second}"), 0).await;
            strake(&machines[1], &format!("discard --address {second}"), 3).await;
            machines[1].boot(&config.json());
            whole(&machines[0]).await;
        })
        .await;
}

#[tokio::test]
async fn a_copy_that_is_not_whole_is_refused_and_the_data_stays_as_it_was() {
    let Some(etcd) = tool("etcd") else {
        println!("SKIPPED: no tools tree with etcd below target/strake/tools");
        return;
    };
    let config = Config::new(84, 1);
    LocalSet::new()
        .run_until(async {
            let mut member = config.machine(0, &etcd);
            member.boot(&config.json());
            let own = member.address;
            let dir = tempfile::tempdir().expect("temp dir");
            let path = |name: &str| dir.path().join(name);
            let copy = path("copy");
            until("a copy is made", async || {
                let words = format!("backup {}", copy.display());
                let (code, text) = members::run(&member, &words).await?;
                ensure!(code == Some(0), "{text}");
                Ok(())
            })
            .await;
            install_tool(&member);
            let restore = |name: &str| {
                let path = path(name);
                format!("restore {} --address {own}", path.display())
            };
            let running = strake(&member, &restore("copy"), 1).await;
            assert!(running.contains("etcd runs on this data"), "{running}");
            member.crash();

            let whole = std::fs::read(&copy).expect("the copy");
            let mut changed = whole.clone();
            changed[whole.len() / 2] ^= 1;
            let mut nonsense = vec![7; 8192];
            let digest: [u8; 32] = Sha256::digest(&nonsense).into();
            nonsense.extend(digest);
            let put = |name: &str, bytes: &[u8]| std::fs::write(path(name), bytes).expect(name);
            put("truncated", &whole[..whole.len() / 2]);
            put("changed", &changed);
            put("empty", b"");
            put("text", b"not a copy\n");
            put("nonsense", &nonsense);
            let before = data(&member);
            for (name, code, told) in [
                ("missing", 2, "No such file"),
                ("truncated", 2, "truncated is"),
                ("changed", 2, "changed is damaged: its digest is wrong"),
                ("empty", 2, "empty is no whole backup: its length is 0"),
                ("text", 2, "text is no whole backup: its length is 11"),
                ("nonsense", 1, "nonsense cannot be restored"),
            ] {
                let text = strake(&member, &restore(name), code).await;
                assert!(text.contains(told), "{name}: {text}");
                assert!(data(&member) == before, "{name} has changed the data");
            }
            let stranger = format!("restore {} --address 192.0.2.1", copy.display());
            let text = strake(&member, &stranger, 1).await;
            assert!(text.contains("this machine is no member"), "{text}");
            assert!(data(&member) == before, "the data of a stranger");
            strake(&member, &restore("copy"), 0).await;
            member.boot(&config.json());
            until("the restored member serves", async || {
                let (code, text) = members::run(&member, "status").await?;
                ensure!(code == Some(0), "{text}");
                Ok(())
            })
            .await;
        })
        .await;
}
