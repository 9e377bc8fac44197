//! Names of units: `web.service`, the template `web@.service`, its instance `web@1.service`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub const MAX_LENGTH: usize = 256;

/// The type of units that are containers; everything else is systemd's own.
const CONTAINER: &str = "container";
const TYPES: [&str; 14] = [
    "automount",
    "busname",
    CONTAINER,
    "device",
    "mount",
    "path",
    "scope",
    "service",
    "slice",
    "snapshot",
    "socket",
    "swap",
    "target",
    "timer",
];
const TEMPLATE_TYPES: [&str; 6] = [CONTAINER, "path", "service", "socket", "target", "timer"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("a unit name may not be empty")]
    Empty,
    #[error("a unit name may not be longer than {MAX_LENGTH} characters")]
    TooLong,
    #[error("a unit name needs a type, such as .service")]
    NoType,
    #[error("a unit name is made of letters, digits and :-_.\\@, not of {0:?}")]
    Character(char),
    #[error("a unit name may not begin with @ or a dot")]
    Beginning,
    #[error("this is no type of unit that the cluster knows (such as .service or .timer)")]
    UnknownType,
    #[error("only container, path, service, socket, target and timer units may be templates")]
    NoTemplateType,
}

/// A name that systemd takes. Cheap to clone: the planner holds very many.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName(Arc<str>);

impl UnitName {
    /// A name without a type is a service, as on fleet's command line.
    pub fn with_default_type(text: &str) -> Result<UnitName, Refused> {
        if text.contains('.') {
            text.parse()
        } else {
            format!("{text}.service").parse()
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name before the type: `web@1`.
    pub fn stem(&self) -> &str {
        self.0.rsplit_once('.').map_or(&self.0, |(stem, _)| stem)
    }

    pub fn unit_type(&self) -> &str {
        self.0.rsplit_once('.').map_or("", |(_, kind)| kind)
    }

    /// What stands before `@`, or the stem of a name without one.
    pub fn prefix(&self) -> &str {
        self.stem().split_once('@').map_or(self.stem(), |(p, _)| p)
    }

    /// What stands behind `@`; nothing for a template and for a plain unit.
    pub fn instance(&self) -> Option<&str> {
        let (_, instance) = self.stem().split_once('@')?;
        (!instance.is_empty()).then_some(instance)
    }

    pub fn is_template(&self) -> bool {
        self.stem().ends_with('@') && self.stem().matches('@').count() == 1
    }

    /// The template this is an instance of.
    pub fn template(&self) -> Option<UnitName> {
        self.instance()?;
        Some(UnitName(
            format!("{}@.{}", self.prefix(), self.unit_type()).into(),
        ))
    }

    pub fn is_container(&self) -> bool {
        self.unit_type() == CONTAINER
    }

    /// The instance of a template that has this number.
    pub fn numbered(&self, number: usize) -> UnitName {
        UnitName(format!("{}{number}.{}", self.stem(), self.unit_type()).into())
    }

    /// What systemd knows the unit as: `web.service` for `web.container`, and itself otherwise.
    pub fn on_systemd(&self) -> UnitName {
        match self.is_container() {
            true => UnitName(format!("{}.service", self.stem()).into()),
            false => self.clone(),
        }
    }

    /// The other name that would be the same unit to systemd.
    pub fn twin(&self) -> Option<UnitName> {
        match self.unit_type() {
            CONTAINER => Some(self.on_systemd()),
            "service" => Some(UnitName(format!("{}.{CONTAINER}", self.stem()).into())),
            _ => None,
        }
    }

    /// `%n`, `%N`, `%p` and `%i` replaced; everything else stays as it is.
    pub fn expand(&self, text: &str) -> String {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            result.push_str(&rest[..at]);
            let value = match rest[at + 1..].chars().next() {
                Some('n') => Some(self.as_str()),
                Some('N') => Some(self.stem()),
                Some('p') => Some(self.prefix()),
                Some('i') => Some(self.instance().unwrap_or("")),
                _ => None,
            };
            let taken = match value {
                Some(value) => {
                    result.push_str(value);
                    2
                }
                None => {
                    result.push('%');
                    1
                }
            };
            rest = &rest[at + taken..];
        }
        result + rest
    }
}

impl FromStr for UnitName {
    type Err = Refused;

