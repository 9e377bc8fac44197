//! What a unit follows: one unit, or any unit that a glob names.

use std::fmt;

use super::glob::{Glob, Malformed};
use super::name::{Refused, UnitName};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    Unit(UnitName),
    /// At least one of the units that match.
    AnyOf(Glob),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    #[error(transparent)]
    Name(#[from] Refused),
    #[error(transparent)]
    Glob(#[from] Malformed),
}

impl Target {
    /// A template stands for any of its instances: it is never on a machine itself.
    pub fn parse(word: &str) -> Result<Target, Wrong> {
        if word.contains(['*', '?', '[']) {
            let with_type = match word.contains('.') {
                true => word.to_string(),
                false => format!("{word}.service"),
            };
            return Ok(Target::AnyOf(Glob::parse(&with_type)?));
        }
        let name = UnitName::with_default_type(word)?;
        if name.is_template() {
            let stem = name.stem().replace('\\', r"\\");
            let glob = format!("{stem}?*.{}", name.unit_type());
            return Ok(Target::AnyOf(Glob::parse(&glob)?));
        }
        Ok(Target::Unit(name))
    }

    pub fn is(&self, name: &UnitName) -> bool {
        match self {
            Target::Unit(unit) => unit == name,
            Target::AnyOf(glob) => glob.matches(name.as_str()),
        }
    }

    /// The one unit, if it is one.
    pub fn unit(&self) -> Option<&UnitName> {
        match self {
            Target::Unit(unit) => Some(unit),
            Target::AnyOf(_) => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Unit(unit) => unit.fmt(f),
            Target::AnyOf(glob) => glob.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_unit_a_glob_or_a_template() {
        for (word, shown, hits, misses) in [
            ("db", "db.service", "db.service", "db1.service"),
            ("db@1", "db@1.service", "db@1.service", "db@2.service"),
            ("db@*", "db@*.service", "db@2.service", "dbx.service"),
            ("db[12].socket", "db[12].socket", "db1.socket", "db3.socket"),
            ("db@", "db@?*.service", "db@7.service", "db@.service"),
            (
                "db@.container",
                "db@?*.container",
                "db@7.container",
                "db@7.service",
            ),
        ] {
            let target = Target::parse(word).expect(word);
            assert_eq!(target.to_string(), shown);
            let is = |name: &str| target.is(&name.parse().expect(name));
            assert!(is(hits) && !is(misses), "{word}");
        }
        for (word, says) in [
            ("db[", "left open"),
            ("db.nonsense", "no type"),
            ("@", "begin"),
        ] {
            let wrong = Target::parse(word).expect_err(word).to_string();
            assert!(wrong.contains(says), "{word}: {wrong}");
        }
    }
}
