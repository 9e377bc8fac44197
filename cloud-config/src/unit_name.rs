//! Names of unit files: parsed once, then known to be a plain file name of a known type.

use std::fmt;

use thiserror::Error;

use crate::config::UnitGroup;

/// What systemd and networkd read, by suffix.
const SYSTEM: &[&str] = &[
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];
const NETWORK: &[&str] = &["network", "netdev", "link"];

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName(String);

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("a unit name has no slash and is not \"..\": only the file's name")]
    NotAFileName,
    #[error("a unit name ends in its type, such as .service")]
    NoType,
    #[error("units of type .{0} do not exist; known are .service, .timer, .mount, .network, ...")]
    UnknownType(String),
    #[error("units of type .{0} are made by systemd itself, not from files")]
    NoFile(String),
    #[error("a unit name is made of letters, digits and : - _ . \\ @, at most 255")]
    Characters,
}

impl UnitName {
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if text.contains('/') || matches!(text, "." | "..") {
            return Err(Refusal::NotAFileName);
        }
        let (stem, kind) = text.rsplit_once('.').ok_or(Refusal::NoType)?;
        if matches!(kind, "device" | "scope") {
            return Err(Refusal::NoFile(kind.to_owned()));
        }
        if !(SYSTEM.contains(&kind) || NETWORK.contains(&kind)) {
            let known = kind
                .chars()
                .take(20)
                .filter(|c| c.is_ascii_graphic())
                .collect();
            return Err(Refusal::UnknownType(known));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        if stem.is_empty() || stem.starts_with('@') || text.len() > 255 || !text.chars().all(plain)
        {
            return Err(Refusal::Characters);
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The suffix without its dot.
    pub fn kind(&self) -> &str {
        self.0.rsplit_once('.').map_or("", |(_, kind)| kind)
    }

    pub fn group(&self) -> UnitGroup {
        UnitGroup::of(&self.0)
    }

    /// `Some("")` for a template, `Some("1")` for `a@1.service`, `None` for a plain unit.
    pub fn instance(&self) -> Option<&str> {
        let (stem, _) = self.0.rsplit_once('.')?;
        stem.split_once('@').map(|(_, instance)| instance)
    }

    pub fn is_template(&self) -> bool {
        self.instance() == Some("")
    }

    /// `a@.service` for `a@1.service`; a plain unit is its own.
    #[must_use]
    pub fn template(&self) -> Self {
        match self.0.split_once('@') {
            Some((prefix, _)) => Self(format!("{prefix}@.{}", self.kind())),
            None => self.clone(),
        }
    }

    /// `a@1.service` for the template `a@.service`; a plain unit stays what it is.
    #[must_use]
    pub fn with_instance(&self, instance: &str) -> Self {
        match self.0.split_once('@') {
            Some((prefix, _)) => Self(format!("{prefix}@{instance}.{}", self.kind())),
            None => self.clone(),
        }
    }

    /// The part before `@`, or before the type.
    pub fn prefix(&self) -> &str {
        let stem = self
            .0
            .rsplit_once('.')
            .map_or(self.0.as_str(), |(stem, _)| stem);
        stem.split_once('@').map_or(stem, |(prefix, _)| prefix)
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One step of a path, nothing that leads elsewhere.
pub(crate) fn is_file_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 255
        && !matches!(text, "." | "..")
        && !text.contains(['/', '\0', '\n'])
}

/// The name systemd gives the unit of a path, as `systemd-escape --path` prints it.
pub(crate) fn escape_path(path: &str) -> String {
    let steps: Vec<&str> = path
        .split('/')
        .filter(|step| !step.is_empty() && *step != ".")
        .collect();
    if steps.is_empty() {
        return "-".to_owned();
    }
    let mut escaped = String::new();
    for (index, byte) in steps.join("/").bytes().enumerate() {
        match byte {
            b'/' => escaped.push('-'),
            b'.' if index == 0 => escaped.push_str("\\x2e"),
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b':' | b'_' | b'.' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("\\x{byte:02x}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_known_types_are_taken() {
        for name in [
            "a.service",
            "a@.service",
            "a@b.timer",
            "10-eth.network",
            "x\\x2dy.mount",
        ] {
            assert_eq!(
                UnitName::parse(name).map(|name| name.to_string()),
                Ok(name.to_owned())
            );
        }
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        for (name, refusal) in [
            ("../a.service", Refusal::NotAFileName),
            ("a/b.service", Refusal::NotAFileName),
            ("..", Refusal::NotAFileName),
            ("a", Refusal::NoType),
            ("a.txt", Refusal::UnknownType("txt".into())),
            ("a.scope", Refusal::NoFile("scope".into())),
            (".service", Refusal::Characters),
            ("@x.service", Refusal::Characters),
            ("a b.service", Refusal::Characters),
            ("ä.service", Refusal::Characters),
        ] {
            assert_eq!(UnitName::parse(name), Err(refusal), "{name}");
        }
    }

    #[test]
    fn templates_and_instances_are_told_apart() {
        let name = UnitName::parse("a@b@c.service").expect("valid");
        assert_eq!((name.instance(), name.prefix()), (Some("b@c"), "a"));
        assert_eq!(name.template().as_str(), "a@.service");
        assert!(name.template().is_template());
        assert_eq!(name.template().with_instance("x").as_str(), "a@x.service");
        assert_eq!(
            UnitName::parse("a.service").expect("valid").instance(),
            None
        );
    }

    #[test]
    fn paths_become_unit_names_as_systemd_escapes_them() {
        for (path, name) in [
            ("/", "-"),
            ("/var/lib/docker", "var-lib-docker"),
            ("//var//x/", "var-x"),
            ("/a-b", "a\\x2db"),
            ("/.hidden/.x", "\\x2ehidden-.x"),
            ("/ü", "\\xc3\\xbc"),
        ] {
            assert_eq!(escape_path(path), name);
        }
    }
}
