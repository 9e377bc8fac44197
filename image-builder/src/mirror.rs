//! Which Debian mirror to ask: the host's own, unless one is given. No host name is built in.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{BadInput, SUITE};

/// How much of the archive is looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Suite {
    /// The release as it was last cut
    Main,
    /// With its updates and security fixes
    #[default]
    Security,
    /// With newer packages from backports too, wherever there is one
    Backports,
}

impl Suite {
    /// The suite that apt takes packages from first, when that is not the newest version.
    pub fn target(self) -> Option<String> {
        (self == Self::Backports).then(|| format!("{SUITE}-backports"))
    }
}

/// The address of a Debian archive, ending in `/debian`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror(String);

impl Mirror {
    pub fn parse(url: &str) -> Result<Self> {
        let url = url.trim_end_matches('/');
        let scheme = url.split_once("://").map(|(scheme, _)| scheme);
        if !matches!(
            scheme,
            Some("http" | "https" | "file" | "copy" | "mirror+file")
        ) {
            let text = format!("--mirror {url:?} is no address; example: http://HOST/debian");
            bail!(BadInput(text));
        }
        Ok(Self(url.to_owned()))
    }

    /// The first archive in the host's apt configuration that serves Debian itself.
    pub fn of_host(etc_apt: &Path) -> Result<Self> {
        let mut files = vec![etc_apt.join("sources.list")];
        if let Ok(entries) = fs::read_dir(etc_apt.join("sources.list.d")) {
            let mut more: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
            more.sort();
            files.extend(more);
        }
        files
            .iter()
            .filter_map(|file| fs::read_to_string(file).ok())
            .find_map(|text| find(&text))
            .with_context(|| {
                format!(
                    "no Debian archive in {}; give one with --mirror http://HOST/debian",
                    etc_apt.display()
                )
            })
    }

    pub fn url(&self) -> &str {
        &self.0
    }

    /// Lines of a `sources.list`.
    pub fn sources(&self, suite: Suite) -> Vec<String> {
        let base = &self.0;
        let security = match base.strip_suffix("/debian") {
            Some(host) => format!("{host}/debian-security"),
            None => format!("{base}-security"),
        };
        let mut lines = vec![format!("deb {base} {SUITE} main")];
        if suite != Suite::Main {
            lines.push(format!("deb {base} {SUITE}-updates main"));
            lines.push(format!("deb {security} {SUITE}-security main"));
        }
        lines.extend(suite.target().map(|name| format!("deb {base} {name} main")));
        lines
    }
}

fn find(text: &str) -> Option<Mirror> {
    text.lines().find_map(|line| {
        let line = line.trim();
        let rest = line
            .strip_prefix("URIs:")
            .or_else(|| line.strip_prefix("deb "))?;
        rest.split_whitespace()
            .map(|word| word.trim_end_matches('/'))
            .find(|word| word.contains("://") && word.ends_with("/debian"))
            .map(|word| Mirror(word.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(find(text).as_ref().map(Mirror::url), expected);
    }

    #[test]
    fn the_first_debian_archive_counts_in_both_formats() {
        check(
            "Types: deb\nURIs: http://one.example/debian/\n",
            Some("http://one.example/debian"),
        );
        check(
            "deb [arch=amd64] http://two.example/debian x main",
            Some("http://two.example/debian"),
        );
        check("URIs: http://one.example/debian-security\n", None);
        check("# deb http://three.example/debian x main\n", None);
    }

    #[test]
    fn security_fixes_come_from_the_sibling_archive() {
        let mirror = Mirror::parse("http://one.example/debian/").unwrap();
        assert_eq!(
            mirror.sources(Suite::Security)[2],
            format!("deb http://one.example/debian-security {SUITE}-security main")
        );
        assert!(Mirror::parse("one.example").is_err());
        assert_eq!(mirror.sources(Suite::Main).len(), 1);
        assert_eq!(
            mirror.sources(Suite::Backports)[3],
            format!("deb http://one.example/debian {SUITE}-backports main")
        );
    }
}
