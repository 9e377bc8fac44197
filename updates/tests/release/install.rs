use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use strake_updates::fetch::file::Directory;
use strake_updates::fetch::{Failure, FetchError, Request, Sink, Transport};
use strake_updates::install::fill::install;
use strake_updates::install::partitions::Partitions;
use strake_updates::install::remote::Remote;
use strake_updates::install::{Active, InstallError, Report, uki};
use strake_updates::payload::ladder::Rung;
use strake_updates::payload::tree::Tree;

use crate::workshop::{Made, View, Workshop, blank, make, noise};

const BLOCKS: usize = 600;

/// Counts bytes, and breaks off for good after so many.
struct Line {
    repository: Directory,
    bytes: AtomicU64,
    limit: u64,
}

impl Line {
    fn new(workshop: &Workshop, limit: u64) -> Self {
        let repository = Directory::new(workshop.repo());
        Self {
            repository,
            bytes: AtomicU64::new(0),
            limit,
        }
    }
}

impl Transport for Line {
    async fn fetch(&self, request: &Request, sink: &mut Sink<'_>) -> Result<(), FetchError> {
        let mut broken = false;
        let mut counted = |piece: &[u8]| {
            // Small pieces, so that a break is somewhere in the middle.
            for part in piece.chunks(10_000) {
                if self.bytes.fetch_add(part.len() as u64, Relaxed) > self.limit {
                    broken = true;
                    return Err(std::io::Error::other("the line is dead"));
                }
                sink(part)?;
            }
            Ok(())
        };
        let outcome = self.repository.fetch(request, &mut counted).await;
        match broken {
            true => Err(FetchError {
                url: request.path.clone(),
                failure: Failure::Short {
                    found: 0,
                    expected: request.limit,
                },
            }),
            false => outcome,
        }
    }
}

/// A machine with slot A active and slot B to be filled.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    fn new(running: Option<&Made>) -> Self {
        let machine = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        if let Some(made) = running {
            fs::write(machine.path("usr-a"), &made.usr).unwrap();
            fs::write(machine.path("efi-a"), &made.uki).unwrap();
        }
        machine
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn passive(&self) -> Partitions {
        let open = |name: &str, size| blank(&self.path(name), size);
        Partitions {
            data: open("usr-b", 4 << 20),
            tree: open("tree-b", 64 << 10),
        }
    }

    fn active(&self, made: &Made) -> Active {
        Active {
            data: File::open(self.path("usr-a")).unwrap(),
            tree: made.tree.clone(),
            uki: Some(File::open(self.path("efi-a")).unwrap()),
        }
    }

    async fn install(
        &self,
        line: &Line,
        view: &View,
        running: Option<&Made>,
    ) -> Result<Report, InstallError> {
        let active = running.map(|made| self.active(made));
        let remote = Remote {
            transport: line,
            verified: &view.verified,
            targets: &view.targets,
        };
        let offer = view.catalog.offers.last().unwrap();
        install(
            &remote,
            offer,
            active.as_ref(),
            &self.passive(),
            &mut |_| {},
        )
        .await
    }

    /// What the boot program would find in slot B.
    fn finds(&self, made: &Made) -> bool {
        let bytes = fs::read(self.path("tree-b")).unwrap();
        let is_release = Tree::parse(bytes, made.tree.shape().clone()).is_ok();
        let usr = fs::read(self.path("usr-b")).unwrap();
        is_release && usr[..made.usr.len()] == made.usr
    }
}

fn releases() -> (Made, Made) {
    let old = noise(1, BLOCKS * 4096);
    let mut new = old.clone();
    // A moved part, changed bytes here and there, and new content at the end.
    new.copy_within(100 * 4096..200 * 4096, 300 * 4096);
    for at in (0..20).map(|n| n * 100_000) {
        new[at] ^= 1;
    }
    new.extend(noise(2, 30 * 4096));
    let (old_uki, mut new_uki) = (noise(3, 200_000), noise(3, 200_000));
    new_uki[77_777] ^= 1;
    (make(old, old_uki), make(new, new_uki))
}

