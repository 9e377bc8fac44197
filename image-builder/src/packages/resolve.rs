//! Turns a request into package archives in the cache.
//!
//! When the lock is for this request and the cache has every archive it names, nothing is asked
//! of the network. Otherwise apt resolves and downloads inside mmdebstrap's set-up hook, the
//! locked versions first if the mirror still has them. apt checks signatures; every archive is
//! hashed here again, since apt trusts the size of what is in its cache.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;

use anyhow::{Context, Result, bail};

use super::{Lock, Package, Request};
use crate::digest::Digest;
use crate::mirror::{Mirror, Suite};
use crate::{SUITE, tools};

/// A package and where its archive is.
#[derive(Debug, Clone)]
pub struct Archive {
    pub package: Package,
    pub path: PathBuf,
}

/// Runs with the root as first argument, then the suite to prefer or nothing, the count of locked
/// packages, those packages as NAME=VERSION, and the requested names.
const HOOK: &str = r#"
set -eu
root=$1 target=$2 pins=$3
shift 3
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
apt-get update -q --error-on=any
get() { apt-get install --yes -q --no-install-recommends ${target:+-t "$target"} "$@"; }
mkdir -p "$root/strake"
i=0 locked=
while [ "$i" -lt "$pins" ]; do locked="$locked $1"; shift; i=$((i + 1)); done
if [ -n "$locked" ] && get --simulate $locked >/dev/null 2>&1; then set -- $locked; fi
get -qq --print-uris -o Dir::Cache::archives=/nowhere "$@" >"$root/strake/uris"
get --download-only "$@"
sed "s/^[^ ]* \([^_]*\)_\([^_]*\)_.*/\1=\2/; s/%3a/:/" "$root/strake/uris" |
    xargs apt-cache show >"$root/strake/index"
"#;

pub fn resolve(
    request: &Request,
    lock: Option<&Lock>,
    suite: Suite,
    mirror: impl FnOnce() -> Result<Mirror>,
    cache: &Path,
) -> Result<Vec<Archive>> {
    fs::create_dir_all(cache).with_context(|| format!("making {}", cache.display()))?;
    let lock = lock.filter(|lock| lock.request == request.digest());
    if let Some(lock) = lock {
        let archives = archives(&lock.packages, cache);
        if archives.iter().all(|archive| archive.path.is_file()) && damaged(&archives).is_none() {
            return Ok(archives);
        }
    }
    let index = download(request, lock, suite, &mirror()?, cache)?;
    let archives = archives(&parse_index(&index)?, cache);
    if let Some(archive) = damaged(&archives) {
        let _ = fs::remove_file(&archive.path);
        bail!(
            "{} in the cache was damaged and is removed; run again",
            archive.path.display()
        );
    }
    Ok(archives)
}

fn archives(packages: &[Package], cache: &Path) -> Vec<Archive> {
    let archive = |package: &Package| Archive {
        package: package.clone(),
        path: cache.join(package.file_name()),
    };
    packages.iter().map(archive).collect()
}

/// The first archive whose bytes are not those of its package.
fn damaged(archives: &[Archive]) -> Option<&Archive> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let wrong = |archive: &&Archive| !matches!(Digest::of_file(&archive.path), Ok(digest) if digest == archive.package.sha256);
    thread::scope(|scope| {
        let share = archives.len().div_ceil(workers).max(1);
        let found: Vec<_> = archives
            .chunks(share)
            .map(|chunk| scope.spawn(move || chunk.iter().find(wrong)))
            .collect();
        found
            .into_iter()
            .find_map(|worker| worker.join().ok().flatten())
    })
}