    fn from_str(text: &str) -> Result<UnitName, Refused> {
        let (stem, kind) = match text.rsplit_once('.') {
            _ if text.is_empty() => return Err(Refused::Empty),
            _ if text.chars().count() > MAX_LENGTH => return Err(Refused::TooLong),
            Some((stem, kind)) if !kind.is_empty() => (stem, kind),
            _ => return Err(Refused::NoType),
        };
        let allowed = |c: &char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(*c);
        if let Some(wrong) = text.chars().find(|c| !allowed(c)) {
            return Err(Refused::Character(wrong));
        }
        if stem.is_empty() || text.starts_with(['@', '.']) {
            return Err(Refused::Beginning);
        }
        if !TYPES.contains(&kind) {
            return Err(Refused::UnknownType);
        }
        if stem.contains('@') && !TEMPLATE_TYPES.contains(&kind) {
            return Err(Refused::NoTemplateType);
        }
        Ok(UnitName(text.into()))
    }
}

impl TryFrom<String> for UnitName {
    type Error = Refused;

    fn try_from(text: String) -> Result<UnitName, Refused> {
        text.parse()
    }
}

impl From<UnitName> for String {
    fn from(name: UnitName) -> String {
        name.0.to_string()
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_taken_or_refused_with_the_reason() {
        let long = format!("{}.service", "a".repeat(249));
        let cases = [
            ("web.service", None),
            ("web@.service", None),
            ("web@a@b.timer", None),
            ("a\\x2db:c_d.mount", None),
            ("", Some(Refused::Empty)),
            (long.as_str(), Some(Refused::TooLong)),
            ("web", Some(Refused::NoType)),
            ("web.", Some(Refused::NoType)),
            ("../web.service", Some(Refused::Character('/'))),
            ("wéb.service", Some(Refused::Character('é'))),
            ("@web.service", Some(Refused::Beginning)),
            (".service", Some(Refused::Beginning)),
            ("web.servise", Some(Refused::UnknownType)),
            ("web@1.mount", Some(Refused::NoTemplateType)),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<UnitName>().err(), expected, "{text}");
        }
    }

    #[test]
    fn the_parts_of_an_instance_are_found() {
        let name: UnitName = "web@a@1.x.service".parse().expect("name");
        assert_eq!(name.prefix(), "web");
        assert_eq!(name.instance(), Some("a@1.x"));
        assert_eq!(
            name.template().expect("template").to_string(),
            "web@.service"
        );
        assert!(name.template().expect("template").is_template());
        let text = name.expand("%n %N %p %i %H %");
        assert_eq!(text, "web@a@1.x.service web@a@1.x web a@1.x %H %");
        let plain = UnitName::with_default_type("db").expect("name");
        assert_eq!((plain.as_str(), plain.template()), ("db.service", None));
    }

    #[test]
    fn a_container_is_a_service_to_systemd() {
        let cases = [
            ("web.container", "web.service", Some("web.service")),
            ("web@1.container", "web@1.service", Some("web@1.service")),
            ("web@.service", "web@.service", Some("web@.container")),
            ("web.socket", "web.socket", None),
        ];
        for (text, on_systemd, twin) in cases {
            let name: UnitName = text.parse().expect(text);
            assert_eq!(name.on_systemd().as_str(), on_systemd, "{text}");
            assert_eq!(name.twin().as_ref().map(UnitName::as_str), twin, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_accepted_name_is_printed_as_it_was_written(text in "[a-z@.:\\\\_-]{0,12}\\.(service|timer|x)") {
            if let Ok(name) = text.parse::<UnitName>() {
                prop_assert_eq!(name.to_string(), text);
                let json = serde_json::to_string(&name).expect("json");
                prop_assert_eq!(serde_json::from_str::<UnitName>(&json).expect("name"), name);
            }
        }
    }
}