async fn published() -> (Workshop, View, Made, Made) {
    let (old, new) = releases();
    let workshop = Workshop::new();
    workshop.add("1.0.0", &old, "stable", "");
    workshop.ok("sign");
    workshop.add("1.1.0", &new, "stable", "");
    workshop.ok("sign");
    let view = workshop.view("stable").await;
    (workshop, view, old, new)
}

fn damage(path: &std::path::Path, range: Range<u64>) {
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(&vec![0xA5; (range.end - range.start) as usize], range.start)
        .unwrap();
}

#[tokio::test]
async fn a_machine_without_the_old_release_takes_all_of_the_new_one() {
    let (workshop, view, _, new) = published().await;
    let machine = Machine::new(None);
    let line = Line::new(&workshop, u64::MAX);
    let report = machine.install(&line, &view, None).await.unwrap();
    assert!(machine.finds(&new));
    assert_eq!(report.fetched_blocks, 630);
    assert_eq!(line.bytes.load(Relaxed), report.fetched_bytes);
}

#[tokio::test]
async fn a_machine_with_the_old_release_takes_the_patch() {
    let (workshop, view, old, new) = published().await;
    let machine = Machine::new(Some(&old));
    let line = Line::new(&workshop, u64::MAX);
    let report = machine.install(&line, &view, Some(&old)).await.unwrap();
    assert!(machine.finds(&new));
    assert_eq!((report.copied_blocks, report.fetched_blocks), (580, 50));
    assert_eq!(report.given_up, []);
    let new_content = 30 * 4096;
    assert!(report.fetched_bytes < new_content + 20_000, "{report:?}");
}

#[tokio::test]
async fn an_installed_release_costs_its_tree_only() {
    let (workshop, view, old, new) = published().await;
    let machine = Machine::new(Some(&old));
    machine
        .install(&Line::new(&workshop, u64::MAX), &view, Some(&old))
        .await
        .unwrap();
    let report = machine
        .install(&Line::new(&workshop, u64::MAX), &view, Some(&old))
        .await
        .unwrap();
    assert!(machine.finds(&new));
    assert_eq!((report.present_blocks, report.fetched_blocks), (630, 0));
    assert!(report.fetched_bytes < 10_000, "{report:?}");
}

