use std::error::Error as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Stdio;

use strake_updates::fetch::file::Directory;
use strake_updates::fetch::http::{Http, Patience};
use strake_updates::fetch::refresh::{RefreshError, refresh};
use strake_updates::fetch::{Request, bytes};
use strake_updates::time::Timestamp;
use strake_updates::tuf::store::Store;
use strake_updates::version::Version;
use tough::{RepositoryLoader, TargetName};
use url::Url;

use crate::workshop::{Made, VERIFY, Workshop, files, small};

#[test]
fn keys_are_for_their_owner_only() {
    let workshop = Workshop::new();
    let modes: Vec<_> = fs::read_dir(workshop.path("keys"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().mode() & 0o777)
        .collect();
    assert_eq!(modes, [0o600; 6]);
}

#[tokio::test]
async fn a_release_goes_from_the_builder_through_the_channels() {
    let workshop = Workshop::new();
    workshop.add("1.0.0", &small(1), "alpha", "");
    assert!(
        workshop.view("alpha").await.catalog.offers.is_empty(),
        "a draft is not published"
    );
    workshop.ok("sign");
    let alpha = workshop.view("alpha").await;
    assert_eq!(alpha.offer("1.0.0").uki, "strake_1.0.0.efi");
    assert!(workshop.view("stable").await.catalog.offers.is_empty());

    workshop.ok("promote 1.0.0 alpha stable --waves 1@1h,50@1d --deadline 3d");
    workshop.ok("sign");
    let stable = workshop.view("stable").await;
    let rollout = &stable.offer("1.0.0").rollout;
    assert_eq!(rollout.waves.to_string(), "1@1h,50@1d");
    assert_eq!(rollout.deadline.to_string(), "3d");
    assert!(
        workshop
            .ok(VERIFY)
            .contains("stable 1.0.0: reaches 0 % of machines")
    );
    assert_eq!(workshop.code("sign", 3), "there is no draft to sign\n");
}

#[tokio::test]
async fn what_is_said_of_a_release_can_be_changed() {
    let workshop = Workshop::new();
    workshop.add("1.0.0", &small(1), "stable", "--min-from 0.9.0");
    for command in [
        "rollout 1.0.0 --channel stable --waves 10@1h",
        "pause 1.0.0 --channel stable",
        "floor 1.0.0 --channel stable",
        "retract 1.0.0 --channel stable --reason loops",
        "sign",
    ] {
        workshop.ok(command);
    }
    let version: Option<Version> = "1.0.0".parse().ok();
    let view = workshop.view("stable").await;
    let offer = view.offer("1.0.0");
    assert_eq!(offer.min_from, "0.9.0".parse().ok());
    assert_eq!(
        (offer.floor, offer.retracted.as_deref()),
        (version, Some("loops"))
    );
    assert!(offer.rollout.paused.is_some());
    workshop.ok("pause 1.0.0 --channel stable --resume");
    workshop.ok("sign");
    assert_eq!(
        workshop.view("stable").await.offer("1.0.0").rollout.paused,
        None
    );
    workshop.code("pause 1.0.0 --channel stable --resume", 3);
    workshop.code("sign", 3);
}

#[test]
fn what_is_not_there_is_named() {
    let workshop = Workshop::new();
    workshop.add("1.0.0", &small(1), "alpha", "");
    for (command, expected) in [
        (
            "promote 2.0.0 alpha stable",
            "channel alpha has no release 2.0.0",
        ),
        (
            "promote 1.0.0 alpha beta",
            "the repository has no channel beta",
        ),
        (
            "retract 1.0.0 --channel stable",
            "channel stable has no release 1.0.0",
        ),
        (
            "add 1.0.0 --channel alpha",
            "channel alpha has a release 1.0.0 already",
        ),
        ("rotate beta", "the repository has no role beta"),
        ("refresh beta", "the repository has no targets role beta"),
        ("init --channel x", "there is a repository here already"),
        (
            "rollout 1.0.0 --channel alpha --waves 5@1h,4@2h",
            "larger and later",
        ),
        ("promote 1.0 alpha stable", "is not MAJOR.MINOR.PATCH"),
        (
            "verify nowhere --root repo/metadata/1.root.json",
            "is no URL and no directory",
        ),
    ] {
        let text = workshop.code(command, 2);
        assert!(text.contains(expected), "{command}: {text}");
    }
}

#[test]
fn two_commands_do_not_change_a_repository_at_once() {
    let workshop = Workshop::new();
    let lock = fs::File::options()
        .append(true)
        .open(workshop.repo().join(".lock"))
        .unwrap();
    lock.lock().unwrap();
    let text = workshop.code("refresh", 1);
    assert!(
        text.contains("another strake-release is at work on repo"),
        "{text}"
    );
    drop(lock);
    workshop.ok("refresh");
}

#[test]
fn a_damaged_release_is_not_taken() {
    let workshop = Workshop::new();
    let made = small(1);
    workshop.write_release("1.0.0", &made);
    let file = workshop.path("1.0.0/usr.erofs");
    let mut usr = made.usr.clone();
    usr[5000] ^= 1;
    fs::write(&file, &usr).unwrap();
    let text = workshop.code("add 1.0.0 --channel alpha", 1);
    assert!(text.contains("usr.erofs: sha256 is"), "{text}");

    let lie = Made {
        usr,
        tree: made.tree,
        uki: made.uki,
    };
    workshop.write_release("1.0.0", &lie);
    let text = workshop.code("add 1.0.0 --channel alpha", 1);
    assert!(
        text.contains("block 1 does not match the hash tree"),
        "{text}"
    );
    workshop.code("sign", 3);
}

/// Publishing is new files under new names, then one or two renames. However far it came when it
/// was killed, clients must find a repository they believe.
#[test]
fn a_killed_command_leaves_a_valid_repository() {
    let workshop = Workshop::new();
    for change in [
        "add",
        "rotate timestamp",
        "rotate root",
        "rotate stable",
        "refresh",
    ] {
        let before = files(&workshop.repo());
        match change {
            "add" => workshop.add("1.0.0", &small(1), "stable", ""),
            other => drop(workshop.ok(other)),
        }
        workshop.ok(VERIFY);
        if change != "refresh" {
            workshop.ok("sign");
        }
        let after = files(&workshop.repo());
        let is_last = |path: &Path| {
            path.ends_with("timestamp.json") || path.to_str().unwrap().ends_with(".root.json")
        };
        let mut changed: Vec<_> = after
            .iter()
            .filter(|(path, content)| before.get(*path) != Some(*content))
            .filter(|(path, _)| !path.starts_with(workshop.repo().join("draft")))
            .collect();
        changed.sort_by_key(|(path, _)| (is_last(path), !path.ends_with("timestamp.json")));
        for done in 0..=changed.len() {
            let cut = Workshop::empty();
            let place = |path: &Path| {
                let path = cut
                    .dir
                    .path()
                    .join(path.strip_prefix(workshop.dir.path()).unwrap());
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                path
            };
            for (path, content) in before.iter().chain(changed[..done].iter().copied()) {
                fs::write(place(path), content).unwrap();
            }
            let half = place(&workshop.repo().join("metadata/.new-half"));
            fs::write(half, b"{").unwrap();
            let text = cut.ok(VERIFY);
            assert!(
                text.contains("all as signed"),
                "{change}, {done} files: {text}"
            );
        }
    }
}

#[test]
fn a_mirror_is_whole_and_alterations_are_found() {
    let workshop = Workshop::new();
    workshop.add("1.0.0", &small(1), "stable", "");
    workshop.ok("sign");
    workshop.ok("rotate root");
    workshop.ok("sign");
    let mirror = "mirror repo copy --root repo/metadata/1.root.json";
    workshop.ok(mirror);
    workshop.ok("verify copy --root repo/metadata/1.root.json");
    assert!(
        files(&workshop.path("copy/targets"))
            .values()
            .eq(files(&workshop.repo().join("targets")).values())
    );

    let (path, mut content) = files(&workshop.path("copy/targets")).pop_first().unwrap();
    content[100] ^= 1;
    fs::write(&path, &content).unwrap();
    let text = workshop.code("verify copy --root repo/metadata/1.root.json", 1);
    assert!(text.contains("sha256 is"), "{text}");
    workshop.ok(mirror);
    workshop.ok("verify copy --root repo/metadata/1.root.json");

    let stranger = Workshop::new();
    fs::copy(
        stranger.repo().join("metadata/1.root.json"),
        workshop.path("other"),
    )
    .unwrap();
    let text = workshop.code("verify repo --root other", 1);
    assert!(text.contains("too few signatures"), "{text}");
}

#[test]
fn only_what_nothing_names_is_collected() {
    let workshop = Workshop::new();
    workshop.add("1.0.0", &small(1), "alpha", "");
    workshop.ok("sign");
    workshop.add("1.1.0", &small(2), "alpha", "");
    let stray = workshop.repo().join("targets/stray");
    fs::write(&stray, b"stray").unwrap();
    workshop.code("gc", 3);
    assert!(
        workshop
            .ok("gc --grace 0s --dry-run")
            .contains("would remove repo/targets/stray")
    );
    assert!(stray.exists());
    workshop.ok("gc --grace 0s");
    assert!(!stray.exists());
    workshop.ok("sign");
    workshop.ok("gc --grace 0s");
    workshop.code("gc --grace 0s", 3);
    assert!(workshop.ok(VERIFY).contains("alpha 1.1.0"));
}

#[tokio::test]
async fn another_implementation_reads_the_repository_and_its_targets() {
    let workshop = Workshop::new();
    let made = small(1);
    workshop.add("1.0.0", &made, "stable", "");
    workshop.ok("sign");
    workshop.ok("promote 1.0.0 stable alpha");
    workshop.ok("rotate timestamp");
    workshop.ok("sign");
    let url = |name: &str| Url::from_directory_path(workshop.repo().join(name)).unwrap();
    let root = workshop.root();
    let loader = RepositoryLoader::new(&root, url("metadata"), url("targets"));
    let repository = loader.load().await.unwrap();
    assert_eq!(repository.root().signed.version.get(), 2);
    let out = workshop.path("out");
    fs::create_dir(&out).unwrap();
    let name = TargetName::new("strake_1.0.0.efi").unwrap();
    repository
        .save_target(&name, &out, tough::Prefix::None)
        .await
        .unwrap();
    assert!(fs::read(out.join("strake_1.0.0.efi")).unwrap() == made.uki);
}

#[tokio::test]
async fn a_current_machine_asks_twice_and_remembers() {
    let workshop = Workshop::new();
    workshop.add("1.0.0", &small(1), "stable", "");
    workshop.ok("sign");
    let store = Store::new(workshop.path("machine"));
    workshop.view_with("stable", &store).await;
    let metadata = workshop.repo().join("metadata");
    for name in ["2.snapshot.json", "1.targets.json", "2.stable.json"] {
        fs::remove_file(metadata.join(name)).unwrap();
    }
    let view = workshop.view_with("stable", &store).await;
    assert_eq!(view.offer("1.0.0").kernel, "6.12.0");
    let timestamp = fs::metadata(metadata.join("timestamp.json")).unwrap().len();
    assert!(timestamp < 1000, "{timestamp} bytes");
}

#[tokio::test]
async fn the_server_serves_ranges_and_nothing_else_than_the_repository() {
    let workshop = Workshop::new();
    workshop.add("1.0.0", &small(1), "stable", "");
    workshop.ok("sign");
    let mut server = workshop
        .command("serve --listen 127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let url = line.trim().strip_prefix("serving on ").unwrap().to_owned();
    let http = Http::new(&url, Patience::default()).unwrap();
    let view = workshop.view("stable").await;
    let target = &view.targets.targets["strake_1.0.0.efi"];
    let path = format!(
        "targets/{}",
        view.verified.target_path("strake_1.0.0.efi", target)
    );
    let part = bytes(&http, &Request::part(&path, 100..5100)).await;
    let missing = bytes(&http, &Request::whole("metadata/9.root.json", 100)).await;
    let outside = bytes(&http, &Request::whole("publisher.json", 1000)).await;
    let verified = workshop.run(&format!("verify {url} --root repo/metadata/1.root.json"));
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(part.unwrap() == small(1).uki[100..5100]);
    assert!(missing.unwrap_err().is_not_found());
    assert!(outside.unwrap_err().is_not_found());
    assert!(verified.status.success(), "{verified:?}");
}

#[tokio::test]
async fn a_machine_refuses_a_repository_older_than_it_has_seen() {
    let workshop = Workshop::new();
    workshop.add("1.0.0", &small(1), "stable", "");
    workshop.ok("sign");
    let old = files(&workshop.repo().join("metadata"));
    workshop.ok("retract 1.0.0 --channel stable");
    workshop.ok("sign");
    let store = Store::new(workshop.path("machine"));
    workshop.view_with("stable", &store).await;
    for (path, content) in &old {
        fs::write(path, content).unwrap();
    }
    let repository = Directory::new(workshop.repo());
    let ask = async || {
        refresh(
            &repository,
            &store,
            &workshop.root(),
            Timestamp::from_unix(0),
        )
        .await
    };
    let cause = |error: RefreshError| error.source().unwrap().source().unwrap().to_string();
    let refused = cause(ask().await.unwrap_err());
    assert_eq!(
        refused,
        "timestamp is at version 2, but version 3 was seen before (rollback)"
    );

    fs::write(workshop.path("machine/trust.json"), b"{").unwrap();
    let damaged = ask().await.unwrap_err();
    assert!(
        matches!(damaged, RefreshError::Store(_)),
        "damage is no fresh start: {damaged:?}"
    );
    fs::remove_dir_all(workshop.path("machine")).unwrap();
    assert!(
        ask().await.is_ok(),
        "without STATE the shipped root is where trust begins"
    );
}
