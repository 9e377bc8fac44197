//! Debian packages: which ones a list means, and their lock file.

mod resolve;
mod unpack;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::BadInput;
use crate::digest::{Digest, Inputs};

pub use resolve::{Archive, resolve};
pub use unpack::{Control, unpack};

/// One package of one version, named by the bytes of its archive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub architecture: String,
    pub sha256: Digest,
}

impl Package {
    /// As apt names it in its cache.
    pub fn file_name(&self) -> String {
        let version = self.version.replace(':', "%3a");
        format!("{}_{version}_{}.deb", self.name, self.architecture)
    }
}

/// The names asked for: sorted, each once, each well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request(Vec<String>);

impl Request {
    pub fn new<'a>(names: impl IntoIterator<Item = &'a String>) -> Result<Self> {
        let mut list: Vec<String> = names.into_iter().cloned().collect();
        let sound = |name: &str| {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            name.starts_with(plain) && name.chars().all(|c| plain(c) || "+-.".contains(c))
        };
        if let Some(bad) = list.iter().find(|name| !sound(name)) {
            return Err(BadInput(format!("{bad:?} is no name of a Debian package")).into());
        }
        list.sort();
        list.dedup();
        Ok(Self(list))
    }

    pub fn names(&self) -> &[String] {
        &self.0
    }

    pub fn digest(&self) -> Digest {
        self.0
            .iter()
            .fold(Inputs::new("request"), Inputs::with)
            .digest()
    }
}

/// `packages.lock`: what a request resolved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Digest of the request that was resolved.
    pub request: Digest,
    pub packages: Vec<Package>,
}

const HEAD: &str =
    "# Written by `strake-image lock`: name version architecture sha256.\n# Request ";

impl Lock {
    pub fn new(request: &Request, mut packages: Vec<Package>) -> Self {
        packages.sort();
        packages.dedup();
        Self {
            request: request.digest(),
            packages,
        }
    }

    pub fn parse(text: &str) -> Result<Self> {
        let bad = |line: &str| BadInput(format!("packages.lock: {line:?} is not understood"));
        let rest = text
            .strip_prefix(HEAD)
            .ok_or_else(|| bad(first_line(text)))?;
        let (request, lines) = rest.split_once('\n').ok_or_else(|| bad(rest))?;
        let request = Digest::parse(request).ok_or_else(|| bad(request))?;
        let package = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let [name, version, architecture, sha256] = words[..] else {
                return Err(bad(line));
            };
            let sha256 = Digest::parse(sha256).ok_or_else(|| bad(line))?;
            let [name, version, architecture] = [name, version, architecture].map(str::to_owned);
            Ok(Package {
                name,
                version,
                architecture,
                sha256,
            })
        };
        let packages = lines.lines().map(package).collect::<Result<_, _>>()?;
        Ok(Self { request, packages })
    }

    pub fn to_text(&self) -> String {
        let mut text = format!("{HEAD}{}\n", self.request);
        for Package {
            name,
            version,
            architecture,
            sha256,
        } in &self.packages
        {
            writeln!(text, "{name} {version} {architecture} {sha256}")
                .expect("writing to a string");
        }
        text
    }

    /// One line for each package that `found` has in another version, lacks or has in addition.
    /// Additions count only when both come from the same request.
    pub fn differences(&self, found: &Lock) -> Vec<String> {
        let by_name = |lock: &'_ Lock| -> BTreeMap<String, Package> {
            let pair = |package: &Package| (package.name.clone(), package.clone());
            lock.packages.iter().map(pair).collect()
        };
        let (locked, found_packages) = (by_name(self), by_name(found));
        let mut lines = Vec::new();
        for (name, package) in &locked {
            match found_packages.get(name) {
                Some(other) if other == package => {}
                Some(other) if other.version == package.version => {
                    lines.push(format!(
                        "{name} {}: other bytes than locked",
                        package.version
                    ));
                }
                Some(other) => {
                    lines.push(format!(
                        "{name}: locked {}, found {}",
                        package.version, other.version
                    ));
                }
                None => lines.push(format!("{name}: locked {}, not found", package.version)),
            }
        }
        if self.request == found.request {
            let added = found_packages
                .iter()
                .filter(|(name, _)| !locked.contains_key(*name));
            lines.extend(added.map(|(name, package)| format!("{name}: found {}", package.version)));
        }
        lines
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str) -> Package {
        Package {
            name: name.into(),
            version: version.into(),
            architecture: "amd64".into(),
            sha256: Digest::of(version.as_bytes()),
        }
    }

    fn request(names: &[&str]) -> Request {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Request::new(&names).unwrap()
    }

    #[test]
    fn a_lock_is_read_as_it_was_written() {
        let lock = Lock::new(
            &request(&["b"]),
            vec![package("b", "1:2"), package("a", "1")],
        );
        assert_eq!(lock.packages[0].name, "a");
        assert_eq!(lock.packages[1].file_name(), "b_1%3a2_amd64.deb");
        assert_eq!(Lock::parse(&lock.to_text()).unwrap(), lock);
        assert!(Lock::parse("a 1 amd64\n").is_err());
        assert!(Lock::parse(&format!("{}x y\n", lock.to_text())).is_err());
    }

    #[test]
    fn differences_name_each_package_once() {
        let old = Lock::new(&request(&["a"]), vec![package("a", "1"), package("b", "1")]);
        let new = Lock::new(&request(&["a"]), vec![package("a", "2"), package("c", "1")]);
        assert_eq!(
            old.differences(&new),
            [
                "a: locked 1, found 2",
                "b: locked 1, not found",
                "c: found 1"
            ]
        );
        let asked_for_more = Lock::new(&request(&["a", "c"]), new.packages.clone());
        assert_eq!(old.differences(&asked_for_more).len(), 2);
        assert!(old.differences(&old).is_empty());
    }

    #[test]
    fn names_that_are_no_package_names_are_refused() {
        for bad in ["", "-o", "a;b", "A", "a b", "a_b", "../x"] {
            assert!(
                Request::new(&[bad.to_owned()])
                    .unwrap_err()
                    .is::<BadInput>(),
                "{bad}"
            );
        }
    }
}