fn download(
    request: &Request,
    lock: Option<&Lock>,
    suite: Suite,
    mirror: &Mirror,
    cache: &Path,
) -> Result<String> {
    let output = tempfile::tempdir().context("making a temporary directory")?;
    let script = output.path().join("hook");
    fs::write(&script, HOOK).context("writing the hook for apt")?;
    let pins: Vec<String> = lock
        .iter()
        .flat_map(|lock| &lock.packages)
        .map(|package| format!("{}={}", package.name, package.version))
        .collect();
    let words = [&pins[..], request.names()].concat().join(" ");
    let (output_path, cache) = (output.path().display(), cache.display());
    let mut command = tools::mmdebstrap("custom");
    command
        .args(["--format=null", "--skip=update,cleanup"])
        .arg("--setup-hook=mkdir -p \"$1\"/var/cache/apt/archives/partial")
        .arg(format!(
            "--setup-hook=sync-in {cache} /var/cache/apt/archives"
        ))
        .arg(format!(
            "--setup-hook=sh {output_path}/hook \"$1\" '{}' {} {words}",
            suite.target().unwrap_or_default(),
            pins.len()
        ))
        .arg(format!(
            "--setup-hook=sync-out /var/cache/apt/archives {cache}"
        ))
        .arg(format!("--setup-hook=sync-out /strake {output_path}"))
        .args([SUITE, "-"])
        .args(mirror.sources(suite))
        .stdin(Stdio::null());
    let ended = command.output().map_err(tools::not_installed)?;
    if !ended.status.success() {
        let words = String::from_utf8_lossy(&ended.stderr);
        return Err(tools::failed(&words, mirror));
    }
    fs::read_to_string(output.path().join("index")).context("reading what apt resolved")
}

/// Reads the paragraphs of `apt-cache show`.
fn parse_index(text: &str) -> Result<Vec<Package>> {
    let mut packages = BTreeMap::new();
    for paragraph in text
        .split("\n\n")
        .filter(|paragraph| !paragraph.trim().is_empty())
    {
        let field = |name: &str| {
            let value = paragraph
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(|value| value.trim().to_owned());
            value.with_context(|| format!("apt's answer lacks {name} in:\n{paragraph}"))
        };
        let sha256 = field("SHA256")?;
        let package = Package {
            name: field("Package")?,
            version: field("Version")?,
            architecture: field("Architecture")?,
            sha256: Digest::parse(&sha256)
                .with_context(|| format!("apt's answer has the SHA256 {sha256:?}"))?,
        };
        packages.insert(package.name.clone(), package);
    }
    Ok(packages.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_apt_is_read() {
        let digest = Digest::of(b"x");
        let text = format!(
            "Package: a\nVersion: 1:2-3\nArchitecture: amd64\nDescription: x\n SHA256: no\n\
             SHA256: {digest}\n\nPackage: b\nArchitecture: all\nVersion: 1\nSHA256: {digest}\n"
        );
        let packages = parse_index(&text).unwrap();
        assert_eq!(packages[0].file_name(), "a_1%3a2-3_amd64.deb");
        assert_eq!(
            (packages[1].architecture.as_str(), packages[1].sha256),
            ("all", digest)
        );
        assert!(parse_index("Package: a\n").is_err());
    }

    #[test]
    fn a_complete_cache_needs_no_mirror_and_a_damaged_one_does() {
        let cache = tempfile::tempdir().unwrap();
        let request = Request::new(&["a".to_owned()]).unwrap();
        let package = Package {
            name: "a".into(),
            version: "1".into(),
            architecture: "all".into(),
            sha256: Digest::of(b"deb"),
        };
        let path = cache.path().join(package.file_name());
        let lock = Lock::new(&request, vec![package]);
        let suite = Suite::default();
        let no_mirror = || bail!("the mirror was asked");
        fs::write(&path, "deb").unwrap();
        let found = resolve(&request, Some(&lock), suite, no_mirror, cache.path()).unwrap();
        assert_eq!(found[0].path, path);
        fs::write(&path, "dub").unwrap();
        assert!(resolve(&request, Some(&lock), suite, no_mirror, cache.path()).is_err());
        let other = Request::new(&["b".to_owned()]).unwrap();
        assert!(resolve(&other, Some(&lock), suite, no_mirror, cache.path()).is_err());
    }
}
