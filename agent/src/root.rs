//! The root directory everything is read from and written to: `/` on a machine, a directory in
//! tests and under `--root`.
//!
//! Symbolic links are followed inside the root only: an absolute link starts again at the root,
//! and `..` never leaves it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;

const MAX_LINKS: usize = 40;

#[derive(Debug, Clone)]
pub struct Root {
    dir: PathBuf,
}

impl Root {
    pub fn new(dir: impl Into<PathBuf>) -> Root {
        Root { dir: dir.into() }
    }

    pub fn is_machine(&self) -> bool {
        self.dir == Path::new("/")
    }

    /// Whether this system is there at all: a guard against changing somebody's laptop.
    pub fn is_strake(&self) -> bool {
        let text = self.read_text("/usr/lib/os-release").unwrap_or_default();
        text.lines()
            .any(|line| matches!(line, "ID=strake" | "ID=\"strake\""))
    }

    /// Where `path` is on this machine, its last component not followed.
    pub fn locate(&self, path: &Path) -> io::Result<PathBuf> {
        if self.is_machine() {
            return Ok(path.to_path_buf());
        }
        let Some(name) = path.file_name() else {
            return Ok(self.dir.clone());
        };
        let parent = path.parent().unwrap_or(Path::new("/"));
        Ok(self.dir.join(self.resolve(parent)?).join(name))
    }

    /// Where `path` is on this machine, every link followed.
    pub fn follow(&self, path: &Path) -> io::Result<PathBuf> {
        if self.is_machine() {
            return Ok(path.to_path_buf());
        }
        Ok(self.dir.join(self.resolve(path)?))
    }

    pub fn read(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        std::fs::read(self.follow(path.as_ref())?)
    }

    pub fn read_text(&self, path: impl AsRef<Path>) -> io::Result<String> {
        std::fs::read_to_string(self.follow(path.as_ref())?)
    }

    /// The file's text, or nothing when there is no such file.
    pub fn read_optional(&self, path: impl AsRef<Path>) -> io::Result<Option<String>> {
        match self.read_text(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Names in a directory, sorted; none when there is no such directory.
    pub fn list(&self, path: impl AsRef<Path>) -> Vec<OsString> {
        let Ok(dir) = self.follow(path.as_ref()) else {
            return Vec::new();
        };
        let mut names: Vec<_> = std::fs::read_dir(dir)
            .map(|entries| entries.flatten().map(|entry| entry.file_name()).collect())
            .unwrap_or_default();
        names.sort();
        names
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let mut rest: VecDeque<OsString> = components(path);
        let mut done = PathBuf::new();
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                done.pop();
                continue;
            }
            let next = done.join(&name);
            match std::fs::read_link(self.dir.join(&next)) {
                Ok(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::ELOOP.into());
                    }
                    if target.is_absolute() {
                        done = PathBuf::new();
                    }
                    for component in components(&target).into_iter().rev() {
                        rest.push_front(component);
                    }
                }
                Err(_) => done = next,
            }
        }
        Ok(done)
    }
}

fn components(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_os_string()),
            Component::ParentDir => Some(OsString::from("..")),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_inside_the_root() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Root::new(dir.path());
        std::fs::create_dir_all(dir.path().join("var/home")).expect("dir");
        symlink("/var/home", dir.path().join("home")).expect("link");
        symlink("../../../../var", dir.path().join("v")).expect("link");
        symlink("loop", dir.path().join("loop")).expect("link");
        let at = |path: &str| dir.path().join(path);
        let cases = [
            ("/home/core/x", at("var/home/core/x")),
            ("/v/home/y", at("var/home/y")),
            ("/home", at("home")),
            ("/../../etc/passwd", at("etc/passwd")),
        ];
        for (path, expected) in cases {
            assert_eq!(
                root.locate(Path::new(path)).expect(path),
                expected,
                "{path}"
            );
        }
        assert!(root.locate(Path::new("/loop/x")).is_err());
    }
}