#[tokio::test]
async fn a_broken_patch_falls_to_frames_without_losing_what_is_written() {
    let (workshop, view, old, new) = published().await;
    let offer = view.offer("1.1.0");
    let patch = &offer.deltas[0].usr;
    let path = view.file(&workshop, &patch.target);
    let length = fs::metadata(&path).unwrap().len();
    damage(&path, length - 5000..length);
    let machine = Machine::new(Some(&old));
    let line = Line::new(&workshop, u64::MAX);
    let report = machine.install(&line, &view, Some(&old)).await.unwrap();
    assert!(machine.finds(&new));
    assert_eq!(report.given_up[0].0, Rung::Patch);
    assert_eq!(report.fetched_blocks, 50);

    damage(&path, 0..100);
    let machine = Machine::new(Some(&old));
    let report = machine
        .install(&Line::new(&workshop, u64::MAX), &view, Some(&old))
        .await
        .unwrap();
    assert!(
        machine.finds(&new) && report.given_up[0].1.contains("sha256"),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_damaged_active_slot_is_noticed_and_those_blocks_fetched() {
    let (workshop, view, old, new) = published().await;
    let machine = Machine::new(Some(&old));
    damage(&machine.path("usr-a"), 250 * 4096..252 * 4096);
    let report = machine
        .install(&Line::new(&workshop, u64::MAX), &view, Some(&old))
        .await
        .unwrap();
    assert!(machine.finds(&new));
    assert_eq!((report.copied_blocks, report.fetched_blocks), (578, 52));
}

#[tokio::test]
async fn wherever_the_line_breaks_the_slot_is_no_release_and_the_next_run_goes_on() {
    let (workshop, view, old, new) = published().await;
    for running in [None, Some(&old)] {
        let whole = Line::new(&workshop, u64::MAX);
        let machine = Machine::new(running);
        let report = machine.install(&whole, &view, running).await.unwrap();
        let total = whole.bytes.load(Relaxed);
        for step in 0..8 {
            let machine = Machine::new(running);
            let broken = Line::new(&workshop, total * step / 8);
            assert!(machine.install(&broken, &view, running).await.is_err());
            assert!(!machine.finds(&new), "cut after {step}/8");
            let again = Line::new(&workshop, u64::MAX);
            let second = machine.install(&again, &view, running).await.unwrap();
            assert!(machine.finds(&new));
            let twice = broken.limit + second.fetched_bytes;
            let slack = 600_000;
            assert!(
                twice <= report.fetched_bytes + slack,
                "cut after {step}/8: {twice} bytes"
            );
        }
    }
}

#[tokio::test]
async fn altered_payload_never_becomes_a_release() {
    let (workshop, view, _, new) = published().await;
    let offer = view.offer("1.1.0");
    for (name, expected) in [
        (&offer.usr.tree, "sha256 is"),
        (&offer.usr.blocks, "is not in frames|makes block"),
    ] {
        let path = view.file(&workshop, name);
        let good = fs::read(&path).unwrap();
        damage(&path, 8192..12_288);
        let machine = Machine::new(None);
        let error = machine
            .install(&Line::new(&workshop, u64::MAX), &view, None)
            .await;
        let text = error.unwrap_err().to_string();
        assert!(
            expected.split('|').any(|part| text.contains(part)),
            "{text}"
        );
        assert!(!machine.finds(&new));
        fs::write(&path, good).unwrap();
    }
}

#[tokio::test]
async fn a_release_that_does_not_fit_changes_nothing() {
    let (workshop, view, _, _) = published().await;
    let machine = Machine::new(None);
    drop(machine.passive());
    File::options()
        .write(true)
        .open(machine.path("usr-b"))
        .unwrap()
        .set_len(1 << 20)
        .unwrap();
    let passive = Partitions {
        data: File::options()
            .read(true)
            .write(true)
            .open(machine.path("usr-b"))
            .unwrap(),
        tree: machine.passive().tree,
    };
    passive.data.set_len(1 << 20).unwrap();
    let line = Line::new(&workshop, u64::MAX);
    let remote = Remote {
        transport: &line,
        verified: &view.verified,
        targets: &view.targets,
    };
    let outcome = install(&remote, view.offer("1.1.0"), None, &passive, &mut |_| {}).await;
    assert!(matches!(
        outcome,
        Err(InstallError::TooSmall {
            place: "the slot",
            ..
        })
    ));
    assert!(
        fs::read(machine.path("usr-b"))
            .unwrap()
            .iter()
            .all(|byte| *byte == 0)
    );
}

#[tokio::test]
async fn the_boot_entry_comes_by_patch_whole_or_resumed() {
    let (workshop, view, old, new) = published().await;
    let machine = Machine::new(Some(&old));
    let active = machine.active(&old);
    let line = Line::new(&workshop, u64::MAX);
    let remote = Remote {
        transport: &line,
        verified: &view.verified,
        targets: &view.targets,
    };
    let offer = view.offer("1.1.0");
    let fetch = async |active: Option<&Active>, left: &[u8]| {
        let path = machine.path("entry.part");
        fs::write(&path, left).unwrap();
        let fetched = uki::fetch(&remote, offer, active, &path).await.unwrap();
        assert!(fs::read(&path).unwrap() == new.uki);
        fetched
    };
    assert!(fetch(Some(&active), &[]).await < 6000);
    assert_eq!(fetch(None, &[]).await, 200_000);
    assert_eq!(fetch(None, &new.uki[..150_000]).await, 50_000);
    assert_eq!(fetch(None, &new.uki).await, 0);
    assert_eq!(fetch(None, &[1; 150_000]).await, 250_000);
    assert_eq!(fetch(None, &[1; 300_000]).await, 200_000);
}
