//! Which boot entry this boot came from, and whether it is on trial. Pure.
//!
//! systemd-boot counts tries in the entry's file name (`NAME+LEFT-DONE.efi`) and tells by EFI
//! variables what it booted. `LoaderBootCountPath` exists only when the booted entry has a
//! counter; blessing renames the file and leaves the variable as it is.
//! <https://uapi-group.org/specifications/specs/boot_loader_specification/#boot-counting>

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Blessed,
    Trying,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    pub file: Option<String>,
    pub state: State,
    pub tries_left: Option<u32>,
    pub tries_done: Option<u32>,
}

/// What could be found out.
#[derive(Debug, Clone, Default)]
pub struct Facts<'a> {
    /// The two variables, raw.
    pub boot_count_path: Option<&'a [u8]>,
    pub entry_selected: Option<&'a [u8]>,
    /// File names in `EFI/Linux`; none when the ESP cannot be read.
    pub files: Option<&'a [String]>,
    /// systemd-bless-boot.service is done.
    pub blessing_done: bool,
}

pub fn entry(facts: &Facts) -> Entry {
    let selected = facts
        .entry_selected
        .and_then(variable_text)
        .map(|name| name.to_string());
    let counted = facts.boot_count_path.and_then(variable_text);
    let Some(path) = counted else {
        let state = if selected.is_some() {
            State::Blessed
        } else {
            State::Unknown
        };
        return Entry {
            file: selected,
            state,
            tries_left: None,
            tries_done: None,
        };
    };
    let file = path.rsplit(['\\', '/']).next().unwrap_or(&path).to_string();
    let Some(name) = Counted::parse(&file) else {
        return Entry {
            file: Some(file),
            state: State::Unknown,
            tries_left: None,
            tries_done: None,
        };
    };
    let good = name.blessed();
    let renamed = facts.files.is_some_and(|files| files.contains(&good));
    if renamed || facts.blessing_done {
        return Entry {
            file: Some(good),
            state: State::Blessed,
            tries_left: None,
            tries_done: None,
        };
    }
    let (tries_left, tries_done) = (Some(name.left), Some(name.done));
    Entry {
        file: Some(file),
        state: State::Trying,
        tries_left,
        tries_done,
    }
}

/// A file name with a counter.
struct Counted<'a> {
    stem: &'a str,
    left: u32,
    done: u32,
    extension: &'a str,
}

impl Counted<'_> {
    fn parse(file: &str) -> Option<Counted<'_>> {
        let (base, extension) = file.rsplit_once('.')?;
        let (stem, counter) = base.rsplit_once('+')?;
        let (left, done) = match counter.split_once('-') {
            Some((left, done)) => (left.parse().ok()?, done.parse().ok()?),
            None => (counter.parse().ok()?, 0),
        };
        Some(Counted {
            stem,
            left,
            done,
            extension,
        })
    }

    fn blessed(&self) -> String {
        format!("{}.{}", self.stem, self.extension)
    }
}

/// A variable's file: four bytes of attributes, then UTF-16 with a terminating zero.
fn variable_text(raw: &[u8]) -> Option<String> {
    let units = raw
        .get(4..)?
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    String::from_utf16(&units)
        .ok()
        .filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(text: &str) -> Vec<u8> {
        let units = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
        [6, 0, 0, 0].into_iter().chain(units).collect()
    }

    #[track_caller]
    fn check(
        (count, selected): (Option<&str>, Option<&str>),
        files: Option<&[&str]>,
        blessing_done: bool,
        expected: (Option<&str>, State, Option<u32>, Option<u32>),
    ) {
        let (count, selected) = (count.map(variable), selected.map(variable));
        let files: Option<Vec<String>> =
            files.map(|files| files.iter().map(ToString::to_string).collect());
        let found = entry(&Facts {
            boot_count_path: count.as_deref(),
            entry_selected: selected.as_deref(),
            files: files.as_deref(),
            blessing_done,
        });
        let found = (
            found.file.as_deref(),
            found.state,
            found.tries_left,
            found.tries_done,
        );
        assert_eq!(found, expected);
    }

    #[test]
    fn the_state_follows_from_variables_and_names() {
        use State::{Blessed, Trying, Unknown};
        let trying = (
            Some("\\EFI\\Linux\\strake_1.0.0+2-1.efi"),
            Some("strake_1.0.0.efi"),
        );
        let counted = Some("strake_1.0.0+2-1.efi");
        let good = Some("strake_1.0.0.efi");
        check(
            trying,
            Some(&["strake_1.0.0+2-1.efi"]),
            false,
            (counted, Trying, Some(2), Some(1)),
        );
        check(trying, None, false, (counted, Trying, Some(2), Some(1)));
        check(
            trying,
            Some(&["strake_1.0.0.efi"]),
            false,
            (good, Blessed, None, None),
        );
        check(trying, None, true, (good, Blessed, None, None));
        check((None, good), None, false, (good, Blessed, None, None));
        check((None, None), None, false, (None, Unknown, None, None));
        let first = (Some("\\EFI\\Linux\\strake_1+3.efi"), None);
        check(
            first,
            None,
            false,
            (Some("strake_1+3.efi"), Trying, Some(3), Some(0)),
        );
        check(
            (Some("\\x+y.efi"), None),
            None,
            false,
            (Some("x+y.efi"), Unknown, None, None),
        );
    }
}
