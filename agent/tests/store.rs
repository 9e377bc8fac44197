//! One suite for every store: the one in memory always, a real etcd when there is one.

mod real_etcd;

use std::time::Duration;

use strake_agent::store::election::{SEATS, take_seat};
use strake_agent::store::memory::Memory;
use strake_agent::store::{
    Batch, Compare, Entry, Event, Kind, MAX_OPERATIONS, Outcome, PAGE, Renewal, Store, Transaction,
    Watch, WatchEnd, Write, read_all,
};

const LIMIT: Duration = Duration::from_secs(20);

fn put(key: &str, value: &str) -> Write {
    Write::Put {
        key: key.to_string(),
        value: value.as_bytes().to_vec(),
        lease: None,
    }
}

fn delete(key: &str) -> Write {
    Write::Delete {
        key: key.to_string(),
    }
}

async fn write(store: &impl Store, writes: Vec<Write>) -> i64 {
    match commit(store, Vec::new(), writes).await {
        Outcome::Done(revision) => revision,
        Outcome::Refused => panic!("nothing was compared"),
    }
}

async fn commit(store: &impl Store, compares: Vec<Compare>, writes: Vec<Write>) -> Outcome {
    let transaction = Transaction { compares, writes };
    store.commit(&transaction).await.expect("answer")
}

async fn read(store: &impl Store, key: &str) -> Option<Entry> {
    store.read(key).await.expect("answer")
}

async fn next(watch: &mut Watch) -> Result<Batch, WatchEnd> {
    let next = tokio::time::timeout(LIMIT, watch.next());
    next.await.expect("an event in time")
}

/// The next events, however many arrive at a time: key, and `+` or `-`.
async fn keys(watch: &mut Watch, count: usize) -> Vec<String> {
    let mut keys = Vec::new();
    while keys.len() < count {
        let batch = next(watch).await.expect("an event");
        keys.extend(batch.events.into_iter().map(|event| match event {
            Event::Put(entry) => format!("+{}", entry.key),
            Event::Deleted { key } => format!("-{key}"),
        }));
    }
    keys
}

async fn revisions_say_when_a_key_was_made_and_changed(store: impl Store) {
    assert_eq!(read(&store, "a/1").await, None);
    let first = write(&store, vec![put("a/1", "x"), put("a/2", "y")]).await;
    let second = write(&store, vec![put("a/1", "z")]).await;
    let entry = read(&store, "a/1").await.expect("entry");
    assert_eq!((entry.created, entry.modified), (first, second));
    assert_eq!(entry.value, b"z");
    assert!(second > first);
    write(&store, vec![delete("a/1"), delete("a/none")]).await;
    assert_eq!(read(&store, "a/1").await, None);
    let again = write(&store, vec![put("a/1", "n")]).await;
    let entry = read(&store, "a/1").await.expect("entry");
    assert_eq!((entry.created, entry.modified), (again, again));
}

async fn a_transaction_happens_as_a_whole_or_not_at_all(store: impl Store) {
    let first = write(&store, vec![put("t/1", "x")]).await;
    let new = || vec![put("t/1", "y"), put("t/2", "y")];
    let created = |revision| Compare::Created("t/1".to_string(), revision);
    let modified = |revision| Compare::Modified("t/1".to_string(), revision);
    let refused = [
        vec![created(0)],
        vec![modified(first + 1)],
        vec![created(first), Compare::Modified("t/2".to_string(), first)],
    ];
    for compares in refused {
        assert_eq!(commit(&store, compares, new()).await, Outcome::Refused);
    }
    assert_eq!(read(&store, "t/2").await, None);
    let absent = Compare::Created("t/2".to_string(), 0);
    let outcome = commit(&store, vec![created(first), modified(first), absent], new()).await;
    assert!(matches!(outcome, Outcome::Done(_)));
    assert_eq!(read(&store, "t/2").await.expect("entry").value, b"y");
    let many: Vec<Write> = (0..=MAX_OPERATIONS)
        .map(|n| put(&format!("t/{n}"), ""))
        .collect();
    let too_many = Transaction {
        compares: Vec::new(),
        writes: many,
    };
    let error = store.commit(&too_many).await.expect_err("refused");
    assert_eq!(error.kind, Kind::Invalid);
}

async fn a_long_prefix_is_read_in_pages(store: impl Store) {
    let keys: Vec<String> = (0..PAGE + 3).map(|n| format!("p/{n:04}")).collect();
    for chunk in keys.chunks(MAX_OPERATIONS) {
        write(&store, chunk.iter().map(|key| put(key, "v")).collect()).await;
    }
    write(&store, vec![put("o", ""), put("p", ""), put("p0", "")]).await;
    let page = store.list("p/", None, None).await.expect("answer");
    assert_eq!((page.entries.len(), page.more), (PAGE, true));
    let all = read_all(&store, "p/").await.expect("answer");
    let found: Vec<String> = all.entries.into_iter().map(|entry| entry.key).collect();
    assert_eq!(found, keys);
    assert!(!all.more && all.revision >= page.revision);
}

