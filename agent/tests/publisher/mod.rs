//! A publisher's desk with the built `strake-release`, its server, and a machine whose slots are
//! files.

#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod bench;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use strake_updates::digest::{Digest, to_hex};
use strake_updates::payload::tree::Tree;
use strake_updates::release::{Artifact, ArtifactKind, Release};

use crate::machine::{Machine, Run};

const SALT: [u8; 32] = [5; 32];
const BLOCK: usize = 4096;
/// Bytes of the files that stand for a slot's partitions.
const SLOT: u64 = 1 << 20;
const TREE: u64 = 64 << 10;

pub(crate) struct Publisher {
    dir: tempfile::TempDir,
    program: PathBuf,
}

pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
}

/// A release's content.
pub(crate) struct Made {
    pub(crate) usr: Vec<u8>,
    pub(crate) tree: Tree,
    pub(crate) uki: Vec<u8>,
}

/// Bytes that do not compress, the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let piece = |n: u64| Digest::of(&[seed.to_le_bytes(), n.to_le_bytes()].concat()).0;
    let mut bytes: Vec<u8> = (0..length.div_ceil(32) as u64).flat_map(piece).collect();
    bytes.truncate(length);
    bytes
}

/// Releases of neighbouring seeds share half of their blocks.
pub(crate) fn made(seed: u64) -> Made {
    let usr = [noise(7, 40 * BLOCK), noise(seed, 40 * BLOCK)].concat();
    let leaves = usr.chunks(BLOCK).map(|block| Digest::salted(&SALT, block));
    let leaves: Vec<_> = leaves.collect();
    let tree = Tree::build(&leaves, &SALT, [6; 16]).expect("tree");
    let line = format!("usrhash={} quiet", tree.shape().root_hash);
    let uki = [
        noise(seed + 1000, 10_000),
        line.into_bytes(),
        noise(seed, 10_000),
    ]
    .concat();
    Made { usr, tree, uki }
}

/// The program, beside the test's own; built when only this package was.
fn program() -> PathBuf {
    let own = std::env::current_exe().expect("own path");
    let target = own
        .parent()
        .and_then(Path::parent)
        .expect("target directory");
    let program = target.join("strake-release");
    if !program.exists() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([
            "build",
            "-q",
            "-p",
            "strake-updates",
            "--bin",
            "strake-release",
        ]);
        assert!(cargo.status().expect("cargo runs").success());
    }
    program
}

