//! docker's networks for the networks with names: `docker run --network NAME`.
//!
//! Each is known by a label; a network of that name without it is somebody else's and is left
//! alone. One with another subnet than it should have is made anew: containers that were in it have
//! to be started again, as with the network without a name.

use anyhow::{Context, Result, bail};
use hyper::Method;
use serde_json::{Value, json};

use super::cidr::Family;
use super::kernel::Kernel;
use super::lease::Subnets;
use super::named::{Name, Which};
use super::runtime::halves;
use super::service::{Runtimes, Service};
use crate::docker::{Docker, filters};
use crate::store::Store;

const LABEL: &str = "strake.network";
const DRIVER: &str = "com.docker.network";

/// What this machine has of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spec {
    pub subnets: Subnets,
    pub mtu: u32,
    /// Whether the overlay does it, and docker does not.
    pub masquerade: bool,
}

/// What docker is told to make.
fn wanted(name: &Name, spec: &Spec) -> Value {
    let subnets = [spec.subnets.v4, spec.subnets.v6].into_iter().flatten();
    let ranges: Vec<Value> = subnets
        .map(|subnet| {
            let lower = halves(subnet).map_or(subnet, |(lower, _)| lower);
            json!({"Subnet": subnet, "IPRange": lower, "Gateway": subnet.host(1)})
        })
        .collect();
    json!({
        "Name": name,
        "Driver": "bridge",
        "EnableIPv6": spec.subnets.of(Family::V6).is_some(),
        "IPAM": {"Driver": "default", "Config": ranges},
        "Options": {
            format!("{DRIVER}.bridge.name"): Which::Named(name.clone()).bridge(),
            format!("{DRIVER}.bridge.enable_ip_masquerade"): (!spec.masquerade).to_string(),
            format!("{DRIVER}.driver.mtu"): spec.mtu.to_string(),
        },
        "Labels": {LABEL: name},
    })
}

/// Whether docker has it as it should be: docker says more than it was told.
fn agrees(found: &Value, wanted: &Value) -> bool {
    let pairs = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let options = pairs(&wanted["Options"]);
    found["EnableIPv6"] == wanted["EnableIPv6"]
        && found["IPAM"]["Config"] == wanted["IPAM"]["Config"]
        && options
            .iter()
            .all(|(name, value)| found["Options"][name] == *value)
}

/// The network is there afterwards; whether it had to be made.
pub async fn ensure(docker: &Docker, name: &Name, spec: &Spec) -> Result<bool> {
    let wanted = wanted(name, spec);
    let path = format!("/networks/{name}");
    if let Some(found) = docker.find(&path).await? {
        if found["Labels"][LABEL].as_str() != Some(&name.to_string()) {
            bail!("docker has a network {name} of somebody else's, which is in the way");
        }
        if agrees(&found, &wanted) {
            return Ok(false);
        }
        remove(docker, name).await?;
    }
    let made = docker
        .ask(Method::POST, "/networks/create", Some(&wanted))
        .await;
    made.with_context(|| format!("making docker's network {name}"))?;
    Ok(true)
}

/// Containers are taken out of it first.
async fn remove(docker: &Docker, name: &Name) -> Result<()> {
    let path = format!("/networks/{name}");
    let found = docker.find(&path).await?.unwrap_or_default();
    let containers = found["Containers"].as_object().cloned().unwrap_or_default();
    for id in containers.keys() {
        let order = json!({"Container": id, "Force": true});
        let path = format!("{path}/disconnect");
        docker.ask(Method::POST, &path, Some(&order)).await?;
    }
    let removed = docker.ask(Method::DELETE, &path, None).await;
    removed.with_context(|| format!("removing docker's network {name}"))?;
    Ok(())
}

/// Networks of earlier configs, unless containers are in them.
pub async fn remove_others(docker: &Docker, kept: &[Name]) -> Result<Vec<Name>> {
    let ours = filters(&json!({"label": [LABEL]}));
    let listed = docker.find(&format!("/networks?{ours}")).await?;
    let listed = listed
        .and_then(|all| all.as_array().cloned())
        .unwrap_or_default();
    let mut removed = Vec::new();
    for network in listed {
        let name = network["Name"]
            .as_str()
            .and_then(|name| name.parse::<Name>().ok());
        let Some(name) = name.filter(|name| !kept.contains(name)) else {
            continue;
        };
        let path = format!("/networks/{name}");
        // One that is in use goes when it no longer is.
        if docker.ask(Method::DELETE, &path, None).await.is_ok() {
            removed.push(name);
        }
    }
    Ok(removed)
}

impl<S: Store, K: Kernel, R: Runtimes> Service<S, K, R> {
    /// Without docker nothing is lost; it asks for the networks itself when it starts.
    pub(super) async fn tell_docker(&mut self) {
        let (Which::Named(name), Some(told)) = (&self.which, &self.told) else {
            return;
        };
        let spec = Spec {
            subnets: told.subnets,
            mtu: told.mtu,
            masquerade: told.masquerade,
        };
        let made = self.runtimes.network(name, &spec).await;
        if let Ok(true) = made {
            self.report.say("docker has the network");
        }
        let problem = made.err().map(|error| format!("{error:#}"));
        self.report.problem("docker", problem);
    }
}

#[cfg(test)]
#[path = "docker_tests.rs"]
mod tests;
