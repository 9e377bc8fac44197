//! `/etc/strake/dashboard.json`, rendered from `strake.dashboard`.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::access::Token;
use crate::cluster::settings::Settings as Cluster;
use crate::overlay::settings::Settings as Overlay;
use crate::root::Root;

pub const PATH: &str = "/etc/strake/dashboard.json";

#[derive(Debug, Clone)]
pub struct Settings {
    pub listen: SocketAddr,
    /// Nothing: only who has a certificate is let in.
    pub token: Option<Token>,
    /// Of the cluster, for the title.
    pub name: String,
    /// Where the overlay network keeps its leases; nothing: where flannel does.
    pub network: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: SocketAddr,
    token: Option<String>,
}

impl Settings {
    pub fn read(root: &Root) -> Result<Settings> {
        let text = root
            .read_text(PATH)
            .with_context(|| format!("reading {PATH}, which strake.dashboard makes"))?;
        let file: File =
            serde_json::from_str(&text).with_context(|| format!("understanding {PATH}"))?;
        Settings::of(root, file.listen, file.token.as_deref())
    }

    pub fn of(root: &Root, listen: SocketAddr, token: Option<&str>) -> Result<Settings> {
        let token = token.map(Token::new).transpose()?;
        let name = Cluster::load(root).map_or_else(|_| "Cluster".to_string(), |found| found.name);
        let overlay = Overlay::read(root, |name| std::env::var(name).ok());
        Ok(Settings {
            listen,
            token,
            name,
            network: overlay.ok().map(|overlay| overlay.prefix),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let read = |text: &str| {
            let dir = tempfile::tempdir().expect("temp dir");
            let path = dir.path().join("etc/strake");
            std::fs::create_dir_all(&path).expect("a directory");
            std::fs::write(path.join("dashboard.json"), text).expect("a file");
            Settings::read(&Root::new(dir.path()))
        };
        let whole = read(r#"{"listen": "10.9.0.11:8443", "token": "0123456789abcdef"}"#);
        let whole = whole.expect("good settings");
        assert_eq!(whole.listen.port(), 8443);
        assert!(
            whole
                .token
                .is_some_and(|token| token.is("0123456789abcdef"))
        );
        for wrong in [
            "",
            "{}",
            r#"{"listen": "10.9.0.11"}"#,
            r#"{"listen": "10.9.0.11:1", "token": "short"}"#,
            r#"{"listen": "10.9.0.11:1", "tokens": "0123456789abcdef"}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
