//! Real members: founding, a lost disk, certificates that are renewed, secrets that are revoked,
//! members that are removed, and a backup that is used.

mod etcd;

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use etcd::{Config, Machine, tool, until};
use strake_agent::cluster::authority::{Leaf, Request, Role};
use strake_agent::cluster::backup::{self, Founders};
use strake_agent::cluster::clock::Clock;
use strake_agent::cluster::join::{self, Caller};
use strake_agent::cluster::launch::Launch;
use strake_agent::cluster::report::{Report, Standing, look};
use strake_agent::cluster::secret::JoinSecret;
use strake_agent::cluster::upkeep;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::LocalSet;

async fn report(machine: &Machine) -> Result<Report> {
    let identity = machine.identity();
    let identity = identity.ok_or_else(|| anyhow::anyhow!("no certificate yet"))?;
    look(
        &machine.settings(),
        &identity,
        Clock::load(&machine.place.root),
    )
    .await
}

/// Until all `count` members are up and follow one leader.
async fn formed(machine: &Machine, count: usize) -> Report {
    until("all members follow a leader", async || {
        let report = report(machine).await?;
        let up = |standing| matches!(standing, Standing::Leader | Standing::Follower);
        let members = &report.members;
        let all = members.len() == count && members.iter().all(|member| up(member.standing));
        ensure!(all && report.quorum, "{report:?}\n{}", machine.log());
        Ok(report)
    })
    .await
}

