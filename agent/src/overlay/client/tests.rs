use std::collections::BTreeSet;

use super::*;
use crate::store::faulty::Random;
use crate::store::memory::Memory;

const CONFIG: &str = r#"{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}"#;
const SMALL: &str = r#"{"Network":"10.5.0.0/26","SubnetLen":28}"#;

fn config(text: &str) -> Config {
    Config::parse(text.as_bytes()).expect(text)
}

fn client(memory: &Memory) -> Client<Memory> {
    Client::new(memory.clone(), DEFAULT_PREFIX, TTL)
}

fn offer(machine: u8) -> Lease {
    Lease {
        subnets: Subnets { v4: None, v6: None },
        public_v4: Some([192, 168, 0, machine].into()),
        public_v6: None,
        backend: "vxlan".to_string(),
        v4: Default::default(),
        v6: Default::default(),
        machine: Some(format!("m{machine}")),
    }
}

fn chance(seed: u64) -> impl FnMut() -> u128 {
    let random = Random::new(seed);
    move || random.next().into()
}

async fn acquire(memory: &Memory, text: &str, offer: &Lease) -> Result<Held, Error> {
    let client = client(memory);
    client.acquire(&config(text), offer, &mut chance(7)).await
}

async fn entries(memory: &Memory) -> Vec<Entry> {
    client(memory).snapshot().await.expect("answer").leases
}

async fn put(memory: &Memory, key: &str, value: &str, lease: Option<store::Lease>) {
    let transaction = Transaction {
        compares: Vec::new(),
        writes: vec![Write::Put {
            key: format!("{DEFAULT_PREFIX}/subnets/{key}"),
            value: value.as_bytes().to_vec(),
            lease,
        }],
    };
    memory.commit(&transaction).await.expect("written");
}

