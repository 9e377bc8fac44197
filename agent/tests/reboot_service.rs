//! The reboot service of machines with a served systemd and logind, on a real etcd where there is
//! one and on the memory store always.

mod real_etcd;
mod reboot_world;

use std::os::unix::fs::PermissionsExt as _;

use reboot_world::{Machine, until};
use strake_agent::lock::Lock;
use strake_agent::lock::keys::Group;
use strake_agent::reboot::budget;
use strake_agent::reboot::decision::{Heed, Wanted};
use strake_agent::reboot::service::Ending;
use strake_agent::reboot::socket::Order;
use strake_agent::store::Store;
use strake_agent::store::memory::Memory;
use tokio::task::LocalSet;

const LOCK: &str = "REBOOT_STRATEGY=etcd-lock\n";
const ETCD_JSON: &str = r#"{"endpoints":["http://127.0.0.1:1"]}"#;

/// In a cluster; users and units are waited for as long as the file says.
fn machine(id: char, conf: &str, settings: &str) -> Machine {
    let machine = Machine::new(id, conf);
    machine.put("etc/strake/etcd.json", ETCD_JSON);
    machine.put("etc/strake/reboot.json", settings);
    machine
}

async fn holders(store: &impl Store) -> Vec<String> {
    let lock = Lock::new(store.clone(), Group::default());
    let semaphore = lock.read().await.expect("the lock").semaphore;
    semaphore.holders().map(|id| id[..1].to_string()).collect()
}

fn now(force: bool) -> Order {
    Order::Now {
        reason: "by hand".to_string(),
        force,
    }
}

/// Two machines want to reboot; the second one has its turn once the first is healthy again.
async fn two_take_turns<S: Store>(store: S) {
    let mut a = machine('a', LOCK, "{}");
    let b = machine('b', LOCK, "{}");
    let first = a.start(Some(store.clone())).await;
    until("a reboots", async || a.reboots() == 1).await;
    let second = b.start(Some(store.clone())).await;
    let told = second.until_doing("waits for its turn").await;
    assert_eq!(told.wanted.as_deref(), Some("update to 1.1.0"));
    assert!(!told.holds_lock);
    // It goes down, and comes up on the new release.
    assert_eq!(first.end().await, Ending::Stopped);
    assert_eq!(holders(&store).await, ["a"], "a reboot keeps the lock");
    a.boot();
    a.put("usr/lib/os-release", "ID=strake\nIMAGE_VERSION=1.1.0\n");
    let again = a.start(Some(store.clone())).await;
    again.until_doing("until this boot is known").await;
    assert_eq!(holders(&store).await, ["a"], "not before it is healthy");
    assert_eq!(b.reboots(), 0);
    a.says.lock().expect("lock").is_healthy = true;
    until("b reboots", async || b.reboots() == 1).await;
    assert_eq!(holders(&store).await, ["b"]);
    assert_eq!(
        (a.reboots(), a.read("state/reboot-pending.json")),
        (1, String::new())
    );
    assert_eq!(again.end().await, Ending::Stopped);
    second.kill();
}

#[tokio::test]
async fn machines_take_turns_and_give_the_lock_back_once_healthy() {
    LocalSet::new()
        .run_until(two_take_turns(Memory::default()))
        .await;
}

#[tokio::test]
async fn machines_take_turns_on_a_real_etcd() {
    let Some(server) = real_etcd::Server::start().await else {
        return;
    };
    let store = server.store().await;
    LocalSet::new().run_until(two_take_turns(store)).await;
}

