//! Another implementation of the same format reads what we write, and we read what it writes.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::Path;

use crate::publisher::{NOW, Publisher, key};
use strake_updates::time::Timestamp as Time;
use strake_updates::tuf::chain::Chain;
use strake_updates::tuf::workflow::Seen;
use tough::editor::RepositoryEditor;
use tough::key_source::{KeySource, LocalKeySource};
use tough::schema::{PathPattern, PathSet, Target};
use tough::{ExpirationEnforcement, RepositoryLoader, TargetName};
use url::Url;

fn version(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).unwrap()
}

/// In the form of RFC 8410: a fixed head and the seed.
fn key_file(dir: &Path, seed: u8) -> Box<dyn KeySource> {
    let path = dir.join(format!("key-{seed}"));
    let head = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
    std::fs::write(&path, [&head[..], &[seed; 32]].concat()).unwrap();
    Box::new(LocalKeySource { path })
}

async fn load(dir: &Path, root: &[u8]) -> Result<tough::Repository, tough::error::Error> {
    let url = |name: &str| Url::from_directory_path(dir.join(name)).unwrap();
    RepositoryLoader::new(&root, url("metadata"), url("targets"))
        .expiration_enforcement(ExpirationEnforcement::Unsafe)
        .load()
        .await
}

fn write_ours(dir: &Path, publisher: &Publisher) {
    let (files, metadata) = (publisher.files(), dir.join("metadata"));
    std::fs::create_dir_all(&metadata).unwrap();
    for (name, bytes) in [
        ("1.root.json", files.root),
        ("timestamp.json", files.timestamp),
        ("1.snapshot.json", files.snapshot),
        ("1.targets.json", files.targets),
        ("1.stable.json", files.channel),
    ] {
        std::fs::write(metadata.join(name), bytes).unwrap();
    }
}

#[tokio::test]
async fn it_reads_what_we_write() {
    let dir = tempfile::tempdir().unwrap();
    let mut publisher = Publisher::new();
    publisher.channel.targets.remove("beta/2.0.0.json");
    write_ours(dir.path(), &publisher);
    let repository = load(dir.path(), &publisher.files().root).await.unwrap();
    let all: BTreeMap<_, _> = repository
        .all_targets()
        .map(|(name, target)| (name.raw().to_owned(), target))
        .collect();
    let target = all["stable/1.0.0.json"];
    assert_eq!(
        (target.length, target.custom["version"].as_str()),
        (7, Some("1.0.0"))
    );
    assert_eq!(repository.root().signed.version, version(1));
}

#[tokio::test]
async fn it_refuses_what_we_sign_wrongly() {
    let dir = tempfile::tempdir().unwrap();
    let mut publisher = Publisher::new();
    publisher.channel.targets.remove("beta/2.0.0.json");
    publisher.channel_key = key(4);
    write_ours(dir.path(), &publisher);
    assert!(load(dir.path(), &publisher.files().root).await.is_err());
}

#[tokio::test]
async fn we_read_what_it_writes() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = Publisher::new();
    let root = publisher.files().root;
    let root_path = dir.path().join("root.json");
    std::fs::write(&root_path, &root).unwrap();
    let expires = jiff::Timestamp::from_second(NOW as i64 + 3600).unwrap();

    let mut editor = RepositoryEditor::new(&root_path).await.unwrap();
    editor
        .snapshot_version(version(7))
        .snapshot_expires(expires)
        .timestamp_version(version(9))
        .timestamp_expires(expires)
        .targets_version(version(5))
        .unwrap()
        .targets_expires(expires)
        .unwrap();
    let paths = PathSet::Paths(vec![PathPattern::new("stable/*").unwrap()]);
    let channel_keys = [key_file(dir.path(), 5)];
    editor
        .delegate_role(
            "stable",
            &channel_keys,
            paths,
            false,
            version(1),
            expires,
            version(3),
        )
        .await
        .unwrap();
    editor
        .sign_targets_editor(&[key_file(dir.path(), 4)])
        .await
        .unwrap();
    editor.change_delegated_targets("stable").unwrap();
    let content = dir.path().join("content");
    std::fs::write(&content, b"release").unwrap();
    let mut target = Target::from_path(&content).await.unwrap();
    target.custom.insert("version".into(), "1.0.0".into());
    let name = TargetName::new("stable/1.0.0.json").unwrap();
    editor.add_target(name, target).unwrap();
    editor
        .targets_version(version(3))
        .unwrap()
        .targets_expires(expires)
        .unwrap();
    editor.sign_targets_editor(&channel_keys).await.unwrap();
    let online = [key_file(dir.path(), 3)];
    editor
        .sign(&online)
        .await
        .unwrap()
        .write(dir.path().join("metadata"))
        .await
        .unwrap();

    let read = |name: &str| std::fs::read(dir.path().join("metadata").join(name)).unwrap();
    let anchor = Chain::start(&root)
        .unwrap()
        .close(Seen::default(), Time::from_unix(NOW))
        .unwrap();
    let timed = anchor.timestamp(&read("timestamp.json")).unwrap();
    let snapshot = timed.wanted();
    let view = timed.snapshot(&read(&snapshot.name)).unwrap();
    let targets = view.wanted().unwrap();
    let verified = view.targets(&read(&targets.name)).unwrap();
    let channel = verified.wanted("stable").unwrap();
    assert_eq!(channel.name, "3.stable.json");
    let channel = verified.channel("stable", &read(&channel.name)).unwrap();
    let target = &channel.targets["stable/1.0.0.json"];
    assert_eq!(target.length, 7);
    assert_eq!(target.custom.as_ref().unwrap()["version"], "1.0.0");
    assert_eq!(
        (verified.seen().timestamp, verified.seen().snapshot),
        (9, 7)
    );
}