async fn a_watch_tells_the_past_and_what_comes(store: impl Store) {
    write(&store, vec![put("w/0", "")]).await;
    let from = write(&store, vec![put("w/1", "")]).await;
    write(&store, vec![put("x/1", "")]).await;
    write(&store, vec![delete("w/1")]).await;
    let mut watch = store.watch("w/", from).await.expect("watch");
    assert_eq!(keys(&mut watch, 2).await, ["+w/1", "-w/1"]);
    let revision = write(&store, vec![put("w/3", "v"), put("w/2", "v")]).await;
    let mut found = Vec::new();
    while found.len() < 2 {
        let batch = next(&mut watch).await.expect("event");
        assert_eq!(batch.revision, revision);
        for event in batch.events {
            match event {
                Event::Put(entry) => found.push((entry.key, entry.modified)),
                Event::Deleted { key } => panic!("{key}"),
            }
        }
    }
    found.sort();
    assert_eq!(
        found,
        [("w/2".to_string(), revision), ("w/3".to_string(), revision)]
    );
}

async fn a_lease_takes_its_keys_along(store: impl Store) {
    let lease = store.grant(Duration::from_secs(2)).await.expect("lease");
    let leased = |key: &str| Write::Put {
        key: key.to_string(),
        value: Vec::new(),
        lease: Some(lease),
    };
    let from = write(&store, vec![leased("l/1"), leased("l/2"), put("l/3", "")]).await;
    let of = async |key: &str| read(&store, key).await.expect("entry").lease;
    assert_eq!((of("l/1").await, of("l/3").await), (Some(lease), None));
    // Written without the lease it is a plain key again.
    write(&store, vec![put("l/2", "kept")]).await;
    assert_eq!(of("l/2").await, None);
    let mut watch = store.watch("l/1", from + 1).await.expect("watch");
    let kept = store.keep_alive(lease).await.expect("answer");
    assert_eq!(kept, Renewal::Renewed);
    assert_eq!(keys(&mut watch, 1).await, ["-l/1"]);
    let over = store.keep_alive(lease).await.expect("answer");
    assert_eq!(over, Renewal::Over);
    let left = read_all(&store, "l/").await.expect("answer").entries;
    let left: Vec<&str> = left.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(left, ["l/2", "l/3"]);
    let transaction = Transaction {
        compares: Vec::new(),
        writes: vec![leased("l/4")],
    };
    let error = store.commit(&transaction).await.expect_err("refused");
    assert_eq!(error.kind, Kind::LeaseGone);
    store.revoke(lease).await.expect("revoked twice is revoked");
}

async fn the_first_seat_leads_and_its_writes_are_fenced(store: impl Store) {
    let mut leases = Vec::new();
    let mut seats = Vec::new();
    for number in 0..=SEATS {
        let lease = store.grant(Duration::from_secs(60)).await.expect("lease");
        let name = format!("m{number}");
        let seat = take_seat(&store, "e/", &name, lease).await.expect("answer");
        let again = take_seat(&store, "e/", &name, lease).await.expect("answer");
        assert_eq!(seat, again);
        assert_eq!(seat.is_some(), number < SEATS, "{number}");
        leases.push(lease);
        seats.extend(seat);
    }
    let all = |store| async move { read_all(store, "e/").await.expect("answer").entries };
    let leading: Vec<bool> = {
        let entries = all(&store).await;
        seats.iter().map(|seat| seat.leads(&entries)).collect()
    };
    assert_eq!(leading, [true, false, false, false, false]);
    let fenced = |number: usize| (vec![seats[number].fence()], vec![put("f", "")]);
    let (compares, writes) = fenced(0);
    assert!(matches!(
        commit(&store, compares, writes).await,
        Outcome::Done(_)
    ));
    store.revoke(leases[0]).await.expect("revoked");
    let (compares, writes) = fenced(0);
    assert_eq!(commit(&store, compares, writes).await, Outcome::Refused);
    let last = take_seat(&store, "e/", "late", leases[SEATS]).await;
    let last = last.expect("answer").expect("a seat is free");
    let entries = all(&store).await;
    assert!(seats[1].leads(&entries) && !last.leads(&entries) && !seats[0].leads(&entries));
}

macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        mod in_memory {
            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                super::$name(super::Memory::default()).await;
            })*
        }

        mod in_etcd {
            $(#[tokio::test]
            async fn $name() {
                if let Some(server) = super::real_etcd::Server::start().await {
                    super::$name(server.store().await).await;
                }
            })*
        }
    };
}

suite!(
    revisions_say_when_a_key_was_made_and_changed,
    a_transaction_happens_as_a_whole_or_not_at_all,
    a_long_prefix_is_read_in_pages,
    a_watch_tells_the_past_and_what_comes,
    a_lease_takes_its_keys_along,
    the_first_seat_leads_and_its_writes_are_fenced,
);

#[tokio::test]
async fn a_watch_from_before_a_compaction_ends() {
    let store = Memory::default();
    let first = write(&store, vec![put("c", "1")]).await;
    let second = write(&store, vec![put("c", "2")]).await;
    store.compact(second);
    let mut watch = store.watch("c", first).await.expect("watch");
    assert_eq!(next(&mut watch).await, Err(WatchEnd::Compacted(second)));
    let mut watch = store.watch("c", second).await.expect("watch");
    assert!(next(&mut watch).await.is_ok());
}