#[tokio::test]
async fn a_closed_window_is_waited_for_without_the_lock_and_a_person_goes_over_it() {
    // A minute that is far away, whatever the time is.
    let hour = strake_agent::update::clock().unix() / 3600 % 24;
    let windows = format!(
        r#"{{"windows":[{{"start":"{:02}:00","length_seconds":60}}]}}"#,
        (hour + 12) % 24
    );
    let run = async {
        let store = Memory::default();
        let a = machine('a', LOCK, &windows);
        let service = a.start(Some(store.clone())).await;
        let told = service.until_doing("waits for its window").await;
        assert!(told.window_opens.is_some());
        assert_eq!(holders(&store).await, [""; 0]);
        let tells = |line: &str| service.figures.text().lines().any(|one| one == line);
        let has_none = |name: &str| tells(&format!("strake_reboot_{name}_timestamp_seconds 0"));
        assert!(tells("strake_reboot_step{step=\"window\"} 1"));
        assert!(tells("strake_reboot_holds_lock 0"));
        assert!(!has_none("wanted_since") && !has_none("window_opens"));
        service.order(now(false)).await;
        until("it reboots", async || a.reboots() == 1).await;
        assert_eq!(holders(&store).await, ["a"]);
        assert!(tells("strake_reboot_step{step=\"reboot\"} 1"));
        assert!(tells("strake_reboot_step{step=\"window\"} 0"));
        assert!(tells("strake_reboot_holds_lock 1"));
        service.kill();
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test]
async fn an_inhibitor_keeps_it_from_the_lock_and_force_does_not_heed_it() {
    let run = async {
        let store = Memory::default();
        let a = machine('a', LOCK, "{}");
        let set = |inhibitors: &[(&str, &str)]| {
            let pair = |(what, mode): &(&str, &str)| (what.to_string(), mode.to_string());
            a.says.lock().expect("lock").inhibitors = inhibitors.iter().map(pair).collect();
        };
        set(&[("sleep:shutdown", "block")]);
        let service = a.start(Some(store.clone())).await;
        let told = service
            .until_doing("is kept from it by backup (runs)")
            .await;
        assert_eq!(told.inhibitors, ["backup (runs)"]);
        assert_eq!(holders(&store).await, [""; 0]);
        service.order(now(true)).await;
        until("it reboots", async || a.reboots() == 1).await;
        assert_eq!(a.says.lock().expect("lock").reboots, [16]);
        service.kill();
        // Others only delay, or are about something else.
        let b = machine('b', "REBOOT_STRATEGY=reboot\n", "{}");
        b.says.lock().expect("lock").inhibitors = vec![
            ("shutdown".into(), "delay".into()),
            ("idle".into(), "block".into()),
        ];
        let service = b.start(Some(store)).await;
        until("it reboots", async || b.reboots() == 1).await;
        assert_eq!(b.says.lock().expect("lock").reboots, [1]);
        service.kill();
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test]
async fn users_are_warned_and_waited_for_and_cancel_gives_the_lock_back() {
    let run = async {
        let store = Memory::default();
        let a = machine('a', LOCK, r#"{"users_seconds":3600}"#);
        a.says.lock().expect("lock").users = vec!["core".to_string()];
        let service = a.start(Some(store.clone())).await;
        let told = service.until_doing("waits for users: core").await;
        assert!(told.holds_lock);
        assert!(a.read("dev/pts/0").contains("reboots in 60 minutes"));
        let told = service.order(Order::Cancel).await;
        assert!(told.doing.contains("steps back"), "{told:?}");
        service.until_doing("was cancelled (update to 1.1.0)").await;
        assert_eq!(holders(&store).await, [""; 0]);
        assert_eq!(a.read("state/reboot-pending.json"), "");
        service.order(now(false)).await;
        until("it reboots", async || a.reboots() == 1).await;
        service.kill();
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test]
async fn a_hook_that_says_no_is_asked_again_without_the_lock() {
    let run = async {
        let store = Memory::default();
        let a = machine('a', LOCK, "{}");
        let hook = "etc/strake/reboot.d/10-no";
        a.put(
            hook,
            "#!/bin/sh\necho \"$STRAKE_REASON\" > \"${0%/*}/said\"\nexit 1\n",
        );
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(a.path(hook), mode).expect("mode");
        let service = a.start(Some(store.clone())).await;
        let told = service.until_doing("tries again later").await;
        assert!(told.doing.contains("10-no: exit status: 1"), "{told:?}");
        assert_eq!(a.read("etc/strake/reboot.d/said"), "update to 1.1.0\n");
        assert_eq!((holders(&store).await.len(), a.reboots()), (0, 0));
        assert_eq!(service.end().await, Ending::Stopped);
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test]
async fn strategies_without_the_lock_ask_no_store() {
    let run = async {
        let alone = Machine::new('a', "");
        let service = alone.start(None::<Memory>).await;
        until("it reboots", async || alone.reboots() == 1).await;
        service.kill();
        let off = Machine::new('b', "REBOOT_STRATEGY=off\n");
        let service = off.start(None::<Memory>).await;
        assert_eq!(service.ended().await, Ending::Off);
        assert_eq!(off.reboots(), 0);
        // By hand, with the lock where there is a cluster.
        let store = Memory::default();
        let by_hand = machine('c', "REBOOT_STRATEGY=off\n", "{}");
        let wanted = Wanted::Now {
            reason: "by hand".into(),
            heed: Heed::All,
        };
        let service = by_hand
            .start_wanting(Some(store.clone()), Some(wanted))
            .await;
        until("it reboots", async || by_hand.reboots() == 1).await;
        assert_eq!(holders(&store).await, ["c"]);
        service.kill();
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test]
async fn without_an_update_nothing_happens_until_another_program_asks() {
    let run = async {
        let store = Memory::default();
        let a = machine('a', LOCK, "{}");
        a.has_no_update();
        let service = a.start(Some(store.clone())).await;
        service.until_doing("no reboot is wanted").await;
        Machine::say_need(&service).await;
        until("it reboots", async || a.reboots() == 1).await;
        service.kill();
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test]
async fn a_stopped_service_leaves_nothing_behind_and_a_killed_one_takes_it_back_later() {
    let run = async {
        let store = Memory::default();
        let mut a = machine('a', LOCK, r#"{"users_seconds":3600}"#);
        a.says.lock().expect("lock").users = vec!["core".to_string()];
        let service = a.start(Some(store.clone())).await;
        service.until_doing("waits for users").await;
        assert_eq!(service.end().await, Ending::Stopped);
        assert_eq!(holders(&store).await, [""; 0]);
        let service = a.start(Some(store.clone())).await;
        service.until_doing("waits for users").await;
        service.kill();
        assert_eq!(holders(&store).await, ["a"]);
        a.boot();
        a.has_no_update();
        a.says.lock().expect("lock").is_healthy = true;
        let service = a.start(Some(store.clone())).await;
        service.until_doing("no reboot is wanted").await;
        assert_eq!(holders(&store).await, [""; 0]);
        service.kill();
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test]
async fn a_place_taken_by_hand_is_good_enough_and_not_given_back() {
    let run = async {
        let store = Memory::default();
        let mut a = machine('a', LOCK, "{}");
        let lock = Lock::new(store.clone(), Group::default());
        lock.lock_by_hand(&"a".repeat(32)).await.expect("locked");
        let service = a.start(Some(store.clone())).await;
        until("it reboots", async || a.reboots() == 1).await;
        service.kill();
        a.boot();
        a.has_no_update();
        a.says.lock().expect("lock").is_healthy = true;
        let service = a.start(Some(store.clone())).await;
        service.until_doing("no reboot is wanted").await;
        assert_eq!(holders(&store).await, ["a"]);
        service.kill();
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test]
async fn two_machines_with_one_id_do_not_reboot_by_one_place() {
    let run = async {
        let store = Memory::default();
        let a = machine('a', LOCK, r#"{"users_seconds":3600}"#);
        a.says.lock().expect("lock").users = vec!["core".to_string()];
        let first = a.start(Some(store.clone())).await;
        first.until_doing("waits for users").await;
        let twin = machine('a', LOCK, "{}");
        twin.put("proc/sys/kernel/random/boot_id", "another\n");
        let second = twin.start(Some(store.clone())).await;
        second
            .until_doing("ALARM: another machine with this machine's id")
            .await;
        assert_eq!((twin.reboots(), holders(&store).await.len()), (0, 1));
        let told = first.order(Order::When).await;
        assert!(
            told.alarm.is_some_and(|alarm| alarm.contains("boots")),
            "both say so"
        );
        assert_eq!(second.end().await, Ending::Stopped);
        assert_eq!(holders(&store).await, ["a"], "it is the first one's");
        first.kill();
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test]
async fn a_machine_stays_while_another_one_of_its_zone_is_down() {
    let run = async {
        let store = Memory::default();
        let id = "a".repeat(32);
        put(
            &store,
            format!("/strake/v1/machines/{id}"),
            &registered(&id),
        )
        .await;
        let now = strake_agent::update::clock();
        let note = serde_json::json!({"zone": "east", "at": now});
        put(
            &store,
            format!("/strake/v1/zones/{}", "b".repeat(32)),
            &note,
        )
        .await;
        let a = machine('a', LOCK, "{}");
        let running = a.start(Some(store.clone())).await;
        let told = running.until_doing("of the same zone east is down").await;
        assert_eq!((a.reboots(), told.holds_lock), (0, false));
        // It has noted its own zone, for others.
        assert!(store.holds(&format!("/strake/v1/zones/{id}")));
        running.kill();
    };
    LocalSet::new().run_until(run).await;
}

fn registered(id: &str) -> strake_agent::scheduler::machine::Machine {
    let mut machine = strake_agent::scheduler::machine::Machine::new(id.parse().expect("an id"));
    machine
        .metadata
        .insert("zone".to_string(), "east".to_string());
    machine
}

async fn put(store: &Memory, key: String, value: &impl serde::Serialize) {
    let write = strake_agent::store::Write::Put {
        key,
        value: serde_json::to_vec(value).expect("json"),
        lease: None,
    };
    let transaction = strake_agent::store::Transaction {
        compares: Vec::new(),
        writes: vec![write],
    };
    store.commit(&transaction).await.expect("written");
}

#[tokio::test]
async fn units_leave_before_the_reboot_and_may_come_again_after_it() {
    use strake_agent::scheduler::keys::{self, Tags};
    use strake_agent::scheduler::machine::{Duty, Machine as Registered, MachineId};
    use strake_agent::store::{Transaction, Write};
    async fn duty(store: &Memory, id: &MachineId) -> Duty {
        let entry = store.read(&keys::tags(id)).await.expect("answer");
        let tags = entry.and_then(|entry| serde_json::from_slice::<Tags>(&entry.value).ok());
        tags.unwrap_or_default().duty
    }
    let run = async {
        let store = Memory::default();
        let mut a = machine('a', LOCK, "{}");
        let id: MachineId = "a".repeat(32).parse().expect("id");
        let value = serde_json::to_vec(&Registered::new(id.clone())).expect("JSON");
        let write = Write::Put {
            key: keys::machine(&id),
            value,
            lease: None,
        };
        let transaction = Transaction {
            compares: Vec::new(),
            writes: vec![write],
        };
        store.commit(&transaction).await.expect("registered");
        let service = a.start(Some(store.clone())).await;
        until("it reboots", async || a.reboots() == 1).await;
        assert_eq!(duty(&store, &id).await, Duty::Draining);
        service.kill();
        a.boot();
        a.has_no_update();
        let service = a.start(Some(store.clone())).await;
        service.until_doing("until this boot is known").await;
        assert_eq!(duty(&store, &id).await, Duty::Draining);
        a.says.lock().expect("lock").is_healthy = true;
        service.until_doing("no reboot is wanted").await;
        assert_eq!(duty(&store, &id).await, Duty::Open);
        assert_eq!(holders(&store).await, [""; 0]);
        service.kill();
        assert_eq!(a.read("state/reboot-pending.json"), "");
    };
    LocalSet::new().run_until(run).await;
}

/// A release that fell back on the first machine is rebooted into by no other.
async fn a_bad_release_stops_after_the_first_machine<S: Store>(store: S) {
    let mut a = machine('a', LOCK, "{}");
    let b = machine('b', LOCK, "{}");
    let first = a.start(Some(store.clone())).await;
    until("a reboots", async || a.reboots() == 1).await;
    let second = b.start(Some(store.clone())).await;
    second.until_doing("waits for its turn").await;
    first.kill();
    // Three boots of it failed, and the loader went back to the old one.
    a.boot();
    let entry = |name: &str| a.path(&format!("efi/EFI/Linux/{name}"));
    std::fs::rename(entry("strake_1.1.0+3.efi"), entry("strake_1.1.0+0-3.efi")).expect("renamed");
    let again = a.start(Some(store.clone())).await;
    again.until_doing("until this boot is known").await;
    a.says.lock().expect("lock").is_healthy = true;
    until("b takes it from its loader", async || {
        !b.path("efi/EFI/Linux/strake_1.1.0+3.efi").exists()
    })
    .await;
    second.until_doing("no reboot is wanted").await;
    until("nobody holds the lock", async || {
        holders(&store).await.is_empty()
    })
    .await;
    assert_eq!(b.reboots(), 0);
    assert!(
        b.read("state/update/node.json")
            .contains("the cluster refuses it")
    );
    let standings = budget::standings(&store).await.expect("answer");
    assert_eq!(standings[0].fallbacks[0].machine, "a".repeat(32));
    assert!(standings[0].refused.is_some());
    // Lifted: b may have it again; a still knows that it failed there.
    let version = standings[0].version;
    assert!(budget::lift(&store, version).await.expect("lifted"));
    until("b forgets it", async || {
        !b.read("state/update/node.json")
            .contains("the cluster refuses it")
    })
    .await;
    assert!(a.read("state/update/node.json").contains("\"refused\""));
    again.kill();
    second.kill();
}

#[tokio::test]
async fn a_release_that_fell_back_is_refused_by_the_cluster() {
    LocalSet::new()
        .run_until(a_bad_release_stops_after_the_first_machine(
            Memory::default(),
        ))
        .await;
}

#[tokio::test]
async fn a_release_that_fell_back_is_refused_on_a_real_etcd() {
    let Some(server) = real_etcd::Server::start().await else {
        return;
    };
    let store = server.store().await;
    LocalSet::new()
        .run_until(a_bad_release_stops_after_the_first_machine(store))
        .await;
}
