//! The parts of a plan that lie in the network: files with a `source`, and keys to import.
//!
//! A part that cannot be fetched is left as it is and told; all else goes on without it. A file that
//! has the right digest already is not fetched again, and keys that cannot be fetched are those
//! of the last time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use strake_cloud_config::Plan;
use strake_cloud_config::config::Source;
use strake_cloud_config::plan::Body;

use super::record::Problem;
use crate::apply::tree::Node;
use crate::fetch::{Answer, Client, Failure, Pin, Request};
use crate::root::Root;

/// Keys by the URL they came from, for a boot on which it does not answer.
const KEYS: &str = "/state/config/imported-keys.json";

const LARGEST_FILE: usize = 256 << 20;
const FILE_TIME: Duration = Duration::from_secs(240);
const LARGEST_KEYS: usize = 1 << 20;

type Keys = BTreeMap<String, Vec<String>>;

/// A plan that can be applied without the network.
#[derive(Debug)]
pub struct Fetched {
    pub plan: Plan,
    pub problems: Vec<Problem>,
    keys: Keys,
}

impl Fetched {
    /// What has to be kept for the next time.
    pub fn kept(&self) -> serde_json::Result<(PathBuf, Node)> {
        let node = if self.keys.is_empty() {
            Node::Absent
        } else {
            Node::File {
                content: serde_json::to_vec(&self.keys)?,
                mode: 0o600,
                uid: 0,
                gid: 0,
            }
        };
        Ok((PathBuf::from(KEYS), node))
    }
}

/// What is there from earlier, without asking anybody. Files that differ stay to be fetched.
pub fn known(root: &Root, mut plan: Plan) -> Plan {
    for file in &mut plan.files {
        if let Body::Source(source) = &file.body
            && let Some(content) = on_disk(root, &file.path, source)
        {
            file.body = Body::Content(content);
        }
    }
    let keys = kept_keys(root);
    for user in &mut plan.users {
        let imported = user
            .key_imports
            .iter()
            .filter_map(|import| keys.get(&import.url));
        let imported: Vec<String> = imported.flatten().cloned().collect();
        add(&mut user.ssh_authorized_keys, imported);
    }
    plan
}

/// `name` is that of the config, in problems.
pub async fn fetch(root: &Root, mut plan: Plan, client: &Client, name: &str) -> Fetched {
    let mut problems = Vec::new();
    let mut problem = |what: &str, cause: &anyhow::Error| {
        problems.push(Problem::whole(name, "error", &format!("{what}: {cause:#}")));
    };
    let mut files = Vec::new();
    for mut file in std::mem::take(&mut plan.files) {
        if let Body::Source(source) = &file.body {
            let content = match on_disk(root, &file.path, source) {
                Some(content) => Ok(content),
                None => fetch_file(client, source).await,
            };
            match content {
                Ok(content) => file.body = Body::Content(content),
                // Not known to be there, and so not touched.
                Err(cause) => problem(&file.path, &cause),
            }
        }
        files.push(file);
    }
    plan.files = files;
    let kept = kept_keys(root);
    let mut keys = Keys::new();
    for user in &mut plan.users {
        for import in &user.key_imports {
            let url = &import.url;
            let imported = match fetch_keys(client, url).await {
                Ok(imported) => imported,
                Err(cause) => {
                    problem(&format!("keys of {}", user.name), &cause);
                    kept.get(url).cloned().unwrap_or_default()
                }
            };
            add(&mut user.ssh_authorized_keys, imported.clone());
            keys.insert(url.clone(), imported);
        }
    }
    Fetched {
        plan,
        problems,
        keys,
    }
}

fn on_disk(root: &Root, path: &str, source: &Source) -> Option<Vec<u8>> {
    let content = root.read(path).ok()?;
    let pin: Pin = source.sha256.parse().ok()?;
    (Pin::of(&content) == pin).then_some(content)
}

fn kept_keys(root: &Root) -> Keys {
    let text = root.read_text(KEYS).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn add(keys: &mut Vec<String>, imported: Vec<String>) {
    for key in imported {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
}

async fn fetch_file(client: &Client, source: &Source) -> anyhow::Result<Vec<u8>> {
    let mut request = Request::get(source.url.parse()?, LARGEST_FILE);
    request.pin = Some(source.sha256.parse()?);
    request.time = Some(FILE_TIME);
    body(client, &request).await
}

async fn fetch_keys(client: &Client, url: &str) -> anyhow::Result<Vec<String>> {
    let bytes = body(client, &Request::get(url.parse()?, LARGEST_KEYS)).await?;
    Ok(keys_of(&bytes)?)
}

async fn body(client: &Client, request: &Request) -> anyhow::Result<Vec<u8>> {
    match client.send(request).await? {
        Answer::Body(body) => Ok(body),
        Answer::Refused(status) => {
            let url = &request.url;
            Err(crate::fetch::Error::new(url, 1, Failure::Status(status)).into())
        }
    }
}

/// A JSON array of objects with a field `key`; what is not one public key is left out.
fn keys_of(bytes: &[u8]) -> serde_json::Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Row {
        key: String,
    }
    let rows: Vec<Row> = serde_json::from_slice(bytes)?;
    let keys = rows.into_iter().map(|row| row.key.trim().to_string());
    let is_one = |key: &String| key.contains(' ') && !key.contains(char::is_control);
    Ok(keys.filter(is_one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_keys_are_taken() {
        let text = br#"[{"id": 1, "key": " ssh-ed25519 AAAA \n"}, {"key": "nothing"},
                        {"key": "ssh-rsa AAAA\nssh-rsa BBBB"}]"#;
        assert_eq!(keys_of(text).expect("JSON"), ["ssh-ed25519 AAAA"]);
        for bad in ["{}", "<html>", "[{\"id\": 1}]"] {
            assert!(keys_of(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
