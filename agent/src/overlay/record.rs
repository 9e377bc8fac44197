//! What the machine remembers of its network on STATE: the subnet to ask for again, and enough to
//! bring containers up while the store does not answer.

use serde::{Deserialize, Serialize};
use strake_updates::time::Timestamp;

use super::lease::Subnets;
use crate::apply::tree::Node;
use crate::apply::write::{self, write_one};
use crate::root::Root;

pub const PATH: &str = "/state/overlay/network.json";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub prefix: String,
    /// The network's config as it was written.
    pub config: String,
    pub subnets: Subnets,
    /// When the lease began anew, by this machine's clock.
    pub renewed: Timestamp,
    /// How long it lasts from then, in seconds.
    pub ttl: u64,
    /// Devices made.
    pub devices: Vec<String>,
}

impl Record {
    /// Nothing also when it is damaged: the store knows the rest.
    pub fn load(root: &Root, path: &str, prefix: &str) -> Option<Record> {
        let text = root.read_text(path).ok()?;
        let record: Record = serde_json::from_str(&text).ok()?;
        (record.prefix == prefix).then_some(record)
    }

    pub fn save(&self, root: &Root, path: &str) -> Result<(), write::Error> {
        // A type of ours, whose serialisation cannot fail.
        let text = serde_json::to_vec(self).unwrap_or_default();
        let node = Node::File {
            content: text,
            // The config may hold a key that all machines share.
            mode: 0o600,
            uid: 0,
            gid: 0,
        };
        write_one(root, path, node)
    }

    /// Whether nobody else can have the subnet: the lease has not run out, with a tenth to spare.
    pub fn is_surely_held(&self, now: Timestamp) -> bool {
        let (renewed, now) = (self.renewed.unix(), now.unix());
        let until = renewed.saturating_add(self.ttl - self.ttl / 10);
        (renewed..until).contains(&now)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn record() -> Record {
        Record {
            prefix: "/coreos.com/network".to_string(),
            config: "{}".to_string(),
            subnets: Subnets {
                v4: "10.5.3.0/24".parse().ok(),
                v6: None,
            },
            renewed: Timestamp::from_unix(1000),
            ttl: 100,
            devices: vec!["flannel.1".to_string()],
        }
    }

    #[test]
    fn it_is_read_as_written_and_for_its_own_network_only() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Root::new(dir.path());
        assert_eq!(Record::load(&root, PATH, "/coreos.com/network"), None);
        record().save(&root, PATH).expect("written");
        let path = dir.path().join("state/overlay/network.json");
        let metadata = std::fs::metadata(&path).expect("a file");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        let read = Record::load(&root, PATH, "/coreos.com/network");
        assert_eq!(read, Some(record()));
        assert_eq!(Record::load(&root, PATH, "/other"), None);
        std::fs::write(path, "{").expect("written");
        assert_eq!(Record::load(&root, PATH, "/coreos.com/network"), None);
    }

    #[test]
    fn a_lease_is_sure_for_nine_tenths_of_its_time_and_not_before_it_began() {
        for (now, sure) in [(999, false), (1000, true), (1089, true), (1090, false)] {
            let held = record().is_surely_held(Timestamp::from_unix(now));
            assert_eq!(held, sure, "{now}");
        }
    }
}
