//! Which number a user or group gets. A number once given is kept in STATE and given again, so
//! that files in DATA keep their owner although `/etc` is made anew at every boot.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Content of `/state/ids.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ids {
    pub users: BTreeMap<String, u32>,
    pub groups: BTreeMap<String, u32>,
}

/// The ranges of `login.defs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// 1000 and up, lowest first.
    Ordinary,
    /// 999 and down, as `useradd --system` does.
    System,
}

impl Range {
    fn numbers(self) -> Box<dyn Iterator<Item = u32>> {
        match self {
            Range::Ordinary => Box::new(1000..60_000),
            Range::System => Box::new((100..1000).rev()),
        }
    }
}

/// The number kept for `name`, else `wanted` when free, else the first free one of the range.
///
/// `taken` are the numbers in the account file now. A kept number that the image has since given
/// to another name is not used again: the image wins.
pub fn choose(
    kept: &mut BTreeMap<String, u32>,
    taken: &BTreeSet<u32>,
    name: &str,
    wanted: Option<u32>,
    range: Range,
) -> Option<u32> {
    if let Some(&id) = kept.get(name)
        && !taken.contains(&id)
    {
        return Some(id);
    }
    let reserved: BTreeSet<u32> = kept
        .iter()
        .filter(|(other, _)| *other != name)
        .map(|(_, id)| *id)
        .collect();
    let free = |id: &u32| !taken.contains(id) && !reserved.contains(id);
    let id = wanted.filter(free).or_else(|| range.numbers().find(free))?;
    kept.insert(name.to_string(), id);
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_once_given_is_given_again_unless_the_image_took_it() {
        let mut kept = BTreeMap::from([("anna".to_string(), 1003), ("old".to_string(), 1000)]);
        let taken = BTreeSet::from([0, 500]);
        let mut pick = |taken: &BTreeSet<u32>, name: &str, wanted, range| {
            choose(&mut kept, taken, name, wanted, range)
        };
        assert_eq!(pick(&taken, "anna", None, Range::Ordinary), Some(1003));
        assert_eq!(
            pick(&taken, "new", None, Range::Ordinary),
            Some(1001),
            "1000 is kept for old"
        );
        assert_eq!(pick(&taken, "etcd", None, Range::System), Some(999));
        assert_eq!(pick(&taken, "g", Some(1500), Range::Ordinary), Some(1500));
        assert_eq!(
            pick(&BTreeSet::from([1003]), "anna", None, Range::Ordinary),
            Some(1002)
        );
    }
}
