//! A publisher's desk in a temporary directory: the built program, keys, and made-up releases.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use strake_updates::channel::Channel;
use strake_updates::digest::{Digest, to_hex};
use strake_updates::fetch::file::Directory;
use strake_updates::fetch::refresh;
use strake_updates::offer::{Catalog, Offer};
use strake_updates::payload::tree::Tree;
use strake_updates::release::{Artifact, ArtifactKind, Release};
use strake_updates::time::Timestamp;
use strake_updates::tuf::role::Targets;
use strake_updates::tuf::store::Store;
use strake_updates::tuf::workflow::Verified;

pub(crate) const SALT: [u8; 32] = [5; 32];

pub(crate) struct Workshop {
    pub(crate) dir: tempfile::TempDir,
}

/// A release's content, chosen by the test.
pub(crate) struct Made {
    pub(crate) usr: Vec<u8>,
    pub(crate) tree: Tree,
    pub(crate) uki: Vec<u8>,
}

/// What a machine knows of the repository.
pub(crate) struct View {
    pub(crate) verified: Verified,
    pub(crate) targets: Targets,
    pub(crate) catalog: Catalog,
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..length.div_ceil(32) as u64)
        .flat_map(|n| Digest::of(&[seed.to_le_bytes(), n.to_le_bytes()].concat()).0)
        .collect();
    bytes.truncate(length);
    bytes
}

pub(crate) fn make(usr: Vec<u8>, uki: Vec<u8>) -> Made {
    let leaves: Vec<_> = usr
        .chunks(4096)
        .map(|block| Digest::salted(&SALT, block))
        .collect();
    let tree = Tree::build(&leaves, &SALT, [6; 16]).unwrap();
    Made { usr, tree, uki }
}

impl Workshop {
    /// With the channels alpha and stable.
    pub(crate) fn new() -> Self {
        let workshop = Self::empty();
        workshop.ok("init --channel alpha --channel stable");
        workshop
    }

    pub(crate) fn empty() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn repo(&self) -> PathBuf {
        self.path("repo")
    }

    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strake-release"));
        command
            .args(["--repo", "repo"])
            .args(arguments.split_whitespace());
        if !arguments.contains("--keys") {
            command.args(["--keys", "keys"]);
        }
        command.current_dir(self.dir.path());
        command
    }

    pub(crate) fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed; its output is returned.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: &str) -> String {
        self.code(arguments, 0)
    }

    /// Runs a command that must end with an exit code; all it printed is returned.
    #[track_caller]
    pub(crate) fn code(&self, arguments: &str, code: i32) -> String {
        let output = self.run(arguments);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}\n{text}");
        text
    }

    /// Writes a release as the image builder does, and adds it to a channel.
    #[track_caller]
    pub(crate) fn add(&self, version: &str, made: &Made, channel: &str, more: &str) {
        self.write_release(version, made);
        self.ok(&format!(
            "add {version} --channel {channel} --level 3 {more}"
        ));
    }

    pub(crate) fn write_release(&self, version: &str, made: &Made) {
        let dir = self.path(version);
        fs::create_dir_all(&dir).unwrap();
        let artifact = |name: &str, bytes: &[u8], kind| {
            fs::write(dir.join(name), bytes).unwrap();
            let sha256 = Digest::of(bytes).to_string();
            Artifact {
                name: name.into(),
                size: bytes.len() as u64,
                sha256,
                kind,
            }
        };
        let release = Release {
            name: "strake".into(),
            version: version.parse().unwrap(),
            architecture: "x86-64".into(),
            root_hash: made.tree.shape().root_hash.to_string(),
            salt: to_hex(&SALT),
            verity_uuid: "06060606-0606-0606-0606-060606060606".into(),
            kernel: "6.12.0".into(),
            usr_size: made.usr.len() as u64,
            data_blocks: made.tree.shape().data_blocks,
            artifacts: vec![
                artifact("usr.erofs", &made.usr, ArtifactKind::Usr),
                artifact("usr.verity", made.tree.bytes(), ArtifactKind::Verity),
                artifact("strake.efi", &made.uki, ArtifactKind::Uki),
            ],
        };
        let json = serde_json::to_vec_pretty(&release).unwrap();
        fs::write(dir.join("release.json"), json).unwrap();
    }

    pub(crate) fn root(&self) -> Vec<u8> {
        fs::read(self.repo().join("metadata/1.root.json")).unwrap()
    }

    /// What a machine sees that never asked before.
    pub(crate) async fn view(&self, channel: &str) -> View {
        let store = Store::new(self.dir.path().join("fresh-machine"));
        let _ = fs::remove_dir_all(self.path("fresh-machine"));
        self.view_with(channel, &store).await
    }

    pub(crate) async fn view_with(&self, channel: &str, store: &Store) -> View {
        let transport = Directory::new(self.repo());
        let channel: Channel = channel.parse().unwrap();
        let clock = Timestamp::from_unix(0);
        let verified = refresh::refresh(&transport, store, &self.root(), clock)
            .await
            .unwrap();
        let targets = refresh::channel(&transport, store, &verified, &channel)
            .await
            .unwrap();
        let catalog = Catalog::read(&channel, &targets);
        assert!(catalog.invalid.is_empty(), "{:?}", catalog.invalid);
        View {
            verified,
            targets,
            catalog,
        }
    }
}

impl View {
    pub(crate) fn offer(&self, version: &str) -> &Offer {
        let version = version.parse().unwrap();
        self.catalog
            .offers
            .iter()
            .find(|offer| offer.version == version)
            .unwrap()
    }

    pub(crate) fn file(&self, workshop: &Workshop, name: &str) -> PathBuf {
        let path = self.verified.target_path(name, &self.targets.targets[name]);
        workshop.repo().join("targets").join(path)
    }
}

/// A file of zeros, in place of a partition.
pub(crate) fn blank(path: &Path, length: u64) -> File {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    let file = file.unwrap();
    file.set_len(length).unwrap();
    file
}

pub(crate) fn small(seed: u64) -> Made {
    make(noise(seed, 40 * 4096), noise(seed + 1000, 10_000))
}

/// Every file of a directory with its content.
pub(crate) fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let content = fs::read(&path).unwrap();
            found.insert(path, content);
        }
    }
    found
}

pub(crate) const VERIFY: &str = "verify repo --root repo/metadata/1.root.json";
