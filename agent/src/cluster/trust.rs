//! Which authorities count, and how one takes the place of another. Pure but for the one file.
//!
//! A new one is trusted everywhere before it signs anything, and signs everything before the old one
//! counts no more. The store knows the present state; each machine keeps what it has learned, so
//! that a cloud-config with the old authority does no harm.

use serde::{Deserialize, Serialize};

use super::anchor::{Anchor, certificates};
use super::authority::Error as Unreadable;
use super::identity::own_file;
use crate::apply::write::{self, write_one};
use crate::root::Root;

const PATH: &str = "/state/cluster/trust.json";

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    #[default]
    Settled,
    /// Both are trusted, the old one signs.
    Introduced,
    /// Both are trusted, the new one signs.
    Used,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// Grows with each step; 0 is what the cloud-config says.
    pub version: u64,
    pub step: Step,
    /// Certificates, PEM; the first one signs.
    pub authorities: Vec<String>,
    /// Key ids of those that counted once.
    pub replaced: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(
        "an authority is being replaced already: finish with `strake cluster authority retire`"
    )]
    UnderWay,
    #[error("there is no new authority: `strake cluster authority new` makes one")]
    NoneNew,
    #[error("the new authority signs already")]
    InUse,
    #[error("the new authority does not sign yet: `strake cluster authority use` comes before")]
    NotInUse,
}

impl Trust {
    pub fn of_config(ca: &str) -> Trust {
        Trust {
            version: 0,
            step: Step::Settled,
            authorities: certificates(ca),
            replaced: Vec::new(),
        }
    }

    /// All that count, as one text.
    pub fn bundle(&self) -> String {
        self.authorities.concat()
    }

    pub fn signer(&self) -> &str {
        self.authorities.first().map_or("", String::as_str)
    }

    /// The one whose certificate the join service shows: also known to who has been away.
    pub fn elder(&self) -> &str {
        match self.step {
            Step::Used => self.authorities.last().map_or("", String::as_str),
            Step::Settled | Step::Introduced => self.signer(),
        }
    }

    /// Whether a config with these certificates is of this cluster.
    fn is_of(&self, ca: &str) -> bool {
        let known = |pem: &String| {
            let id = Anchor::parse(pem).map(|anchor| anchor.key_id);
            let replaced = id.is_ok_and(|id| self.replaced.contains(&id));
            replaced || self.authorities.contains(pem)
        };
        certificates(ca).iter().any(known)
    }

    pub fn introduce(&self, new: &str) -> Result<Trust, Error> {
        match self.step {
            Step::Settled => Ok(Trust {
                version: self.version + 1,
                step: Step::Introduced,
                authorities: self
                    .authorities
                    .iter()
                    .cloned()
                    .chain(certificates(new))
                    .collect(),
                replaced: self.replaced.clone(),
            }),
            Step::Introduced | Step::Used => Err(Error::UnderWay),
        }
    }

    /// The newest signs from now on.
    pub fn put_to_use(&self) -> Result<Trust, Error> {
        match self.step {
            Step::Settled => Err(Error::NoneNew),
            Step::Used => Err(Error::InUse),
            Step::Introduced => {
                let mut next = self.clone();
                next.version += 1;
                next.step = Step::Used;
                next.authorities.rotate_right(1);
                Ok(next)
            }
        }
    }

    pub fn retire(&self) -> Result<Trust, Error> {
        match self.step {
            Step::Settled => Err(Error::NoneNew),
            Step::Introduced => Err(Error::NotInUse),
            Step::Used => {
                let old = self.authorities.iter().skip(1);
                let ids = old.filter_map(|pem| Anchor::parse(pem).ok());
                let gone = ids.map(|anchor| anchor.key_id);
                Ok(Trust {
                    version: self.version + 1,
                    step: Step::Settled,
                    authorities: vec![self.signer().to_string()],
                    replaced: self.replaced.iter().cloned().chain(gone).collect(),
                })
            }
        }
    }

    /// The key id of the one that signs.
    pub fn signer_id(&self) -> Result<String, Unreadable> {
        Ok(Anchor::parse(self.signer())?.key_id)
    }
}

/// What this machine has learned, unless its config is of another cluster.
pub fn load(root: &Root, ca: &str) -> Trust {
    let text = root.read_text(PATH).unwrap_or_default();
    let learned = serde_json::from_str::<Trust>(&text).ok();
    learned
        .filter(|trust| !trust.authorities.is_empty() && trust.is_of(ca))
        .unwrap_or_else(|| Trust::of_config(ca))
}

pub fn keep(root: &Root, trust: &Trust) -> Result<(), write::Error> {
    let text = serde_json::to_string(trust).expect("plain text and numbers");
    write_one(root, PATH, own_file(text, 0o644))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::authority::Authority;
    use super::*;

    fn authority(name: &str) -> String {
        let made = Authority::create(name, SystemTime::now());
        made.expect("an authority").0
    }

    #[test]
    fn an_authority_is_trusted_before_it_signs_and_signs_before_the_old_one_goes() {
        let (old, new) = (authority("a"), authority("b"));
        let settled = Trust::of_config(&old);
        assert_eq!(settled.put_to_use(), Err(Error::NoneNew));
        assert_eq!(settled.retire(), Err(Error::NoneNew));
        let introduced = settled.introduce(&new).expect("introduced");
        assert_eq!(introduced.authorities, [old.clone(), new.clone()]);
        assert_eq!(introduced.introduce(&new), Err(Error::UnderWay));
        assert_eq!(introduced.retire(), Err(Error::NotInUse));
        let used = introduced.put_to_use().expect("in use");
        assert_eq!((used.signer(), used.elder()), (new.as_str(), old.as_str()));
        assert_eq!(used.put_to_use(), Err(Error::InUse));
        let done = used.retire().expect("retired");
        assert_eq!((done.version, &done.authorities), (3, &vec![new.clone()]));
        assert_eq!(done.step, Step::Settled);
        done.introduce(&old).expect("again");
    }

    #[test]
    fn what_was_learned_holds_for_configs_of_this_cluster_alone() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Root::new(dir.path());
        let (old, new, other) = (authority("a"), authority("b"), authority("c"));
        assert_eq!(load(&root, &old), Trust::of_config(&old));
        let steps = Trust::of_config(&old).introduce(&new);
        let steps = steps.and_then(|trust| trust.put_to_use());
        let done = steps.and_then(|trust| trust.retire()).expect("retired");
        keep(&root, &done).expect("kept");
        for known in [&old, &new, &format!("{other}{new}")] {
            assert_eq!(load(&root, known), done);
        }
        assert_eq!(load(&root, &other), Trust::of_config(&other));
        let path = dir.path().join(&PATH[1..]);
        for damaged in ["", "{", "{\"version\": 1}"] {
            std::fs::write(&path, damaged).expect("a file");
            assert_eq!(load(&root, &old), Trust::of_config(&old), "{damaged}");
        }
    }
}
