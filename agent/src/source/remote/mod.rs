//! Sources in the network: a URL on the kernel's command line, NoCloud's, and the metadata
//! services of the clouds.
//!
//! [`platform`] says which the machine has, the others each ask one of them, [`cache`] keeps the
//! answers for the next boot. A source that does not answer, or with what cannot be read, is an
//! error and changes nothing; one that answers that there is no user-data is an answer.

mod azure;
pub mod cache;
mod ec2;
pub mod facts;
mod openstack;
pub mod platform;
mod service;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::Url;

use super::Text;
use super::described::{Described, Document, Kind};
use crate::fetch::{self, Access, Client, Pin, Policy, client::Unusable, shown};
use service::Service;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// User-data at a URL of its own.
    File { pin: Option<Pin> },
    /// User-data and metadata below a URL.
    Service(Kind),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    pub place: Place,
    pub url: Url,
}

/// What one source said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// [`Remote::id`] of the source.
    pub remote: String,
    pub user_data: Option<Document>,
    pub metadata: Option<Described>,
}

#[derive(Debug, Error)]
pub enum Error {
    #[error("setting up the client")]
    Client(#[from] Unusable),
    #[error(transparent)]
    Fetch(#[from] fetch::Error),
    #[error("what it answered cannot be used: {0}")]
    Unreadable(String),
}

impl Remote {
    /// Tells sources apart, with all that makes a difference to their answer.
    pub fn id(&self) -> String {
        match self.place {
            Place::File { pin: Some(pin) } => format!("url {} {pin}", self.url),
            Place::File { pin: None } => format!("url {}", self.url),
            Place::Service(kind) => format!("{} {}", kind.word(), self.url),
        }
    }

    /// The name its user-data is reported under.
    pub fn name(&self) -> String {
        match self.place {
            Place::File { .. } => shown(&self.url),
            Place::Service(kind) => format!("{}:user-data", kind.word()),
        }
    }

    /// The user-data of this answer, when there is any.
    pub fn user_data(&self, answer: &Answer) -> Option<Text> {
        let bytes = answer.user_data.as_ref()?.0.clone();
        Some(Text {
            name: self.name(),
            bytes,
        })
    }

    pub async fn ask(&self, policy: &Policy, access: &Access) -> Result<Answer, Error> {
        let client = match self.place {
            Place::File { .. } | Place::Service(Kind::NoCloud) => {
                Client::of_world(*policy, access)?
            }
            Place::Service(_) => Client::of_metadata(*policy)?,
        };
        let service = Service::new(&client, &self.url);
        let (user_data, metadata) = match self.place {
            Place::File { pin } => (Some(service.file(pin).await?), None),
            Place::Service(kind) => {
                let (user_data, metadata) = ask(kind, service).await?;
                (user_data, Some(metadata))
            }
        };
        let problems = metadata.as_ref().map(|described| described.read().1);
        if let Some(problem) = problems.into_iter().flatten().next() {
            return Err(Error::Unreadable(problem));
        }
        Ok(Answer {
            remote: self.id(),
            user_data: user_data.filter(|bytes| !bytes.is_empty()).map(Document),
            metadata,
        })
    }
}

type Said = (Option<Vec<u8>>, Described);

async fn ask(kind: Kind, service: Service<'_>) -> Result<Said, Error> {
    match kind {
        Kind::Ec2 => ec2::ask(service).await,
        Kind::Azure => azure::ask(service).await,
        Kind::OpenStack => openstack::ask(service).await,
        Kind::Gce => {
            let service = service.with("Metadata-Flavor", "Google");
            let root = "computeMetadata/v1/instance/";
            let user_data = service
                .user_data(&format!("{root}attributes/user-data"))
                .await?;
            let mut described = Described::new(kind);
            let instance = service.needed(&format!("{root}?recursive=true")).await?;
            described.add("instance", Some(instance));
            Ok((user_data, described))
        }
        Kind::DigitalOcean => {
            let user_data = service.user_data("metadata/v1/user-data").await?;
            let mut described = Described::new(kind);
            described.add("v1.json", Some(service.needed("metadata/v1.json").await?));
            Ok((user_data, described))
        }
        Kind::Hetzner => {
            let user_data = service.user_data("hetzner/v1/userdata").await?;
            let mut described = Described::new(kind);
            described.add(
                "metadata",
                Some(service.needed("hetzner/v1/metadata").await?),
            );
            Ok((user_data, described))
        }
        Kind::NoCloud => {
            let user_data = service.user_data("user-data").await?;
            let mut described = Described::new(kind);
            described.add("meta-data", Some(service.needed("meta-data").await?));
            described.add("network-config", service.optional("network-config").await?);
            Ok((user_data, described))
        }
    }
}