impl Publisher {
    pub(crate) fn new() -> Publisher {
        let dir = tempfile::tempdir().expect("temp dir");
        let publisher = Publisher {
            dir,
            program: program(),
        };
        publisher.ok("init --channel stable");
        publisher
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    #[track_caller]
    pub(crate) fn ok(&self, arguments: &str) {
        let mut command = Command::new(&self.program);
        command
            .args(["--repo", "repo", "--keys", "keys"])
            .args(arguments.split_whitespace());
        let output = command
            .current_dir(self.dir.path())
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{arguments}: {text}");
    }

    /// Publishes a release in the channel stable.
    #[track_caller]
    pub(crate) fn publish(&self, version: &str, made: &Made, more: &str) {
        let dir = self.path(version);
        std::fs::create_dir_all(&dir).expect("dir");
        let artifact = |name: &str, bytes: &[u8], kind| {
            std::fs::write(dir.join(name), bytes).expect("artifact");
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
            version: version.parse().expect("version"),
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
        let json = serde_json::to_vec_pretty(&release).expect("JSON");
        std::fs::write(dir.join("release.json"), json).expect("release.json");
        self.ok(&format!("add {version} --channel stable --level 3 {more}"));
        self.ok("sign");
    }

    pub(crate) fn root(&self) -> Vec<u8> {
        std::fs::read(self.path("repo/metadata/1.root.json")).expect("root")
    }

    pub(crate) fn serve(&self) -> Server {
        let mut command = Command::new(&self.program);
        command.args(["--repo", "repo", "serve", "--listen", "127.0.0.1:0"]);
        command.current_dir(self.dir.path()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let url = lines.by_ref().find_map(|line| {
            let line = line.ok()?;
            let at = line.find("http://")?;
            Some(line[at..].trim().trim_end_matches('/').to_owned())
        });
        // Whatever it prints later has a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Server {
            child,
            url: url.expect("an address"),
        }
    }
}

impl Server {
    /// The whole answer to a plain request.
    pub(crate) fn get(&self, path: &str) -> String {
        let address = self.url.trim_start_matches("http://");
        let mut stream = std::net::TcpStream::connect(address).expect("connected");
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A machine that runs a release from slot A, blessed.
pub(crate) struct Node {
    pub(crate) machine: Machine,
}

impl Node {
    pub(crate) fn new(version: &str, running: &Made, publisher: &Publisher, url: &str) -> Node {
        let node = Node {
            machine: Machine::new(),
        };
        let machine = &node.machine;
        for (index, label) in ["USR-A", "USR-A-VERITY", "USR-B", "USR-B-VERITY"]
            .iter()
            .enumerate()
        {
            let device = format!("vda{}", index + 2);
            let uevent = format!("DEVNAME={device}\nPARTNAME={label}\n");
            machine.put(&format!("sys/devices/vda/{device}/uevent"), uevent);
            machine.put(&format!("dev/{device}"), "");
            let length = if label.ends_with("VERITY") {
                TREE
            } else {
                SLOT
            };
            let file = std::fs::File::options()
                .write(true)
                .open(machine.path(&format!("dev/{device}")));
            file.expect("device").set_len(length).expect("length");
            node.link(
                &format!("sys/class/block/{device}"),
                &format!("../../devices/vda/{device}"),
            );
        }
        machine.put("sys/devices/dm-0/dm/name", "usr\n");
        machine.put("sys/devices/dm-0/uevent", "DEVNAME=dm-0\n");
        node.link("sys/class/block/dm-0", "../../devices/dm-0");
        machine.put(
            "proc/sys/kernel/random/boot_id",
            "00000000-0000-4000-8000-000000000001\n",
        );
        machine.put("etc/machine-id", "000102030405060708090a0b0c0d0e0f\n");
        machine.put(
            "etc/coreos/update.conf",
            format!("SERVER={url}\nGROUP=stable\n"),
        );
        machine.put("etc/strake/update/root.json", publisher.root());
        node.fill("vda2", &running.usr);
        node.fill("vda3", running.tree.bytes());
        machine.put(&format!("efi/EFI/Linux/strake_{version}.efi"), &running.uki);
        node.boots(version, "A", running);
        node
    }

    /// From now on this release runs.
    pub(crate) fn boots(&self, version: &str, slot: &str, made: &Made) {
        let (hash, machine) = (made.tree.shape().root_hash, &self.machine);
        let init = format!(r#"{{"slot":"{slot}","root_hash":"{hash}","steps":[]}}"#);
        machine.put("run/strake/init.json", init);
        machine.put(
            "usr/lib/os-release",
            format!("ID=strake\nIMAGE_VERSION={version}\n"),
        );
        let (data, tree) = if slot == "A" {
            ("vda2", "vda3")
        } else {
            ("vda4", "vda5")
        };
        for link in ["dev/mapper/usr", "sys/devices/dm-0/slaves"] {
            let path = machine.path(link);
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
        }
        self.link("dev/mapper/usr", &format!("../{data}"));
        for device in [data, tree] {
            self.link(&format!("sys/devices/dm-0/slaves/{device}"), "../../vda");
        }
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.machine.path(path);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("dir");
        symlink(target, path).expect("link");
    }

    pub(crate) fn fill(&self, device: &str, bytes: &[u8]) {
        let mut content = self.slot(device);
        content[..bytes.len()].copy_from_slice(bytes);
        std::fs::write(self.machine.path(&format!("dev/{device}")), content).expect("device");
    }

    pub(crate) fn slot(&self, device: &str) -> Vec<u8> {
        std::fs::read(self.machine.path(&format!("dev/{device}"))).expect("device")
    }

    /// Names in the ESP, sorted.
    pub(crate) fn entries(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.machine.path("efi/EFI/Linux")).expect("ESP");
        let names = entries.map(|entry| entry.expect("entry").file_name().into_string());
        let mut names: Vec<String> = names.map(|name| name.expect("UTF-8")).collect();
        names.sort();
        names
    }

    pub(crate) fn rename_entry(&self, from: &str, to: &str) {
        let dir = self.machine.path("efi/EFI/Linux");
        std::fs::rename(dir.join(from), dir.join(to)).expect("rename");
    }

    pub(crate) fn update(&self, arguments: &str) -> Run {
        let arguments: Vec<&str> = ["update"].into_iter().chain(arguments.split(' ')).collect();
        self.machine.strake(&arguments)
    }

    /// Runs a command that must end with an exit code; what it printed is returned.
    #[track_caller]
    pub(crate) fn code(&self, arguments: &str, code: i32) -> String {
        let run = self.update(arguments);
        assert_eq!(run.code, code, "{arguments}\n{}{}", run.out, run.err);
        run.out + &run.err
    }

    #[track_caller]
    pub(crate) fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.code("status -o json", 0)).expect("JSON")
    }
}
