//! Other ways to send the same releases: slot and boot entry, each from its old form.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

use crate::bench::Site;
use crate::tools::run;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Casync,
    Zchunk,
    Xdelta,
    Rauc,
    Full,
}

pub(super) const ALL: [Peer; 5] = [
    Peer::Casync,
    Peer::Zchunk,
    Peer::Xdelta,
    Peer::Rauc,
    Peer::Full,
];

impl Peer {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Casync => "casync",
            Self::Zchunk => "zchunk",
            Self::Xdelta => "xdelta3 -1",
            Self::Rauc => "RAUC block-hash-index, arithmetic",
            Self::Full => "zstd -9, whole",
        }
    }
}

/// Installs beside the tree, not into it: only this bench wants them.
const FETCH: &str = r#"
set -eu
cd "$1"
mkdir -p lists/partial archives/partial root
apt="-q -o Dir::State::Lists=$1/lists -o Dir::Cache=$1 -o APT::Sandbox::User=root"
apt-get $apt update
apt-get $apt install --yes --no-install-recommends --download-only casync xdelta3 zchunk
for archive in archives/*.deb; do dpkg-deb -x "$archive" root; done
touch complete
"#;

/// Run with a place for results and the old and the new file; print how many bytes travel.
const CASYNC: &str = r#"
casync make --store="$1/old.castr" "$1/old.caibx" "$2" >/dev/null
casync make --store="$1/new.castr" "$1/new.caibx" "$3" >/dev/null
cd "$1/new.castr"
find . -name '*.cacnk' | while read -r chunk; do [ -e "../old.castr/$chunk" ] || echo "$chunk"; done >../missing
(cat ../new.caibx; xargs -r cat <../missing) | wc -c
"#;
const ZCHUNK: &str = r#"
zck -o "$1/old.zck" "$2"
zck -o "$1/new.zck" "$3"
zck_delta_size "$1/old.zck" "$1/new.zck" | sed -n 's/^Would download in total \([0-9]*\) of .*/\1/p'
"#;
const XDELTA: &str = r#"xdelta3 -1 -B 1073741824 -e -c -s "$2" "$3" | wc -c"#;
const FULL: &str = r#"zstd -9 -q -c "$3" | wc -c"#;

/// Programs unpacked beside the tools tree.
pub(super) struct Peers<'a> {
    site: &'a Site<'a>,
    directory: PathBuf,
}

impl<'a> Peers<'a> {
    pub(super) fn prepare(site: &'a Site<'a>) -> Result<Self> {
        let directory = site.workspace.work().join("bench/update/peers");
        fs::create_dir_all(&directory)
            .with_context(|| format!("making {}", directory.display()))?;
        if !directory.join("complete").exists() {
            site.progress.stage("programs of the peers", || {
                let mut command = site.tools.command("sh");
                run(command.args(["-c", FETCH, "fetch"]).arg(&directory)).map(drop)
            })?;
        }
        Ok(Self { site, directory })
    }

    /// Bytes that bring one build's slot and boot entry to another's.
    pub(super) fn bytes(&self, peer: Peer, old: &Path, new: &Path) -> Result<u64> {
        let slot = self.file(peer, &old.join("usr.erofs"), &new.join("usr.erofs"))?;
        Ok(slot + self.file(peer, &entry(old)?, &entry(new)?)?)
    }

    fn file(&self, peer: Peer, old: &Path, new: &Path) -> Result<u64> {
        let script = match peer {
            Peer::Casync => CASYNC,
            Peer::Zchunk => ZCHUNK,
            Peer::Xdelta => XDELTA,
            Peer::Rauc => return missing_blocks(old, new),
            Peer::Full => FULL,
        };
        let results = self.directory.join("results");
        if results.exists() {
            fs::remove_dir_all(&results).context("removing older results")?;
        }
        fs::create_dir(&results).context("making a place for results")?;
        let root = self.directory.join("root/usr");
        let paths = format!(
            "set -eu; PATH={0}/bin:$PATH; export LD_LIBRARY_PATH={0}/lib/x86_64-linux-gnu\n",
            root.display()
        );
        let mut command = self.site.tools.command("sh");
        command.arg("-c").arg(paths + script).arg("peer");
        let told = run(command.arg(&results).arg(old).arg(new))?;
        fs::remove_dir_all(&results).context("removing results")?;
        let bytes = told.trim().parse();
        bytes.with_context(|| format!("{} says {told:?}", peer.name()))
    }
}

fn entry(build: &Path) -> Result<PathBuf> {
    let version = build
        .file_name()
        .context("a build is named by its version")?;
    Ok(build.join(format!("strake_{}.efi", version.display())))
}

/// An index of one digest per block of the new file, and each block the old one has not.
fn missing_blocks(old: &Path, new: &Path) -> Result<u64> {
    let known: HashSet<_> = blocks(old)?.into_iter().collect();
    let wanted = blocks(new)?;
    let index = wanted.len() as u64 * 32;
    let missing: HashSet<_> = wanted.iter().filter(|one| !known.contains(*one)).collect();
    Ok(index + missing.len() as u64 * 4096)
}

fn blocks(path: &Path) -> Result<Vec<[u8; 32]>> {
    let reading = || format!("reading {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    let mut digests = Vec::new();
    loop {
        let mut part = Vec::with_capacity(1 << 20);
        let length = (&mut file).take(1 << 20).read_to_end(&mut part);
        if length.with_context(reading)? == 0 {
            return Ok(digests);
        }
        digests.extend(
            part.chunks(4096)
                .map(|block| <[u8; 32]>::from(Sha256::digest(block))),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_block_counts_once_beside_the_index() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, blocks: &[u8]| {
            let path = dir.path().join(name);
            let content: Vec<u8> = blocks.iter().flat_map(|byte| [*byte; 4096]).collect();
            fs::write(&path, content).unwrap();
            path
        };
        let (old, new) = (file("old", &[1, 2, 3]), file("new", &[3, 4, 4, 1, 5]));
        assert_eq!(missing_blocks(&old, &new).unwrap(), 5 * 32 + 2 * 4096);
    }
}
