//! How etcd is reached, and by whom.

use std::path::PathBuf;

use etcd_client::{Certificate, Identity, TlsOptions};
use serde::{Deserialize, Serialize};

use crate::root::Root;
use crate::store::{Error, Kind};

pub const SETTINGS: &str = "/etc/strake/etcd.json";
const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:2379";

/// `/etc/strake/etcd.json`, as `strake cluster` writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub endpoints: Vec<String>,
    /// PEM files: the cluster's CA, this machine's certificate and its key.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    #[serde(default)]
    pub cert: Option<PathBuf>,
    #[serde(default)]
    pub key: Option<PathBuf>,
}

impl Settings {
    /// Without a file: an etcd on this machine, without TLS.
    pub fn read(root: &Root) -> anyhow::Result<Settings> {
        use anyhow::Context;
        let text = root
            .read_optional(SETTINGS)
            .with_context(|| format!("reading {SETTINGS}"))?;
        match text {
            Some(text) => {
                serde_json::from_str(&text).with_context(|| format!("understanding {SETTINGS}"))
            }
            None => Ok(Settings {
                endpoints: vec![DEFAULT_ENDPOINT.to_string()],
                ca: None,
                cert: None,
                key: None,
            }),
        }
    }

    pub(super) fn tls(&self) -> Result<Option<TlsOptions>, Error> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| {
                let doing = format!("connect: reading {}", path.display());
                Error::new(Kind::Invalid, doing, error)
            })
        };
        let Some(ca) = &self.ca else {
            return Ok(None);
        };
        let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read(ca)?));
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
        }
        Ok(Some(tls))
    }
}