#[tokio::test(start_paused = true)]
async fn a_restart_finds_the_lease_and_its_one_lease_object_again() {
    let memory = Memory::default();
    let first = acquire(&memory, CONFIG, &offer(1)).await.expect("a lease");
    assert_eq!(first.origin, Origin::New);
    let term = entries(&memory).await[0].lease;
    assert_eq!(first.term, term);
    let again = acquire(&memory, CONFIG, &offer(1)).await.expect("a lease");
    assert_eq!((again.origin, again.term), (Origin::Kept, term));
    assert_eq!(again.lease.subnets, first.lease.subnets);
    assert_eq!(entries(&memory).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_address_changes_the_value_and_not_the_subnet() {
    let memory = Memory::default();
    let first = acquire(&memory, CONFIG, &offer(1)).await.expect("a lease");
    let moved = Lease {
        public_v4: Some([192, 168, 0, 99].into()),
        ..offer(1)
    };
    let again = acquire(&memory, CONFIG, &moved).await.expect("a lease");
    assert_eq!(again.key, first.key);
    let entry = &entries(&memory).await[0];
    let value = String::from_utf8_lossy(&entry.value);
    assert!(value.contains("192.168.0.99"), "{value}");
    assert_eq!(entry.lease, first.term);
}

#[tokio::test(start_paused = true)]
async fn after_a_long_absence_the_subnet_is_taken_again_when_it_is_free() {
    let memory = Memory::default();
    let first = acquire(&memory, CONFIG, &offer(1)).await.expect("a lease");
    tokio::time::sleep(TTL * 2).await;
    assert_eq!(entries(&memory).await, []);
    let back = Lease {
        subnets: first.lease.subnets,
        ..offer(1)
    };
    let again = acquire(&memory, CONFIG, &back).await.expect("a lease");
    assert_eq!((again.origin, &again.key), (Origin::Again, &first.key));
}

#[tokio::test(start_paused = true)]
async fn a_machine_whose_subnet_another_has_taken_moves_and_says_so() {
    let memory = Memory::default();
    let other = acquire(&memory, CONFIG, &offer(2)).await.expect("a lease");
    let back = Lease {
        subnets: other.lease.subnets,
        ..offer(1)
    };
    let moved = acquire(&memory, CONFIG, &back).await.expect("a lease");
    assert_eq!(moved.origin, Origin::Moved(other.lease.subnets));
    assert_ne!(moved.key, other.key);
    assert_eq!(entries(&memory).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_reservation_stays_one() {
    let memory = Memory::default();
    put(
        &memory,
        "10.5.77.0-24",
        r#"{"PublicIP":"192.168.0.1"}"#,
        None,
    )
    .await;
    let held = acquire(&memory, CONFIG, &offer(1)).await.expect("a lease");
    assert_eq!((held.origin, held.term), (Origin::Reserved, None));
    assert_eq!(held.lease.subnets.to_key(), "10.5.77.0-24");
    tokio::time::sleep(TTL * 3).await;
    let entry = &entries(&memory).await[0];
    assert_eq!(entry.lease, None);
    assert_eq!(entry.value, held.lease.to_json());
    let other = acquire(&memory, CONFIG, &offer(2)).await.expect("a lease");
    assert_ne!(other.key, held.key);
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_flannel_at_this_address_is_taken_over() {
    let memory = Memory::default();
    let term = memory.grant(TTL).await.expect("a term");
    let value = r#"{"PublicIP":"192.168.0.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"ea:31:8d:00:fb:02"}}"#;
    put(&memory, "10.5.9.0-24", value, Some(term)).await;
    let held = acquire(&memory, CONFIG, &offer(1)).await.expect("a lease");
    assert_eq!((held.origin, held.term), (Origin::Kept, Some(term)));
    // Another machine's, behind the same address, is not.
    let twin = Lease {
        public_v4: offer(1).public_v4,
        ..offer(2)
    };
    let other = acquire(&memory, CONFIG, &twin).await.expect("a lease");
    assert_ne!(other.key, held.key);
}

#[tokio::test(start_paused = true)]
async fn a_network_too_small_is_told_and_leaves_nothing_behind() {
    let memory = Memory::default();
    for machine in 1..=3 {
        let got = acquire(&memory, SMALL, &offer(machine)).await;
        got.expect("a lease");
    }
    let full = acquire(&memory, SMALL, &offer(4)).await.expect_err("full");
    let text = full.to_string();
    assert!(text.contains("cut into /28 it has 4 subnets"), "{text}");
    assert_eq!(entries(&memory).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn machines_that_join_at_once_get_a_subnet_each() {
    let memory = Memory::default();
    let tasks = tokio::task::LocalSet::new();
    let text = r#"{"Network":"10.5.0.0/18"}"#;
    let joins: Vec<_> = (1..=50u8)
        .map(|machine| {
            let store =
                crate::store::faulty::Faulty::new(memory.clone(), Random::new(machine.into()));
            tasks.spawn_local(async move {
                let client = Client::new(store, DEFAULT_PREFIX, TTL);
                // All of them want the same one first.
                let mut next = chance(1);
                client
                    .acquire(&config(text), &offer(machine), &mut next)
                    .await
            })
        })
        .collect();
    tasks.await;
    let mut keys = BTreeSet::new();
    for join in joins {
        keys.insert(join.await.expect("joined").expect("a lease").key);
    }
    assert_eq!(keys.len(), 50);
    assert_eq!(entries(&memory).await.len(), 50);
}

#[tokio::test(start_paused = true)]
async fn subnets_of_another_size_are_not_overlapped() {
    let memory = Memory::default();
    put(&memory, "10.5.0.0-27", "not a lease", None).await;
    let held = acquire(&memory, SMALL, &offer(1)).await.expect("a lease");
    let subnet = held.lease.subnets.v4.expect("IPv4");
    assert!(!subnet.overlaps(&"10.5.0.0/27".parse().expect("range")));
}

#[tokio::test(start_paused = true)]
async fn no_subnet_is_taken_where_the_machine_must_not_have_one() {
    let memory = Memory::default();
    let mut client = client(&memory);
    client.avoided = vec!["10.5.1.0/28".parse().expect("range")];
    // Three to give: the first one is in the way, also as the subnet of before.
    let config = config(r#"{"Network":"10.5.0.0/22","SubnetLen":24}"#);
    let mut own = offer(1);
    own.subnets.v4 = "10.5.1.0/24".parse().ok();
    for chance in 0..3 {
        let held = client.acquire(&config, &own, &mut || chance).await;
        let held = held.expect("a lease");
        assert_ne!(held.lease.subnets, own.subnets, "{chance}");
        let all = entries(&memory).await;
        client.give_up(&all[0]).await.expect("given up");
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_that_was_changed_gives_a_new_subnet_and_the_old_lease_is_a_leftover() {
    let memory = Memory::default();
    let old = acquire(&memory, CONFIG, &offer(1)).await.expect("a lease");
    let back = Lease {
        subnets: old.lease.subnets,
        ..offer(1)
    };
    let text = r#"{"Network":"10.6.0.0/16"}"#;
    let new = acquire(&memory, text, &back).await.expect("a lease");
    assert_eq!(new.origin, Origin::New);
    let leases = entries(&memory).await;
    let client = client(&memory);
    let leftovers = client.leftovers(&leases, &new);
    assert_eq!(leftovers.len(), 1);
    client.give_up(leftovers[0]).await.expect("given up");
    assert_eq!(entries(&memory).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_config_is_written_once() {
    let memory = Memory::default();
    let client = client(&memory);
    assert!(
        client
            .write_config(CONFIG.as_bytes())
            .await
            .expect("answer")
    );
    assert!(!client.write_config(SMALL.as_bytes()).await.expect("answer"));
    let snapshot = client.snapshot().await.expect("answer");
    assert_eq!(snapshot.config.as_deref(), Some(CONFIG.as_bytes()));
    let wrong = client.parse_config(b"{}").expect_err("wrong");
    assert_eq!(
        wrong.to_string(),
        "/coreos.com/network/config is wrong: Network is missing"
    );
}
