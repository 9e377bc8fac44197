//! The `[Install]` section: which symlinks enable a unit.
//!
//! What `systemctl enable` would make, computed from the text alone. `Also=` names further units
//! whose own files the caller has to read.

use serde::Serialize;

use crate::config::UnitGroup;
use crate::plan::Link;
use crate::unit_file::{UnitFile, words};
use crate::unit_name::UnitName;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Install {
    pub wanted_by: Vec<String>,
    pub required_by: Vec<String>,
    pub upheld_by: Vec<String>,
    pub alias: Vec<String>,
    pub also: Vec<String>,
    pub default_instance: Option<String>,
}

/// Below which directory the links go, and where the unit file itself lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place<'p> {
    /// `/etc/systemd/system` or `/run/systemd/system`.
    pub links: &'p str,
    /// Directory of the unit file.
    pub unit: &'p str,
}

impl Install {
    /// Never fails: a text without the section is an empty one.
    pub fn parse(text: &str) -> Self {
        let file = UnitFile::parse(text);
        let list = |key: &str| {
            let mut list = Vec::new();
            for value in file.values("Install", key) {
                // An empty assignment drops what was said before.
                if value.is_empty() {
                    list.clear();
                }
                list.extend(words(value));
            }
            list
        };
        Self {
            wanted_by: list("WantedBy"),
            required_by: list("RequiredBy"),
            upheld_by: list("UpheldBy"),
            alias: list("Alias"),
            also: list("Also"),
            default_instance: file
                .values("Install", "DefaultInstance")
                .last()
                .filter(|value| !value.is_empty())
                .map(str::to_owned),
        }
    }

    /// Whether enabling makes a link or leads to a unit that has some.
    pub fn is_empty(&self) -> bool {
        self.wanted_by.is_empty()
            && self.required_by.is_empty()
            && self.upheld_by.is_empty()
            && self.alias.is_empty()
            && self.also.is_empty()
    }

    /// The symlinks, sorted. A template without an instance takes its default one; without that
    /// only its aliases remain. Names that are no unit names are left out, as systemd does.
    pub fn links(&self, name: &UnitName, place: &Place<'_>) -> Vec<Link> {
        if name.group() == UnitGroup::Network {
            return Vec::new();
        }
        let target = format!("{}/{}", place.unit, name.template());
        let target = if name.instance().is_none() {
            format!("{}/{name}", place.unit)
        } else {
            target
        };
        let mut links = Vec::new();
        let instance = match (name.is_template(), &self.default_instance) {
            (true, Some(default)) => Some(name.with_instance(default)),
            (true, None) => None,
            (false, _) => Some(name.clone()),
        };
        let dependencies = [
            (&self.wanted_by, "wants"),
            (&self.required_by, "requires"),
            (&self.upheld_by, "upholds"),
        ];
        for (by, suffix) in dependencies {
            for unit in by.iter().filter_map(|unit| expand(unit, name)) {
                if let Some(instance) = &instance {
                    links.push(Link {
                        path: format!("{}/{unit}.{suffix}/{instance}", place.links),
                        target: target.clone(),
                    });
                }
            }
        }
        for alias in self.alias.iter().filter_map(|alias| expand(alias, name)) {
            if alias != *name && alias.kind() == name.kind() {
                let path = format!("{}/{alias}", place.links);
                links.push(Link {
                    path,
                    target: target.clone(),
                });
            }
        }
        links.sort();
        links.dedup();
        links
    }
}

/// The links of a unit whose file holds `text`.
pub fn links(name: &UnitName, text: &str, place: &Place<'_>) -> Vec<Link> {
    Install::parse(text).links(name, place)
}

/// A unit name of the section, its specifiers replaced.
fn expand(text: &str, name: &UnitName) -> Option<UnitName> {
    let mut expanded = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            expanded.push(c);
            continue;
        }
        match chars.next()? {
            '%' => expanded.push('%'),
            'i' => expanded.push_str(name.instance().unwrap_or_default()),
            'j' => expanded.push_str(name.prefix().rsplit('-').next().unwrap_or_default()),
            'n' => expanded.push_str(name.as_str()),
            'N' => expanded.push_str(
                name.as_str()
                    .trim_end_matches(name.kind())
                    .trim_end_matches('.'),
            ),
            'p' => expanded.push_str(name.prefix()),
            // All others depend on the machine, which this crate does not look at.
            _ => return None,
        }
    }
    UnitName::parse(&expanded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'static> = Place {
        links: "/etc/systemd/system",
        unit: "/usr/lib/systemd/system",
    };

    #[track_caller]
    fn check(name: &str, text: &str, expected: &[(&str, &str)]) {
        let name = UnitName::parse(name).expect("valid name");
        let links: Vec<_> = links(&name, text, &PLACE)
            .into_iter()
            .map(|link| {
                let strip = |path: String, base: &str| {
                    path.strip_prefix(base)
                        .expect("below it")
                        .trim_start_matches('/')
                        .to_owned()
                };
                (
                    strip(link.path, PLACE.links),
                    strip(link.target, PLACE.unit),
                )
            })
            .collect();
        let links: Vec<_> = links
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        assert_eq!(links, expected);
    }

    #[test]
    fn wanted_required_and_alias_become_links() {
        check(
            "a.service",
            "[Install]\nWantedBy=multi-user.target b.target\nRequiredBy=c.service\nAlias=d.service\n",
            &[
                ("b.target.wants/a.service", "a.service"),
                ("c.service.requires/a.service", "a.service"),
                ("d.service", "a.service"),
                ("multi-user.target.wants/a.service", "a.service"),
            ],
        );
    }

    #[test]
    fn an_instance_links_to_its_template() {
        check(
            "a@1.service",
            "[Install]\nWantedBy=b@%i.target\n",
            &[("b@1.target.wants/a@1.service", "a@.service")],
        );
    }

    #[test]
    fn a_template_takes_its_default_instance() {
        check(
            "getty@.service",
            "[Install]\nWantedBy=getty.target\nDefaultInstance=tty1\n",
            &[("getty.target.wants/getty@tty1.service", "getty@.service")],
        );
        check("a@.service", "[Install]\nWantedBy=b.target\n", &[]);
    }

    #[test]
    fn an_empty_assignment_resets_and_bad_names_are_left_out() {
        check(
            "a.service",
            "[Install]\nWantedBy=x.target\nWantedBy=\nWantedBy=../y.target %H.target\n",
            &[],
        );
        check("a.service", "", &[]);
        check("a.service", "[Install]\nAlias=b.timer a.service\n", &[]);
    }

    #[test]
    fn also_is_reported() {
        let install = Install::parse("[Install]\nAlso=a.socket b.socket\n");
        assert_eq!(install.also, ["a.socket", "b.socket"]);
        assert!(!install.is_empty());
    }
}