/// What the service tells to Prometheus.
async fn figures(machine: &Machine) -> String {
    let socket = Path::new("/run/strake/metrics/cluster.sock");
    let socket = machine.place.root.locate(socket).expect("a path");
    let mut stream = UnixStream::connect(socket).await.expect("connected");
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

async fn founded(config: &Config, etcd: &[String], lifetime: Option<Duration>) -> Vec<Machine> {
    let mut machines = Vec::new();
    for number in 0..3 {
        let mut machine = match lifetime {
            Some(lifetime) => config.machine_for(number, etcd, lifetime),
            None => config.machine(number, etcd),
        };
        machine.boot(&config.json());
        machines.push(machine);
    }
    formed(&machines[0], 3).await;
    machines
}

fn etcd_or_skip() -> Option<Vec<String>> {
    let etcd = tool("etcd");
    if etcd.is_none() {
        println!("SKIPPED: no tools tree with etcd below target/strake/tools");
    }
    etcd
}

#[tokio::test]
async fn three_empty_members_with_one_config_are_a_cluster_and_let_machines_in() {
    let Some(etcd) = etcd_or_skip() else { return };
    let config = Config::new(71, 3);
    LocalSet::new()
        .run_until(async {
            let mut first = config.machine(0, &etcd);
            first.boot(&config.json());
            let mut second = config.machine(1, &etcd);
            second.boot(&config.json());
            until("both have their certificates", async || {
                ensure!(first.identity().is_some() && second.identity().is_some());
                Ok(())
            })
            .await;
            assert!(
                !first.process.is_up().await.expect("known"),
                "founded without the third"
            );
            let mut third = config.machine(2, &etcd);
            third.boot(&config.json());
            let report = formed(&first, 3).await;
            assert!(
                report
                    .members
                    .iter()
                    .all(|member| member.certificate_days_left == Some(89))
            );

            let mut client = config.machine(5, &etcd);
            client.boot(&config.json());
            until("a machine uses the store", async || {
                let mut store = client.store(&config.addresses[..3]).await?;
                store.shut_out(config.addresses[7]).await
            })
            .await;
            let leaf = client.identity().expect("a certificate").leaf;
            // Connections on loopback come from 127.0.0.1, whatever address is meant.
            assert_eq!((leaf.role, leaf.addresses.len()), (Role::Machine, 1));

            let settings = client.settings();
            let clock = Clock::load(&client.place.root);
            let caller = Caller::new(&settings, None, None, clock).expect("a caller");
            let mut stranger = settings.clone();
            stranger.join_secret = JoinSecret::generate().expect("random bytes");
            let request = Request::new(None).expect("a request");
            let refused = join::by_secret(&caller, &stranger, None, &request).await;
            let refused = format!("{:#}", refused.expect_err("a wrong secret"));
            assert!(
                refused.contains("is not one of this cluster's"),
                "{refused}"
            );
            let unknown = join::by_certificate(&caller, &settings, None, &request).await;
            let unknown = format!("{:#}", unknown.expect_err("no certificate"));
            assert!(unknown.contains("a certificate must be shown"), "{unknown}");
        })
        .await;
}

#[tokio::test]
async fn a_member_with_an_empty_disk_comes_back_with_the_same_config() {
    let Some(etcd) = etcd_or_skip() else { return };
    let mut config = Config::new(72, 3);
    LocalSet::new()
        .run_until(async {
            let mut machines = founded(&config, &etcd, None).await;
            let mut store = machines[0]
                .store(&[machines[0].address])
                .await
                .expect("a store");
            store.shut_out(config.addresses[7]).await.expect("a key");
            let before = store.members().await.expect("members");
            // The founders' key is no longer given out: the others have to hand it over.
            config.ca_key = None;
            machines[2].lose_disk();
            machines[2].boot(&config.json());
            let lost = config.addresses[2].to_string();
            until("the lost member is another one now", async || {
                let now = store.members().await?;
                let id = |list: &[strake_agent::cluster::founding::Listed]| {
                    list.iter()
                        .find(|member| member.name == lost)
                        .map(|member| member.id)
                };
                ensure!(id(&now).is_some() && id(&now) != id(&before), "{now:?}");
                Ok(())
            })
            .await;
            formed(&machines[0], 3).await;
            let mut own = machines[2]
                .store(&[machines[2].address])
                .await
                .expect("a store");
            assert!(
                own.is_shut_out(config.addresses[7])
                    .await
                    .expect("its data")
            );

            // The others can be lost in turn: the newcomer vouches and votes.
            machines[0].lose_disk();
            formed_without(&machines[2], 0, &config).await;
            machines[0].boot(&config.json());
            formed(&machines[2], 3).await;
        })
        .await;
}

async fn formed_without(machine: &Machine, lost: usize, config: &Config) {
    let lost = config.addresses[lost].to_string();
    until("two of three go on", async || {
        let report = report(machine).await?;
        let member = report.members.iter().find(|member| member.name == lost);
        let silent = member.is_some_and(|member| member.standing == Standing::Silent);
        ensure!(
            silent && report.quorum && report.leader != Some(lost.clone()),
            "{report:?}"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn certificates_are_renewed_while_the_cluster_serves() {
    let Some(etcd) = etcd_or_skip() else { return };
    let config = Config::new(73, 3);
    LocalSet::new()
        .run_until(async {
            let short = Duration::from_secs(60);
            let machines = founded(&config, &etcd, Some(short)).await;
            let mut client = config.machine_for(5, &etcd, short);
            client.boot(&config.json());
            let leaves = || {
                let all = machines
                    .iter()
                    .chain([&client])
                    .map(|machine| machine.identity());
                all.map(|identity| identity.map(|identity| identity.leaf))
                    .collect::<Vec<_>>()
            };
            until("the machine is in", async || {
                ensure!(client.identity().is_some());
                Ok(())
            })
            .await;
            let first: Vec<Option<Leaf>> = leaves();
            let running = || machines.iter().map(|machine| machine.process.id());
            let before: Vec<Option<u32>> = running().collect();
            until("all have been renewed", async || {
                let now = leaves();
                let fresh = |(old, new): (&Option<Leaf>, &Option<Leaf>)| {
                    old.as_ref().map(|leaf| &leaf.serial) != new.as_ref().map(|leaf| &leaf.serial)
                };
                ensure!(first.iter().zip(&now).all(fresh));
                Ok(())
            })
            .await;
            // etcd was started with certificates that have ended, and shows others now.
            until("the first certificates have ended", async || {
                let now = SystemTime::now();
                ensure!(first.iter().flatten().all(|leaf| leaf.not_after < now));
                Ok(())
            })
            .await;
            formed(&machines[0], 3).await;
            for address in &config.addresses[..3] {
                let mut store = client.store(&[*address]).await.expect("a store");
                store.shut_out(config.addresses[7]).await.expect("a key");
            }
            assert_eq!(
                running().collect::<Vec<_>>(),
                before,
                "etcd was started anew"
            );
            for (machine, member) in [(&machines[0], 1), (&client, 0)] {
                let told = figures(machine).await;
                for line in [
                    "strake_cluster_certified 1".to_string(),
                    format!("strake_cluster_member {member}"),
                    format!("strake_cluster_etcd_formed {member}"),
                    "strake_cluster_renewals_total{result=\"failed\"} 0".to_string(),
                ] {
                    assert!(told.lines().any(|told| told == line), "{line}: {told}");
                }
                let none = "strake_cluster_renewals_total{result=\"done\"} 0";
                assert!(!told.contains(none), "{told}");
            }
        })
        .await;
}

#[tokio::test]
async fn a_revoked_secret_lets_nobody_in_and_a_new_one_does() {
    let Some(etcd) = etcd_or_skip() else { return };
    let config = Config::new(74, 1);
    LocalSet::new()
        .run_until(async {
            let mut member = config.machine(0, &etcd);
            member.boot(&config.json());
            formed(&member, 1).await;
            let mut store = member.store(&[member.address]).await.expect("a store");
            let mut settings = member.settings();
            let clock = Clock::load(&member.place.root);
            let caller = Caller::new(&settings, None, None, clock).expect("a caller");
            let request = Request::new(None).expect("a request");
            let joined = join::by_secret(&caller, &settings, None, &request).await;
            let granted = joined.expect("the secret is good");
            assert_eq!(granted.ca_key, None, "only members get the authority's key");
            let old = settings.join_secret.id();
            store.revoke_secret(&old).await.expect("revoked");
            let refused = join::by_secret(&caller, &settings, None, &request).await;
            assert!(format!("{:#}", refused.expect_err("revoked")).contains("revoked"));
            let fresh = JoinSecret::generate().expect("random bytes");
            let added = store.add_secret(&fresh.id(), &fresh.proof_key()).await;
            added.expect("added");
            settings.join_secret = fresh;
            let joined = join::by_secret(&caller, &settings, None, &request).await;
            joined.expect("the new secret is good");
            assert_eq!(store.secrets().await.expect("a list").len(), 2);
            let identity = member.identity().expect("a certificate");
            let done = upkeep::look_after(&settings, member.address, &identity).await;
            assert_eq!(done.expect("looked after"), upkeep::Done::NotWorth);
        })
        .await;
}

#[tokio::test]
async fn a_removed_member_stays_out_until_it_is_let_in() {
    let Some(etcd) = etcd_or_skip() else { return };
    let config = Config::new(75, 3);
    LocalSet::new()
        .run_until(async {
            let machines = founded(&config, &etcd, None).await;
            let mut store = machines[0]
                .store(&[machines[0].address])
                .await
                .expect("a store");
            let out = machines[2].address;
            store.shut_out(out).await.expect("written down");
            let list = store.members().await.expect("members");
            let member = list.iter().find(|member| member.name == out.to_string());
            let id = member.expect("listed").id;
            until("etcd lets it go", async || store.remove(id).await).await;
            until("its etcd ends, and its data is set aside", async || {
                let aside = machines[2].place.root.list("/var/lib/etcd/strake.removed");
                ensure!(!aside.is_empty() && !machines[2].process.is_up().await?);
                Ok(())
            })
            .await;
            assert_eq!(store.members().await.expect("members").len(), 2);
            assert!(store.let_in(out).await.expect("let in"));
            formed(&machines[0], 3).await;
        })
        .await;
}

#[tokio::test]
async fn a_backup_restored_on_all_members_brings_back_what_it_held() {
    let Some(etcd) = etcd_or_skip() else { return };
    let Some(etcdutl) = tool("etcdutl") else {
        return;
    };
    let config = Config::new(76, 3);
    LocalSet::new()
        .run_until(async {
            let mut machines = founded(&config, &etcd, None).await;
            let (kept, later) = (config.addresses[7], config.addresses[8]);
            let mut store = machines[0]
                .store(&[machines[0].address])
                .await
                .expect("a store");
            store.shut_out(kept).await.expect("a key");
            let dir = tempfile::tempdir().expect("temp dir");
            let file = dir.path().join("store.backup");
            let identity = machines[0].identity().expect("a certificate");
            let taken = backup::backup(&machines[0].settings(), &identity, &file).await;
            let length = taken.expect("a backup");
            assert_eq!(backup::check(&file).expect("whole").length, length);
            store.shut_out(later).await.expect("a key");
            for machine in &mut machines {
                machine.crash();
            }
            let tool: Vec<&str> = etcdutl.iter().map(String::as_str).collect();
            for machine in &machines {
                let (root, settings) = (&machine.place.root, machine.settings());
                let from = (file.as_path(), Founders::All);
                let restored = backup::restore(root, &settings, machine.address, from, &tool);
                restored.await.expect("restored");
            }
            for machine in &mut machines {
                machine.boot(&config.json());
            }
            formed(&machines[1], 3).await;
            let mut store = machines[1]
                .store(&[machines[2].address])
                .await
                .expect("a store");
            assert!(store.is_shut_out(kept).await.expect("known"));
            assert!(!store.is_shut_out(later).await.expect("known"));
        })
        .await;
}
