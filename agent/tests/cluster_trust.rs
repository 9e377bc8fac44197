//! A new authority in the place of the old one, and machines that are let in no more, as an operator
//! does it on real members: everybody else goes on talking all the time.

mod etcd;
mod members;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail, ensure};
use etcd::{Config, Machine, tool, until};
use members::{founded, run, strake, whole};
use strake_agent::cluster::anchor::Anchor;
use strake_agent::cluster::authority::Request;
use strake_agent::cluster::clock::Clock;
use strake_agent::cluster::join::{self, Caller};
use strake_agent::cluster::store::Store;
use strake_agent::cluster::trust::Step;
use tokio::task::LocalSet;

fn signer(machine: &Machine) -> Result<String> {
    let identity = machine.identity();
    let identity = identity.ok_or_else(|| anyhow::anyhow!("no certificate"))?;
    Ok(identity.leaf.authority)
}

/// Until nobody is behind, as the operator is told.
async fn caught_up(machine: &Machine, authorities: usize) {
    until("nobody is behind", async || {
        let (code, text) = run(machine, "authority show -o json").await?;
        ensure!(code == Some(0), "{text}");
        let shown: serde_json::Value = serde_json::from_str(&text)?;
        let count = shown["authorities"].as_array().map(Vec::len);
        let behind = shown["behind"].as_array().map(Vec::len);
        ensure!((count, behind) == (Some(authorities), Some(0)), "{text}");
        Ok(())
    })
    .await;
}

