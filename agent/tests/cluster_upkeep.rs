//! A store that is full, on real members with a small quota: it takes no more, says so, and is well
//! again when there is room, one member after the other.

mod etcd;
mod members;

use std::time::Duration;

use anyhow::{Result, ensure};
use etcd::{Config, Machine, until};
use etcd_client::{Certificate, Client, ConnectOptions, DeleteOptions, Identity, TlsOptions};
use members::{founded, run, strake};
use strake_agent::cluster::store::Turn;
use tokio::task::LocalSet;

/// Bytes.
const QUOTA: (&str, &str) = ("ETCD_QUOTA_BACKEND_BYTES", "8388608");
const LIMIT: Duration = Duration::from_secs(10);

async fn client(machine: &Machine) -> Client {
    let identity = machine.identity().expect("a certificate");
    let tls = TlsOptions::new()
        .ca_certificate(Certificate::from_pem(machine.settings().ca))
        .identity(Identity::from_pem(&identity.certificate, &identity.key));
    let options = ConnectOptions::new().with_tls(tls).with_timeout(LIMIT);
    let endpoint = format!("https://{}:2379", machine.address);
    let connected = Client::connect([endpoint], Some(options)).await;
    connected.expect("a client")
}

#[tokio::test]
async fn a_full_store_is_told_and_is_well_again_when_there_is_room() {
    let config = Config::new(88, 3);
    LocalSet::new()
        .run_until(async {
            let Some(mut machines) = founded(&config, &[QUOTA]).await else {
                return;
            };
            let mut client = client(&machines[0]).await;
            let value = vec![7; 200_000];
            let mut refused = None;
            for number in 0..100 {
                let put = client
                    .put(format!("full/{number}"), value.clone(), None)
                    .await;
                refused = put.err();
                if refused.is_some() {
                    break;
                }
            }
            let refused = refused.expect("the quota holds").to_string();
            assert!(refused.contains("database space exceeded"), "{refused}");
            until("the alarm is told", async || {
                let (_, text) = run(&machines[1], "status").await?;
                ensure!(text.contains("alarm nospace at"), "{text}");
                Ok(())
            })
            .await;

            // What is deleted is still there for those who watch, until it is compacted.
            let everything = DeleteOptions::new().with_prefix();
            let deleted = client
                .delete("full/", Some(everything))
                .await
                .expect("deleted");
            let revision = deleted.header().expect("a header").revision();
            let physical = etcd_client::CompactionOptions::new().with_physical();
            client
                .compact(revision, Some(physical))
                .await
                .expect("compacted");
            let before = sizes(&machines[0]).await.expect("sizes");

            let mut store = machines[0]
                .store(&[machines[0].address])
                .await
                .expect("a store");
            let defragmented = strake(&machines[2], "defragment", 0).await;
            assert_eq!(defragmented.matches(" bytes").count(), 3, "{defragmented}");
            let after = sizes(&machines[0]).await.expect("sizes");
            let shrunk = before
                .iter()
                .zip(&after)
                .all(|(before, after)| after * 4 < *before);
            assert!(shrunk, "{before:?} {after:?}");
            until("no alarm is left", async || {
                let (code, text) = run(&machines[1], "status").await?;
                ensure!(code == Some(0) && !text.contains("alarm"), "{text}");
                Ok(())
            })
            .await;
            client
                .put("full/again", "", None)
                .await
                .expect("there is room");

            // One at a time.
            let turn = store.begin_turn(machines[1].address, 60).await;
            assert_eq!(turn.expect("asked"), Turn::Own);
            let busy = strake(&machines[2], "defragment", 1).await;
            assert!(busy.contains("another member is at it"), "{busy}");
            store.end_turn().await.expect("given back");
            let own = machines[0].address;
            strake(&machines[2], &format!("defragment {own}"), 0).await;
            machines[1].crash();
            let away = strake(&machines[2], &format!("defragment {own}"), 1).await;
            assert!(away.contains(&machines[1].address.to_string()), "{away}");
        })
        .await;
}

async fn sizes(machine: &Machine) -> Result<Vec<u64>> {
    let (_, text) = run(machine, "status -o json").await?;
    let report: serde_json::Value = serde_json::from_str(&text)?;
    let members = report["members"].as_array().into_iter().flatten();
    Ok(members
        .filter_map(|member| member["size_bytes"].as_u64())
        .collect())
}
