//! The configuration in force, put together again after boot from what the boot recorded.

use anyhow::{Context as _, Result};
use strake_cloud_config::config::AddressSources;
use strake_cloud_config::{Addresses, Context};

use super::record::{self, Record};
use super::{Checked, Layers, addresses, context};
use crate::fetch::Access;
use crate::root::Root;
use crate::source::described::Described;
use crate::source::{self, Text};

#[derive(Debug)]
pub struct Running {
    pub record: Record,
    oem: Option<Text>,
    metadata: Option<Described>,
    user: Option<Text>,
}

impl Running {
    pub fn load(root: &Root) -> Result<Running> {
        let record = Record::read(root)
            .with_context(|| format!("no configuration is recorded in {}", record::RECORD))?;
        let text = |path: &str, name: &str| {
            let bytes = source::read_limited(root, path).ok()?;
            Some(Text {
                name: name.to_string(),
                bytes,
            })
        };
        let user = match &record.source {
            Some(name) => Some(Text {
                name: name.clone(),
                bytes: source::read_limited(root, record::USER_DATA)
                    .with_context(|| format!("reading {}", record::USER_DATA))?,
            }),
            None => None,
        };
        Ok(Running {
            oem: text(source::OEM_FILE, source::OEM_FILE),
            metadata: root
                .read_text(record::METADATA)
                .ok()
                .and_then(|json| serde_json::from_str(&json).ok()),
            user,
            record,
        })
    }

    /// Certificates and proxy of the config in force; those of the image without one.
    pub fn access(root: &Root) -> Access {
        let config = Running::load(root)
            .ok()
            .and_then(|running| running.check(context(root, Addresses::default())).config);
        Access::of(root, &config.unwrap_or_default())
    }

    pub fn layers(&self) -> Layers<'_> {
        Layers {
            oem: self.oem.as_ref(),
            metadata: self.metadata.as_ref(),
            user: self.user.as_ref(),
        }
    }

    pub fn check(&self, context: Context) -> Checked {
        self.layers().check(context)
    }

    /// Asks the metadata and the kernel.
    pub fn addresses(&self, root: &Root, wanted: &AddressSources) -> Result<Addresses> {
        addresses::of(root, wanted, self.metadata.as_ref())
    }
}
