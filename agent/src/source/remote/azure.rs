//! Azure's instance metadata service.
//!
//! It serves the machine's *user data*. *Custom data* is only on the provisioning disc, which
//! [`azure_disc`](super::super::azure_disc) reads, and at the wire server, which is not asked; and
//! nobody tells the wire server that the machine is ready. So Azure calls the provisioning of a
//! *generalized* image timed out, although the machine runs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::service::Service;
use super::{Error, Said};
use crate::source::described::{Described, Kind};

const VERSION: &str = "api-version=2021-02-01";

pub(super) async fn ask(service: Service<'_>) -> Result<Said, Error> {
    let service = service.with("Metadata", "true");
    let root = "metadata/instance";
    let path = format!("{root}/compute/userData?{VERSION}&format=text");
    let user_data = service.user_data(&path).await?;
    let user_data = user_data.as_deref().map(decoded).transpose()?;
    let mut described = Described::new(Kind::Azure);
    let instance = service.needed(&format!("{root}?{VERSION}")).await?;
    described.add("instance", Some(instance));
    Ok((user_data, described))
}

fn decoded(text: &[u8]) -> Result<Vec<u8>, Error> {
    let plain: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    STANDARD
        .decode(plain)
        .map_err(|_| Error::Unreadable("the user data is not base64".to_string()))
}
