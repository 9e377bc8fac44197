//! OpenStack's metadata service.

use strake_cloud_config::metadata;

use super::service::Service;
use super::{Error, Said};
use crate::source::described::{Described, Kind};

pub(super) async fn ask(service: Service<'_>) -> Result<Said, Error> {
    let user_data = service.user_data("openstack/latest/user_data").await?;
    let mut described = Described::new(Kind::OpenStack);
    let document = service.needed("openstack/latest/meta_data.json").await?;
    let data = service
        .optional("openstack/latest/network_data.json")
        .await?;
    if data.is_none()
        && let Ok(found) = metadata::openstack(&document)
        && let Some(path) = found.network_path
    {
        let text = service.optional(&format!("openstack/{path}")).await?;
        described.add("network", text);
    }
    described.add("meta_data.json", Some(document));
    described.add("network_data.json", data);
    for name in ["local-ipv4", "public-ipv4"] {
        let path = format!("2009-04-04/meta-data/{name}");
        described.add(name, service.optional(&path).await?);
    }
    Ok((user_data, described))
}
