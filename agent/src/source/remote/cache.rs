//! `/state/config/remote.json`: the last answer of each source in the network. A boot begins
//! with them, for before PID 1 there is no network.

use std::io;

use serde::{Deserialize, Serialize};

use super::{Answer, Remote};
use crate::apply::tree::Node;
use crate::root::Root;

pub const CACHE: &str = "/state/config/remote.json";

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// SMBIOS' UUID of the machine the answers were given to: a copied disk is another machine.
    machine: String,
    answers: Vec<Answer>,
}

impl Cache {
    /// Answers of these sources to this machine; others are not taken over.
    pub fn read(root: &Root, machine: &str, remotes: &[Remote]) -> io::Result<Cache> {
        let text = root.read_optional(CACHE)?.unwrap_or_default();
        let mut cache = match text.is_empty() {
            true => Cache::default(),
            false => serde_json::from_str(&text)?,
        };
        if cache.machine != machine {
            cache.answers.clear();
        }
        cache
            .answers
            .retain(|answer| remotes.iter().any(|remote| remote.id() == answer.remote));
        cache.machine = machine.to_string();
        Ok(cache)
    }

    pub fn answer(&self, remote: &Remote) -> Option<&Answer> {
        let id = remote.id();
        self.answers.iter().find(|answer| answer.remote == id)
    }

    /// In place of an earlier answer of that source.
    pub fn keep(&mut self, answer: Answer) {
        self.answers.retain(|old| old.remote != answer.remote);
        self.answers.push(answer);
    }

    /// What turned out not to be usable gives way to what was there before.
    pub fn take_user_data_back(&mut self, earlier: &Cache) {
        for answer in &mut self.answers {
            let mut old = earlier.answers.iter();
            let old = old.find(|old| old.remote == answer.remote);
            answer.user_data = old.and_then(|old| old.user_data.clone());
        }
    }

    /// The file; none while nothing was ever answered.
    pub fn node(&self) -> serde_json::Result<Node> {
        if self.answers.is_empty() {
            return Ok(Node::Absent);
        }
        let content = serde_json::to_vec(self)?;
        Ok(Node::File {
            content,
            mode: 0o600,
            uid: 0,
            gid: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::described::{Described, Document, Kind};
    use crate::source::remote::Place;

    fn remote(url: &str) -> Remote {
        Remote {
            place: Place::Service(Kind::Gce),
            url: url.parse().expect("URL"),
        }
    }

    fn answer(remote: &Remote, text: &str) -> Answer {
        Answer {
            remote: remote.id(),
            user_data: Some(Document(text.into())),
            metadata: Some(Described::new(Kind::Gce)),
        }
    }

    fn kept(cache: &Cache) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().expect("temp dir");
        std::fs::create_dir_all(dir.path().join("state/config")).expect("dir");
        let Node::File { content, mode, .. } = cache.node().expect("JSON") else {
            panic!("there are answers");
        };
        assert_eq!(mode, 0o600);
        std::fs::write(dir.path().join("state/config/remote.json"), content).expect("file");
        let root = Root::new(dir.path());
        (dir, root)
    }

    #[test]
    fn only_answers_to_this_machine_from_its_own_sources_are_taken_over() {
        let (one, two) = (remote("http://a/"), remote("http://b/"));
        let mut cache = Cache {
            machine: "uuid".to_string(),
            ..Cache::default()
        };
        cache.keep(answer(&one, "old"));
        cache.keep(answer(&two, "two"));
        cache.keep(answer(&one, "new"));
        let (_dir, root) = kept(&cache);
        let both = [one.clone(), two.clone()];
        let read = Cache::read(&root, "uuid", &both).expect("readable");
        assert_eq!(read.answer(&one), Some(&answer(&one, "new")));
        assert_eq!(read.answer(&two), Some(&answer(&two, "two")));
        let read = Cache::read(&root, "uuid", &both[..1]).expect("readable");
        assert_eq!((read.answers.len(), read.answer(&two)), (1, None));
        let read = Cache::read(&root, "other", &both).expect("readable");
        assert_eq!(read.answers, Vec::new());
        assert_eq!(read.node().expect("JSON"), Node::Absent);
    }

    #[test]
    fn a_broken_file_is_an_error_and_a_missing_one_is_not() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Root::new(dir.path());
        assert_eq!(
            Cache::read(&root, "", &[]).expect("readable"),
            Cache::default()
        );
        std::fs::create_dir_all(dir.path().join("state/config")).expect("dir");
        std::fs::write(dir.path().join("state/config/remote.json"), "{").expect("file");
        assert!(Cache::read(&root, "", &[]).is_err());
    }
}
