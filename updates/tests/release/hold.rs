//! Stops that need no offline key: who can place them, what they change, and what they cannot.

use std::fs;

use strake_updates::fetch::file::Directory;
use strake_updates::fetch::refresh::refresh;
use strake_updates::offer::Catalog;
use strake_updates::time::Timestamp;
use strake_updates::tuf::store::Store;
use tough::RepositoryLoader;
use url::Url;

use crate::workshop::{VERIFY, Workshop, small};

/// A workshop with a release in stable, and only the online keys in `online`.
fn published() -> Workshop {
    let workshop = Workshop::new();
    workshop.add("1.0.0", &small(1), "stable", "");
    workshop.ok("sign");
    fs::create_dir(workshop.path("online")).unwrap();
    for entry in fs::read_dir(workshop.path("keys")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with("timestamp-") || name.starts_with("snapshot-") {
            fs::copy(&path, workshop.path("online").join(name)).unwrap();
        }
    }
    workshop
}

const HOLD: &str = "hold 1.0.0 --channel stable --keys online --reason crashes";

#[tokio::test]
async fn the_timestamp_key_alone_stops_a_rollout_and_starts_it_again() {
    let workshop = published();
    let text = workshop.ok(HOLD);
    assert_eq!(text, "1.0.0 in stable: published: it is held\n");
    let view = workshop.view("stable").await;
    let held = view.offer("1.0.0").held.clone().unwrap();
    assert_eq!(
        (held.channel.as_str(), held.reason.as_str()),
        ("stable", "crashes")
    );
    assert!(workshop.ok(VERIFY).contains("stable 1.0.0: held since"));
    workshop.code(HOLD, 3);

    // Whatever else is published meanwhile.
    workshop.ok("promote 1.0.0 stable alpha");
    workshop.ok("sign");
    workshop.ok("refresh");
    assert!(workshop.view("stable").await.offer("1.0.0").held.is_some());
    assert!(workshop.view("alpha").await.offer("1.0.0").held.is_none());

    workshop.ok("hold 1.0.0 --channel stable --keys online --lift");
    assert!(workshop.view("stable").await.offer("1.0.0").held.is_none());
    workshop.code("hold 1.0.0 --channel stable --keys online --lift", 3);
}

#[tokio::test]
async fn a_hold_cannot_be_undone_by_serving_what_was_before_it() {
    let workshop = published();
    let timestamp = workshop.repo().join("metadata/timestamp.json");
    let before = fs::read(&timestamp).unwrap();
    workshop.ok(HOLD);
    let store = Store::new(workshop.path("machine"));
    workshop.view_with("stable", &store).await;
    fs::write(&timestamp, before).unwrap();
    let repository = Directory::new(workshop.repo());
    let now = Timestamp::from_unix(0);
    let refused = refresh(&repository, &store, &workshop.root(), now).await;
    let text = format!("{:#}", anyhow::Error::from(refused.unwrap_err()));
    assert!(
        text.contains("timestamp.json is refused: timestamp is at version 2"),
        "{text}"
    );
}

#[tokio::test]
async fn a_hold_keeps_the_time_until_which_the_repository_is_fresh() {
    let workshop = published();
    let expires = || {
        let bytes = fs::read(workshop.repo().join("metadata/timestamp.json")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        json["signed"]["expires"].clone()
    };
    let before = expires();
    workshop.ok(HOLD);
    assert_eq!(expires(), before);
}

#[tokio::test]
async fn another_implementation_reads_a_repository_with_a_hold() {
    let workshop = published();
    workshop.ok(HOLD);
    let url = |name: &str| Url::from_directory_path(workshop.repo().join(name)).unwrap();
    let root = workshop.root();
    let loader = RepositoryLoader::new(&root, url("metadata"), url("targets"));
    let repository = loader.load().await.unwrap();
    assert_eq!(repository.timestamp().signed.version.get(), 3);
}

#[test]
fn what_cannot_be_held_is_named() {
    let workshop = published();
    for (command, code, expected) in [
        (
            "hold 2.0.0 --channel stable",
            2,
            "channel stable has no release 2.0.0",
        ),
        (
            "hold 1.0.0 --channel beta",
            2,
            "the repository has no channel beta",
        ),
        (
            "hold 1.0.0 --channel stable --keys empty",
            1,
            "signing timestamp: its key is not at hand",
        ),
    ] {
        fs::create_dir_all(workshop.path("empty")).unwrap();
        let text = workshop.code(command, code);
        assert!(text.contains(expected), "{text}");
    }
    let long = format!("hold 1.0.0 --channel stable --reason {}", "x".repeat(201));
    assert!(
        workshop
            .code(&long, 2)
            .contains("--reason is not 1 to 200 bytes")
    );
}

/// A mark that the channel's own file carries can only hold back what the channel offers anyhow.
#[tokio::test]
async fn an_offer_without_a_hold_says_nothing_of_one() {
    let workshop = published();
    let view = workshop.view("stable").await;
    let catalog = Catalog::read(&"stable".parse().unwrap(), &view.targets);
    assert_eq!(catalog.offers[0].held, None);
    assert!(
        !serde_json::to_string(&catalog.offers[0])
            .unwrap()
            .contains("held")
    );
}