/// All machines, members or not, read and write through every member.
async fn all_talk(machines: &[Machine], seeds: &[IpAddr]) {
    for machine in machines {
        for seed in seeds {
            until("a machine uses a member", async || {
                let mut store = machine.store(&[*seed]).await?;
                store.shut_out("192.0.2.9".parse()?).await?;
                ensure!(store.status().await?.leader != 0, "no leader");
                Ok(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn an_authority_is_replaced_while_all_go_on_talking() {
    let mut config = Config::new(85, 3);
    LocalSet::new()
        .run_until(async {
            let Some(mut machines) = founded(&config, &[]).await else {
                return;
            };
            let etcd = tool("etcd").expect("there was one");
            let seeds = config.addresses[..3].to_vec();
            let mut client = config.machine(5, &etcd);
            client.boot(&config.json());
            machines.push(client);
            until("the machine is in", async || {
                ensure!(machines[3].identity().is_some());
                Ok(())
            })
            .await;
            let old = signer(&machines[0]).expect("a certificate");
            let status = strake(&machines[0], "status", 0).await;
            assert!(
                status.contains("authority: 0 days old, good for 729"),
                "{status}"
            );
            assert!(!status.contains("WARNING"), "{status}");
            strake(&machines[3], "authority new", 2).await;
            for early in ["authority use", "authority retire"] {
                let text = strake(&machines[0], early, 2).await;
                assert!(text.contains("there is no new authority"), "{text}");
            }

            strake(&machines[0], "authority new", 0).await;
            let twice = strake(&machines[1], "authority new", 2).await;
            assert!(twice.contains("being replaced already"), "{twice}");
            let early = strake(&machines[1], "authority use", 1).await;
            assert!(early.contains("its etcd has not begun anew yet"), "{early}");
            caught_up(&machines[1], 2).await;
            all_talk(&machines, &seeds).await;
            assert_eq!(signer(&machines[3]).expect("a certificate"), old);

            // Away while the new one comes into use: it finds its way back before the old one goes.
            machines[3].crash();
            strake(&machines[1], "authority use", 0).await;
            until("the members are of the new one", async || {
                for machine in &machines[..3] {
                    ensure!(signer(machine)? != old);
                }
                Ok(())
            })
            .await;
            let early = strake(&machines[1], "authority retire", 1).await;
            assert!(early.contains("no certificate of the new"), "{early}");
            machines[3].boot(&config.json());
            until("the machine is of the new one", async || {
                ensure!(signer(&machines[3])? != old);
                Ok(())
            })
            .await;
            caught_up(&machines[2], 2).await;
            all_talk(&machines, &seeds).await;

            strake(&machines[2], "authority retire", 0).await;
            caught_up(&machines[0], 1).await;
            until("nobody trusts the old one", async || {
                for machine in &machines {
                    let trust = machine.settings().trust;
                    ensure!(
                        trust.step == Step::Settled && trust.version == 3,
                        "{trust:?}"
                    );
                }
                Ok(())
            })
            .await;
            whole(&machines[0]).await;
            all_talk(&machines, &seeds).await;
            let new = signer(&machines[0]).expect("a certificate");
            assert_ne!(new, old);

            // What is signed by the old one opens nothing any more: neither etcd nor the way in.
            let stranger = config.machine(6, &etcd);
            stranger.configure(&config.json());
            let clock = Clock::load(&stranger.place.root);
            let settings = stranger.settings();
            let caller = Caller::new(&settings, None, None, clock).expect("a caller");
            let request = Request::new(None).expect("a request");
            let refused = join::by_secret(&caller, &settings, None, &request).await;
            let refused = format!("{:#}", refused.expect_err("of the old authority"));
            assert!(refused.contains("of another authority"), "{refused}");

            // The config of machines that come later.
            let part = strake(&machines[1], "authority config", 0).await;
            let lines = part.lines().map(str::trim);
            let ca: String = lines
                .clone()
                .skip_while(|line| !line.starts_with("-----BEGIN"))
                .take_while(|line| !line.starts_with("ca_key"))
                .map(|line| format!("{line}\n"))
                .collect();
            assert_eq!(Anchor::parse(&ca).expect("a certificate").key_id, new);
            let key = lines.clone().find_map(|line| line.strip_prefix("ca_key: "));
            let before = config.json();
            (config.ca, config.ca_key) = (ca, key.map(str::to_string));
            let mut late = config.machine(6, &etcd);
            late.boot(&config.json());
            until("a machine with the new config is in", async || {
                ensure!(signer(&late)? == new);
                Ok(())
            })
            .await;
            // A member with an empty disk comes back with the new config, and stays with the old.
            machines[2].lose_disk();
            machines[2].boot(&config.json());
            whole(&machines[0]).await;
            machines[1].crash();
            machines[1].boot(&before);
            whole(&machines[0]).await;
        })
        .await;
}

#[tokio::test]
async fn an_authority_that_ends_within_a_year_is_told_and_replaced() {
    let Some(etcd) = tool("etcd") else {
        println!("SKIPPED: no tools tree with etcd below target/strake/tools");
        return;
    };
    let day = Duration::from_secs(24 * 3600);
    let then = SystemTime::now() - 20 * 365 * day + 30 * day + day / 2;
    let config = Config::made(87, 1, then);
    LocalSet::new()
        .run_until(async {
            let mut member = config.machine(0, &etcd);
            member.boot(&config.json());
            until("the member serves and warns", async || {
                let (code, text) = run(&member, "status").await?;
                let warns = text.contains("WARNING: the authority ends in 30 days");
                ensure!(code == Some(0) && warns, "{text}");
                Ok(())
            })
            .await;
            // No certificate can be good for longer: there is no use in asking for another one.
            let first = member.identity().expect("a certificate").leaf;
            strake(&member, "authority new", 0).await;
            caught_up(&member, 2).await;
            let second = member.identity().expect("a certificate").leaf;
            assert_eq!(first.serial, second.serial);
            for step in ["authority use", "authority retire"] {
                strake(&member, step, 0).await;
                until("the new one is used", async || {
                    let (code, text) = run(&member, "authority show -o json").await?;
                    ensure!(code == Some(0) && text.contains("\"behind\": []"), "{text}");
                    Ok(())
                })
                .await;
            }
            until("nothing is to be warned of", async || {
                let (code, text) = run(&member, "status").await?;
                ensure!(code == Some(0) && !text.contains("WARNING"), "{text}");
                Ok(())
            })
            .await;
            assert!(member.identity().expect("a certificate").leaf.not_after > first.not_after);
        })
        .await;
}

#[tokio::test]
async fn a_revoked_machine_is_let_in_nowhere_and_all_others_stay() {
    let config = Config::new(86, 3);
    LocalSet::new()
        .run_until(async {
            let Some(machines) = founded(&config, &[]).await else {
                return;
            };
            let etcd = tool("etcd").expect("there was one");
            let mut lost = config.machine(5, &etcd);
            lost.boot(&config.json());
            until("the machine is in", async || {
                lost.store(&config.addresses[..1]).await?.members().await?;
                Ok(())
            })
            .await;
            let identity = lost.identity().expect("a certificate");
            let serial = identity.leaf.serial_text();
            // Connections on loopback come from there.
            let own: IpAddr = "127.0.0.1".parse().expect("an address");
            let mut open = lost.store(&config.addresses[..1]).await.expect("a store");
            let first = &machines[0];
            strake(first, "certificate revoke 192.0.2.1", 3).await;
            let member = format!("certificate revoke {}", config.addresses[1]);
            let text = strake(first, &member, 2).await;
            assert!(text.contains("authority new"), "{text}");
            strake(first, "certificate revoke nonsense", 2).await;
            strake(first, &format!("certificate allow {own}"), 3).await;
            let list = strake(first, "certificate list", 0).await;
            assert!(
                list.contains(&serial) && !list.contains("revoked"),
                "{list}"
            );
            strake(first, &format!("certificate revoke {own}"), 0).await;
            let list = strake(first, "certificate list -o json", 0).await;
            let list: serde_json::Value = serde_json::from_str(&list).expect("json");
            let rows = list.as_array().expect("a list").iter();
            let mut rows = rows.filter(|row| row["serial"] == serial.as_str());
            assert_eq!(rows.next().expect("it is told")["revoked"], true, "{list}");

            let settings = lost.settings();
            for seed in &config.addresses[..3] {
                until("no member of etcd takes its certificate", async || {
                    let asked = async {
                        let mut store = Store::of(&[*seed], &settings.ca, &identity).await?;
                        store.members().await
                    };
                    match asked.await {
                        Ok(_) => bail!("{seed} lets it in"),
                        Err(_) => Ok(()),
                    }
                })
                .await;
            }
            until("the connection that was open has ended", async || {
                ensure!(open.members().await.is_err());
                Ok(())
            })
            .await;
            let clock = Clock::load(&lost.place.root);
            let caller = Caller::new(&settings, Some(&identity), None, clock).expect("a caller");
            let request = Request::new(None).expect("a request");
            let renewed = join::by_certificate(&caller, &settings, None, &request).await;
            let renewed = format!("{:#}", renewed.expect_err("revoked"));
            assert!(
                renewed.contains("certificate") && renewed.contains("was revoked"),
                "{renewed}"
            );
            let joined = join::by_secret(&caller, &settings, None, &request).await;
            let joined = format!("{:#}", joined.expect_err("revoked"));
            assert!(joined.contains("lets it join again"), "{joined}");
            whole(first).await;
            let names: Vec<PathBuf> = machines
                .iter()
                .map(|machine| {
                    machine
                        .place
                        .root
                        .locate(Path::new("/state/cluster/revoked"))
                })
                .collect::<Result<_, _>>()
                .expect("paths");
            for name in names {
                let known = std::fs::read_to_string(&name).expect("a list");
                assert_eq!(known.trim(), serial);
            }

            strake(first, &format!("certificate allow {own}"), 0).await;
            until("the machine has another certificate", async || {
                let leaf = lost.identity().map(|identity| identity.leaf);
                let is_other = leaf.is_some_and(|leaf| leaf.serial_text() != serial);
                ensure!(is_other, "still the old one");
                lost.store(&config.addresses[..1]).await?.members().await?;
                Ok(())
            })
            .await;
        })
        .await;
}
